-- Which entry of an LDAP directory a resource is, and as of which state of the entry the row in resources holds it.
-- dn_key is the distinguished name in the form in which it compares.
CREATE TABLE ldap_entries (
    resource_id TEXT PRIMARY KEY NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    store TEXT NOT NULL,
    entry TEXT NOT NULL,
    dn TEXT NOT NULL,
    dn_key TEXT NOT NULL,
    stamp TEXT NOT NULL
);
CREATE UNIQUE INDEX ldap_entries_entry ON ldap_entries (store, entry);
CREATE INDEX ldap_entries_dn ON ldap_entries (store, dn_key);

-- Directories that were read once from end to end: what changes in them from then on is told to targets.
CREATE TABLE ldap_baselines (
    store TEXT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL
);

-- Changes that a userstore outside this database is about to carry out. What a crash leaves is settled by reading the
-- store. One at a time for each resource, or for each name that shall be taken.
CREATE TABLE intents (
    store TEXT NOT NULL,
    subject TEXT NOT NULL,
    change TEXT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (store, subject)
);
