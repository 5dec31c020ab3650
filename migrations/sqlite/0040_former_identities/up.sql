-- Whether the identity is linked to the account again only with a proof, because its person or an administrator unlinked
-- it. Otherwise it ended by itself, and is known so that a correction of its subject ends what it left behind.
ALTER TABLE former_links ADD COLUMN needs_proof BOOLEAN NOT NULL DEFAULT TRUE;
