-- Times are milliseconds since 1970. Ids, names and documents are text. Values that indexes hold are folded and capped
-- by the program (userstore/sql/indexed.rs), the documents keep them whole.

CREATE TABLE resources (
    id TEXT PRIMARY KEY NOT NULL,
    store TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    external_id TEXT,
    active BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    modified BIGINT NOT NULL,
    version BIGINT NOT NULL,
    writers TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE UNIQUE INDEX resources_key ON resources (store, kind, key);
CREATE INDEX resources_age ON resources (store, kind, id);
CREATE INDEX resources_external_id ON resources (store, kind, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX resources_modified ON resources (store, kind, modified, id);

-- One row per value of an attribute that its schema marks as indexed.
CREATE TABLE attribute_values (
    path TEXT NOT NULL,
    value TEXT NOT NULL,
    resource_id TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    PRIMARY KEY (path, value, resource_id)
) WITHOUT ROWID;
CREATE INDEX attribute_values_resource ON attribute_values (resource_id);

CREATE TABLE members (
    seq INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    group_id TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    member_id TEXT NOT NULL,
    body TEXT NOT NULL,
    granted_by TEXT NOT NULL
);
CREATE UNIQUE INDEX members_group ON members (group_id, member_id);
CREATE INDEX members_member ON members (member_id, group_id);
CREATE INDEX members_order ON members (group_id, seq);

CREATE TABLE credentials (
    resource_id TEXT PRIMARY KEY NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    hash TEXT,
    changed_at BIGINT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    locked_until BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    tx BIGINT NOT NULL DEFAULT 0,
    at BIGINT NOT NULL,
    store TEXT NOT NULL,
    kind TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    actor TEXT NOT NULL,
    service_provider TEXT NOT NULL,
    action TEXT NOT NULL,
    diff TEXT NOT NULL,
    members TEXT
);
CREATE INDEX journal_resource ON journal (resource_id, seq);

CREATE TABLE links (
    identity_provider TEXT NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    store TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    created BIGINT NOT NULL,
    last_login BIGINT NOT NULL,
    PRIMARY KEY (identity_provider, issuer, subject)
);
CREATE INDEX links_resource ON links (resource_id);

CREATE TABLE login_transactions (
    handle_hash TEXT PRIMARY KEY NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    sealed BLOB NOT NULL
);
CREATE INDEX login_transactions_expires ON login_transactions (expires);

CREATE TABLE sessions (
    id_hash TEXT PRIMARY KEY NOT NULL,
    store TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    identity_provider TEXT,
    amr TEXT NOT NULL,
    auth_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX sessions_resource ON sessions (resource_id);
CREATE INDEX sessions_expires ON sessions (expires);

-- What a login gave to a service provider: an authorization code, then tokens.
CREATE TABLE grants (
    id TEXT PRIMARY KEY NOT NULL,
    code_hash TEXT NOT NULL,
    code_used BIGINT,
    code_expires BIGINT NOT NULL,
    client_id TEXT NOT NULL,
    session_hash TEXT NOT NULL,
    store TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    scope TEXT NOT NULL,
    nonce TEXT,
    code_challenge TEXT,
    amr TEXT NOT NULL,
    auth_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    revoked BIGINT
);
CREATE UNIQUE INDEX grants_code ON grants (code_hash);
CREATE INDEX grants_resource ON grants (resource_id);
CREATE INDEX grants_session ON grants (session_hash);
CREATE INDEX grants_expires ON grants (expires);

CREATE TABLE access_tokens (
    token_hash TEXT PRIMARY KEY NOT NULL,
    grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX access_tokens_grant ON access_tokens (grant_id);
CREATE INDEX access_tokens_expires ON access_tokens (expires);

CREATE TABLE refresh_tokens (
    token_hash TEXT PRIMARY KEY NOT NULL,
    grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    used BIGINT
);
CREATE INDEX refresh_tokens_grant ON refresh_tokens (grant_id);

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY NOT NULL,
    algorithm TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created BIGINT NOT NULL,
    signs_from BIGINT NOT NULL,
    retired BIGINT
);

CREATE TABLE scim_tokens (
    token_hash TEXT PRIMARY KEY NOT NULL,
    id TEXT NOT NULL UNIQUE,
    service_provider TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    last_used BIGINT,
    revoked BIGINT
);

-- One row per (target, resource): what we want there, what is there, and how the pushing goes.
CREATE TABLE outbound (
    target TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    store TEXT NOT NULL,
    service_provider TEXT NOT NULL,
    state TEXT NOT NULL,
    wanted BIGINT NOT NULL,
    pushed BIGINT NOT NULL,
    remote_id TEXT,
    sent TEXT,
    attempts INTEGER NOT NULL,
    next_attempt BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    owner TEXT,
    changed BIGINT NOT NULL,
    last_error TEXT,
    PRIMARY KEY (target, resource_id)
);
CREATE INDEX outbound_due ON outbound (target, state, next_attempt);

CREATE TABLE outbound_members (
    target TEXT NOT NULL,
    group_id TEXT NOT NULL,
    member_id TEXT NOT NULL,
    wanted BOOLEAN NOT NULL,
    sent BOOLEAN NOT NULL,
    PRIMARY KEY (target, group_id, member_id)
);
CREATE INDEX outbound_members_member ON outbound_members (target, member_id);
CREATE INDEX outbound_members_differing ON outbound_members (target, group_id) WHERE wanted <> sent;

-- Where each target stands in the journal, and whether it is paused.
CREATE TABLE targets (
    target TEXT PRIMARY KEY NOT NULL,
    cursor_tx BIGINT NOT NULL,
    cursor_seq BIGINT NOT NULL,
    paused TEXT
);
