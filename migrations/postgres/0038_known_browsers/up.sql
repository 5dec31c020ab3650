-- The browsers in which a person signed in with a password, by the fingerprint of their cookie. Wrong passwords from such a
-- browser are counted here, so that strangers who lock the account do not lock its owner out.
CREATE TABLE known_browsers (
    resource_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    locked_until BIGINT NOT NULL DEFAULT 0,
    expires BIGINT NOT NULL,
    PRIMARY KEY (resource_id, fingerprint)
);
CREATE INDEX known_browsers_expires ON known_browsers (expires);
