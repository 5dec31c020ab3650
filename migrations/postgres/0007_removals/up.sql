-- How many resources were removed so far: as long as that does not change, what was known of the order of the others holds.
ALTER TABLE resource_counts ADD COLUMN removed BIGINT NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION count_resources() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO resource_counts AS total (store, kind, stripe, amount, removed)
    SELECT store, kind, pg_backend_pid() % 64, CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END,
        CASE TG_OP WHEN 'INSERT' THEN 0 ELSE count(*) END
    FROM changed GROUP BY store, kind ORDER BY store, kind
    ON CONFLICT (store, kind, stripe) DO UPDATE
    SET amount = total.amount + excluded.amount, removed = total.removed + excluded.removed;
    RETURN NULL;
END
$$;
