-- Identity providers that are being removed, or were: nobody enters through them. The place tells how far the work is.
CREATE TABLE removals (
    identity_provider TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    action TEXT NOT NULL,
    started BIGINT NOT NULL,
    finished BIGINT,
    at_issuer TEXT COLLATE "C" NOT NULL,
    at_subject TEXT COLLATE "C" NOT NULL,
    accounts BIGINT NOT NULL,
    links BIGINT NOT NULL,
    lease_until BIGINT NOT NULL
);
