-- Journal records that could not be recorded for a target and were set aside, so that the others go on.
CREATE TABLE parked_records (
    target TEXT COLLATE "C" NOT NULL,
    tx BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    cause TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (target, tx, seq)
);
