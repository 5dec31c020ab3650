-- Codes by e-mail, as far as they are limited for each person: how many were sent since when, and the lock that wrong codes
-- put on them. The codes themselves are in the logins that asked for them.
CREATE TABLE mail_codes (
    resource_id TEXT NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL,
    sent INTEGER NOT NULL,
    last BIGINT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    locked_until BIGINT NOT NULL DEFAULT 0
);

-- The fingerprint of the address that the provider called verified at the last login.
ALTER TABLE links ADD COLUMN verified_email TEXT;
