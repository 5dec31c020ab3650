-- Why a target refused to add a member. It is not asked again until the membership changes or is sent again by hand.
ALTER TABLE outbound_members ADD COLUMN refusal TEXT COLLATE "C";
CREATE INDEX outbound_members_refused ON outbound_members (target, group_id, member_id) WHERE refusal IS NOT NULL;
