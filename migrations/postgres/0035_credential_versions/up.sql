-- How often the ways in to an account changed: its password, second factor, links, or whether it may enter at all. What
-- was proved under an earlier version does not count.
CREATE TABLE credential_versions (
    resource_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL
);
ALTER TABLE sessions ADD COLUMN credential_version BIGINT NOT NULL DEFAULT 0;
-- When the person proved who they are; none if the identity provider did not say.
ALTER TABLE sessions ADD COLUMN authenticated_at BIGINT;
ALTER TABLE grants ADD COLUMN authenticated_at BIGINT;
-- The identity provider of the login; none for a local password.
ALTER TABLE grants ADD COLUMN identity_provider TEXT COLLATE "C";
UPDATE sessions SET authenticated_at = auth_time;
UPDATE grants SET authenticated_at = auth_time;
UPDATE grants SET identity_provider =
    (SELECT sessions.identity_provider FROM sessions WHERE sessions.id_hash = grants.session_hash);
-- Most sessions of old grants have ended: the identity provider is the one that the person is linked to. Where it is not
-- clear, the grant ends.
UPDATE grants SET identity_provider =
    (SELECT MIN(links.identity_provider) FROM links WHERE links.resource_id = grants.resource_id)
    WHERE identity_provider IS NULL AND (' ' || amr || ' ') LIKE '% fed %'
    AND (SELECT COUNT(DISTINCT links.identity_provider) FROM links WHERE links.resource_id = grants.resource_id) = 1;
UPDATE grants SET revoked = created
    WHERE identity_provider IS NULL AND revoked IS NULL AND (' ' || amr || ' ') LIKE '% fed %';
CREATE INDEX grants_by_provider ON grants (identity_provider) WHERE identity_provider IS NOT NULL AND revoked IS NULL;
CREATE INDEX sessions_by_provider ON sessions (identity_provider) WHERE identity_provider IS NOT NULL;
