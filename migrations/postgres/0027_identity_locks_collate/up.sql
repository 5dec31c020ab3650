-- Compared with links, whose columns are so: else no index serves both.
ALTER TABLE identity_locks
    ALTER COLUMN identity_provider TYPE TEXT COLLATE "C",
    ALTER COLUMN issuer TYPE TEXT COLLATE "C",
    ALTER COLUMN subject TYPE TEXT COLLATE "C";
