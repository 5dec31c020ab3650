-- What the index tables hold: one row for each indexed attribute and for names, with the form in which its values are
-- stored. One that is not finished is not used yet. The row with the empty name tells how far the work is.
CREATE TABLE index_state (
    name TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    form TEXT COLLATE "C" NOT NULL,
    finished BOOLEAN NOT NULL
);
