-- First logins that wait for somebody's approval, and what became of them: one for each identity. What the identity provider
-- said of the person is sealed.
CREATE TABLE approvals (
    id TEXT NOT NULL PRIMARY KEY,
    identity_provider TEXT NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    service_provider TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    decided_by TEXT NOT NULL DEFAULT '',
    asked BIGINT NOT NULL,
    decided BIGINT NOT NULL DEFAULT 0,
    expires BIGINT NOT NULL
);

CREATE UNIQUE INDEX approvals_identity ON approvals (identity_provider, issuer, subject);
CREATE INDEX approvals_expires ON approvals (expires);
