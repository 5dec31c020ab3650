-- Which service providers have learned of a session, and under what name, so that they learn of its end.
CREATE TABLE session_clients (
    session_hash TEXT NOT NULL,
    client_id TEXT NOT NULL,
    sid TEXT NOT NULL,
    PRIMARY KEY (session_hash, client_id, sid)
) WITHOUT ROWID;

-- The ends of sessions that a service provider has not been told of yet. Whoever tells it moves next_attempt on first.
CREATE TABLE logouts (
    id TEXT PRIMARY KEY NOT NULL,
    client_id TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    sid TEXT NOT NULL,
    created BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt BIGINT NOT NULL
);
CREATE INDEX logouts_due ON logouts (next_attempt);
CREATE INDEX logouts_client ON logouts (client_id, next_attempt);
CREATE INDEX logouts_created ON logouts (created);
