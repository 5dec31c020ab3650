CREATE OR REPLACE FUNCTION count_resources() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO resource_counts AS total (store, kind, stripe, amount)
    SELECT store, kind, pg_backend_pid() % 64, CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
    FROM changed GROUP BY store, kind ORDER BY store, kind
    ON CONFLICT (store, kind, stripe) DO UPDATE SET amount = total.amount + excluded.amount;
    RETURN NULL;
END
$$;
ALTER TABLE resource_counts DROP COLUMN removed;
