-- What the target called the account of a deleted person: a request that was under way then may still put it into the group.
ALTER TABLE outbound_members ADD COLUMN remote_id TEXT COLLATE "C";
