-- Counts wrong passwords of accounts that have none or do not exist, in buckets, so that such an attempt does the work of any
-- other.
CREATE TABLE unknown_password_attempts (
    bucket BIGINT NOT NULL PRIMARY KEY,
    failures BIGINT NOT NULL
);
