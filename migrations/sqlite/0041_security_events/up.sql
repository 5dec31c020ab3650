-- One record for each login, refusal, lock, link, consent, token, key and administrative act.
CREATE TABLE security_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    resource_id TEXT,
    actor TEXT,
    identity_provider TEXT,
    service_provider TEXT,
    reason TEXT,
    object TEXT,
    address TEXT,
    request_id TEXT
);
CREATE INDEX security_events_at ON security_events (at);
CREATE INDEX security_events_of_user ON security_events (resource_id, seq) WHERE resource_id IS NOT NULL;
CREATE INDEX security_events_of_kind ON security_events (kind, seq);
