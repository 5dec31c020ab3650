-- The claims that the request of a grant asked for one by one, as JSON; empty if it asked for none.
ALTER TABLE grants ADD COLUMN claims TEXT NOT NULL DEFAULT '';
