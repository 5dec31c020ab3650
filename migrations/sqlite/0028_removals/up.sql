-- Identity providers that are being removed, or were: nobody enters through them. The place tells how far the work is.
CREATE TABLE removals (
    identity_provider TEXT NOT NULL PRIMARY KEY,
    action TEXT NOT NULL,
    started BIGINT NOT NULL,
    finished BIGINT,
    at_issuer TEXT NOT NULL,
    at_subject TEXT NOT NULL,
    accounts BIGINT NOT NULL,
    links BIGINT NOT NULL,
    lease_until BIGINT NOT NULL
);
