-- External subjects that are locked: whoever is behind one stays outside, through it and through any other way.
CREATE TABLE identity_locks (
    identity_provider TEXT NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (identity_provider, issuer, subject)
);
