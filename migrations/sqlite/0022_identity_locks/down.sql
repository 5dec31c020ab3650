DROP TABLE identity_locks;
