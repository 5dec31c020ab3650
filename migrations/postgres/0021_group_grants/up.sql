-- Which memberships each identity provider granted: it may take back those alone.
CREATE TABLE group_grants (
    resource_id TEXT NOT NULL,
    identity_provider TEXT NOT NULL,
    group_id TEXT NOT NULL,
    PRIMARY KEY (resource_id, identity_provider, group_id)
);
CREATE INDEX group_grants_of_group ON group_grants (group_id);
