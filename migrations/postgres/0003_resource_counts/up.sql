-- How many resources of a type a store holds, so that no list has to count them. Triggers keep it: whoever writes
-- `resources`, the count commits with the rows or is undone with them. The amount is the sum of the stripes; each
-- connection has its own stripe, so that those who write at the same time do not wait for one row. A single stripe may
-- be negative. Pages with room let a stripe be updated in place.
CREATE TABLE resource_counts (
    store TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    stripe BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (store, kind, stripe)
) WITH (fillfactor = 20);

CREATE FUNCTION count_resources() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO resource_counts AS total (store, kind, stripe, amount)
    SELECT store, kind, pg_backend_pid() % 64, CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
    FROM changed GROUP BY store, kind ORDER BY store, kind
    ON CONFLICT (store, kind, stripe) DO UPDATE SET amount = total.amount + excluded.amount;
    RETURN NULL;
END
$$;

-- These wait for every open change of `resources`, so that the count below misses none.
CREATE TRIGGER resources_count_created AFTER INSERT ON resources
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_resources();
CREATE TRIGGER resources_count_deleted AFTER DELETE ON resources
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_resources();

INSERT INTO resource_counts (store, kind, stripe, amount)
SELECT store, kind, 0, count(*) FROM resources GROUP BY store, kind;
