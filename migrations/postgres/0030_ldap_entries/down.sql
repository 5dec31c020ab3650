DROP TABLE intents;
DROP TABLE ldap_baselines;
DROP TABLE ldap_entries;
