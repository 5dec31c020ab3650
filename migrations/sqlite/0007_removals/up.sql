-- How many resources were removed so far: as long as that does not change, what was known of the order of the others holds.
ALTER TABLE resource_counts ADD COLUMN removed BIGINT NOT NULL DEFAULT 0;

DROP TRIGGER resources_count_deleted;
CREATE TRIGGER resources_count_deleted AFTER DELETE ON resources BEGIN
    UPDATE resource_counts SET amount = amount - 1, removed = removed + 1
    WHERE store = OLD.store AND kind = OLD.kind AND stripe = 0;
END;
