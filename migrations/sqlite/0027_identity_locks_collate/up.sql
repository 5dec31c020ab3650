-- SQLite compares all texts alike.
SELECT 1;
