ALTER TABLE outbound_members DROP COLUMN remote_id;
