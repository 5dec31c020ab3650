-- Second factors, one of a kind for each user: the sealed seed, the step of the last code that was taken, and the lock that
-- wrong codes put on it.
CREATE TABLE factors (
    resource_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    sealed BLOB NOT NULL,
    last_step BIGINT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    locked_until BIGINT NOT NULL DEFAULT 0,
    created BIGINT NOT NULL,
    PRIMARY KEY (resource_id, kind)
);

-- Codes for when the second factor is lost; each is gone once it was used.
CREATE TABLE recovery_codes (
    resource_id TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (resource_id, hash)
);
