DROP INDEX scim_tokens_issued;
ALTER TABLE scim_tokens DROP COLUMN client_id;
