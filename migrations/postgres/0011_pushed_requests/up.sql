-- Authorization requests that clients have pushed (RFC 9126), by the hash of what names them. Each is used once.
CREATE TABLE pushed_requests (
    handle_hash TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    parameters TEXT COLLATE "C" NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX pushed_requests_expires ON pushed_requests (expires);
