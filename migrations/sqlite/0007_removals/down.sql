DROP TRIGGER resources_count_deleted;
ALTER TABLE resource_counts DROP COLUMN removed;
CREATE TRIGGER resources_count_deleted AFTER DELETE ON resources BEGIN
    UPDATE resource_counts SET amount = amount - 1 WHERE store = OLD.store AND kind = OLD.kind AND stripe = 0;
END;
