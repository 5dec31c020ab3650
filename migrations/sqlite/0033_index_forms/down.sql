CREATE TABLE index_state (
    name TEXT PRIMARY KEY NOT NULL,
    form TEXT NOT NULL,
    finished BOOLEAN NOT NULL
);
DROP TABLE index_forms;
DROP INDEX resources_indexed_as;
ALTER TABLE resources DROP COLUMN indexed_as;
