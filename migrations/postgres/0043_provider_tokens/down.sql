ALTER TABLE sessions DROP COLUMN provider_token;
