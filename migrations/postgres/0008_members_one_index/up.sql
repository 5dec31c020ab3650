-- Of a group's members one index is enough: a second one beginning with the group could be taken for finding a member.
DROP INDEX members_order;
