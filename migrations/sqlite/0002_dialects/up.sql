-- What each SCIM client did outside the standard: requests by tolerance.
CREATE TABLE dialects (
    service_provider TEXT NOT NULL,
    rule TEXT NOT NULL,
    requests BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    PRIMARY KEY (service_provider, rule)
);
