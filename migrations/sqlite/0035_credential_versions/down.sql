DROP INDEX sessions_by_provider;
DROP INDEX grants_by_provider;
ALTER TABLE grants DROP COLUMN identity_provider;
ALTER TABLE grants DROP COLUMN authenticated_at;
ALTER TABLE sessions DROP COLUMN authenticated_at;
ALTER TABLE sessions DROP COLUMN credential_version;
DROP TABLE credential_versions;
