DROP INDEX former_links_of_account;
DELETE FROM former_links WHERE resource_id IS NOT NULL;
ALTER TABLE former_links DROP COLUMN resource_id;
