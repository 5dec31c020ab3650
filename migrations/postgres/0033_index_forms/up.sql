-- The form in which the index rows of each resource are. Form 0 is what the database held before.
ALTER TABLE resources ADD COLUMN indexed_as BIGINT NOT NULL DEFAULT 0;
CREATE INDEX resources_indexed_as ON resources (indexed_as);

-- What the forms stand for: a JSON object of the indexes and the forms of their values. The form with the highest turn is
-- the one into which resources in other forms are rebuilt.
CREATE TABLE index_forms (
    form BIGINT PRIMARY KEY NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    turn BIGINT NOT NULL
);
INSERT INTO index_forms (form, description, turn)
SELECT 0, COALESCE(json_object_agg(name, form)::text, '{}'), 0 FROM index_state WHERE finished AND name <> '';
DROP TABLE index_state;
