-- The e-mail addresses that an account had when it became another person's, by their fingerprints: a code that is sent there
-- proves nothing.
CREATE TABLE former_addresses (
    resource_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (resource_id, fingerprint)
);
