DROP TRIGGER resources_count_deleted;
DROP TRIGGER resources_count_created;
DROP TABLE resource_counts;
