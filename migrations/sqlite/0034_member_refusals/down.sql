DROP INDEX outbound_members_refused;
ALTER TABLE outbound_members DROP COLUMN refusal;
