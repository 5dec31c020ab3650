DROP TABLE group_grants;
