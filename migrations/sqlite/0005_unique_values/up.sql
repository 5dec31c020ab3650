-- One row per value of an attribute that its schema says is unique, beside the name. Store and kind are empty where a value
-- is unique everywhere.
CREATE TABLE unique_values (
    store TEXT NOT NULL,
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    value TEXT NOT NULL,
    resource_id TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    PRIMARY KEY (store, kind, path, value)
) WITHOUT ROWID;
CREATE INDEX unique_values_resource ON unique_values (resource_id);
