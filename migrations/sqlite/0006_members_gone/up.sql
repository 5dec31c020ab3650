-- What the target called a member that it no longer has: a request that was under way when the member was removed may still
-- put it into the group.
ALTER TABLE outbound_members ADD COLUMN remote_id TEXT;
