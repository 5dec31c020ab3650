-- Sorting by meta.created, and filters on it, without a look at every resource.
CREATE INDEX resources_created ON resources (store, kind, created, id);
-- Whose account at a target is this?
CREATE INDEX outbound_remote ON outbound (target, remote_id) WHERE remote_id IS NOT NULL;
-- The next memberships to send, in order: of a group of 100,000 a few at a time.
DROP INDEX outbound_members_differing;
CREATE INDEX outbound_members_differing ON outbound_members (target, group_id, wanted, member_id) WHERE wanted <> sent;
