ALTER TABLE identity_locks
    ALTER COLUMN identity_provider TYPE TEXT COLLATE "default",
    ALTER COLUMN issuer TYPE TEXT COLLATE "default",
    ALTER COLUMN subject TYPE TEXT COLLATE "default";
