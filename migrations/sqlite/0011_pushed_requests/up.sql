-- Authorization requests that clients have pushed (RFC 9126), by the hash of what names them. Each is used once.
CREATE TABLE pushed_requests (
    handle_hash TEXT PRIMARY KEY NOT NULL,
    client_id TEXT NOT NULL,
    parameters TEXT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX pushed_requests_expires ON pushed_requests (expires);
