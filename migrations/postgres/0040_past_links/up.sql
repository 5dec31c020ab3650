-- The identities that were unlinked from an account, by their fingerprints, until the account is deleted or becomes another
-- subject's: a correction of the subject ends what an earlier identity left behind.
CREATE TABLE past_links (
    resource_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (resource_id, fingerprint)
);
