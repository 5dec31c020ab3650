-- What people agreed to, one receipt for each purpose and time; the newest of a purpose counts.
CREATE TABLE consents (
    id TEXT NOT NULL PRIMARY KEY,
    store TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    version BIGINT NOT NULL,
    granted TEXT NOT NULL,
    refused TEXT NOT NULL,
    identity_provider TEXT NOT NULL,
    service_provider TEXT NOT NULL,
    at BIGINT NOT NULL,
    withdrawn BIGINT
);
CREATE INDEX consents_of_user ON consents (resource_id, at);

-- External subjects whose accounts were removed here: a login may come back or not, as the policy says.
CREATE TABLE former_links (
    identity_provider TEXT NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (identity_provider, issuer, subject)
);
