CREATE INDEX members_order ON members (group_id, seq);
