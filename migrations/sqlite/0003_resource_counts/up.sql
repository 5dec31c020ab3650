-- How many resources of a type a store holds, so that no list has to count them. Triggers keep it: whoever writes
-- `resources`, the count commits with the rows or is undone with them. SQLite has one writer and needs one stripe.
CREATE TABLE resource_counts (
    store TEXT NOT NULL,
    kind TEXT NOT NULL,
    stripe BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (store, kind, stripe)
) WITHOUT ROWID;

CREATE TRIGGER resources_count_created AFTER INSERT ON resources BEGIN
    INSERT INTO resource_counts (store, kind, stripe, amount) VALUES (NEW.store, NEW.kind, 0, 1)
    ON CONFLICT (store, kind, stripe) DO UPDATE SET amount = amount + 1;
END;

CREATE TRIGGER resources_count_deleted AFTER DELETE ON resources BEGIN
    UPDATE resource_counts SET amount = amount - 1 WHERE store = OLD.store AND kind = OLD.kind AND stripe = 0;
END;

INSERT INTO resource_counts (store, kind, stripe, amount)
SELECT store, kind, 0, count(*) FROM resources GROUP BY store, kind;
