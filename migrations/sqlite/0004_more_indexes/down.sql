DROP INDEX outbound_members_differing;
CREATE INDEX outbound_members_differing ON outbound_members (target, group_id) WHERE wanted <> sent;
DROP INDEX outbound_remote;
DROP INDEX resources_created;
