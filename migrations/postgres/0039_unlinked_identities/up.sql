-- The account from which its person, or an administrator, unlinked the identity. Without one, the account was deleted.
ALTER TABLE former_links ADD COLUMN resource_id TEXT;
CREATE INDEX former_links_of_account ON former_links (resource_id) WHERE resource_id IS NOT NULL;
