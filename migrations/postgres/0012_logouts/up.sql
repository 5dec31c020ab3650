-- Which service providers have learned of a session, and under what name, so that they learn of its end.
CREATE TABLE session_clients (
    session_hash TEXT COLLATE "C" NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    sid TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (session_hash, client_id, sid)
);

-- The ends of sessions that a service provider has not been told of yet. Whoever tells it moves next_attempt on first.
CREATE TABLE logouts (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    resource_id TEXT COLLATE "C" NOT NULL,
    sid TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt BIGINT NOT NULL
);
CREATE INDEX logouts_due ON logouts (next_attempt);
CREATE INDEX logouts_client ON logouts (client_id, next_attempt);
CREATE INDEX logouts_created ON logouts (created);
