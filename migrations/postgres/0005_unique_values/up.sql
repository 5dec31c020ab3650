-- One row per value of an attribute that its schema says is unique, beside the name. Store and kind are empty where a value
-- is unique everywhere.
CREATE TABLE unique_values (
    store TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    resource_id TEXT COLLATE "C" NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    PRIMARY KEY (store, kind, path, value)
);
CREATE INDEX unique_values_resource ON unique_values (resource_id);
