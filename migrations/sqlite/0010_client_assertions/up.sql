-- What client assertions were used: each is good once (RFC 7523 section 3). Rows go when the assertion would be over anyway.
CREATE TABLE client_assertions (
    jti_hash TEXT PRIMARY KEY NOT NULL,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX client_assertions_expires ON client_assertions (expires);
