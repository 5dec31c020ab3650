DROP TRIGGER resources_count_deleted ON resources;
DROP TRIGGER resources_count_created ON resources;
DROP FUNCTION count_resources();
DROP TABLE resource_counts;
