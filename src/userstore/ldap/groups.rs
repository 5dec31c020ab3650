//! Group members in the directory: DNs there, resource ids here.

use std::collections::{HashMap, HashSet};

use ldap3::Scope;
use serde_json::json;

use super::connection::LdapFailure;
use super::entry::Entry;
use super::filter::LdapFilter;
use super::session::{Delta, OBJECT_CLASS_VIOLATION};
use super::{Dn, LdapUserstore, deltas, is_stale};
use crate::domain::patch::MemberStep;
use crate::domain::{Kind, Member, Relations, ResourceId};
use crate::storage::ldap_entries::{self, KnownEntry};
use crate::userstore::{StoreError, Userstore, WriteResult};

/// The attribute of a group that names its members.
pub(super) const MEMBER: &str = "member";
/// The most members that are looked up one by one; for more, all users are read.
const FEW: usize = 50;

impl LdapUserstore {
    /// Returns the members that an entry names, as resources. Unknown DNs are left out.
    pub(super) fn members_of(&self, entry: &Entry) -> Result<Vec<Member>, StoreError> {
        let ids = self.member_ids(entry)?;
        let member = |id: ResourceId| Member {
            body: json!({ "value": id }).to_string(),
            id,
        };
        Ok(ids.into_iter().map(member).collect())
    }

    /// Returns the steps that bring the copy's members to those of the entry. Members that have no entry stay.
    pub(super) fn member_steps(&self, group: &ResourceId, entry: &Entry) -> Result<Vec<MemberStep>, StoreError> {
        let present = self.members_of(entry)?;
        let relations = Relations {
            members: true,
            groups: false,
        };
        let held = self
            .copy
            .get(&Kind::GROUP, group, relations)?
            .map(|group| group.members);
        let held: Vec<ResourceId> = held.into_iter().flatten().map(|member| member.id).collect();
        let known: HashSet<&ResourceId> = held.iter().collect();
        let joining: Vec<Member> = present
            .iter()
            .filter(|member| !known.contains(&member.id))
            .cloned()
            .collect();
        let present: HashSet<&ResourceId> = present.iter().map(|member| &member.id).collect();
        let absent: Vec<&ResourceId> = held.iter().filter(|id| !present.contains(id)).collect();
        let leaving: Vec<ResourceId> = self
            .entries_of(&absent)?
            .into_iter()
            .map(|entry| entry.resource)
            .collect();
        let mut steps = Vec::new();
        if !leaving.is_empty() {
            steps.push(MemberStep::Leave(leaving));
        }
        if !joining.is_empty() {
            steps.push(MemberStep::Join(joining));
        }
        Ok(steps)
    }

    /// Returns the entries of the resources that are in this store.
    pub(super) fn entries_of(&self, ids: &[&ResourceId]) -> Result<Vec<KnownEntry>, StoreError> {
        let store = &self.settings.name;
        self.database
            .read::<_, StoreError>(|connection| ldap_entries::of_resources(connection, store, ids))
    }

    fn member_ids(&self, entry: &Entry) -> Result<Vec<ResourceId>, StoreError> {
        let names = self.member_names(entry)?;
        let stand_in = self.settings.group_base.key();
        let keys: Vec<String> = names
            .iter()
            .filter_map(Dn::key)
            .filter(|key| Some(key) != stand_in.as_ref())
            .collect();
        let mut ids = self.ids_of(&keys)?;
        let unknown: Vec<&Dn> = names
            .iter()
            .filter(|name| {
                name.key()
                    .is_some_and(|key| Some(&key) != stand_in.as_ref() && !ids.contains_key(&key))
            })
            .filter(|name| name.is_within(&self.settings.user_base) || name.is_within(&self.settings.group_base))
            .collect();
        if !unknown.is_empty() {
            self.resolve(&unknown)?;
            ids = self.ids_of(&keys)?;
        }
        Ok(keys.iter().filter_map(|key| ids.get(key).cloned()).collect())
    }

    fn ids_of(&self, keys: &[String]) -> Result<HashMap<String, ResourceId>, StoreError> {
        let store = &self.settings.name;
        self.database
            .read::<_, StoreError>(|connection| ldap_entries::by_names(connection, store, keys))
    }

    /// Copies the members that a group names and the copy does not know.
    fn resolve(&self, unknown: &[&Dn]) -> Result<(), StoreError> {
        let (server_info, wanted) = (self.server_info()?, self.id_and_version_attributes());
        let (users, groups) = (server_info.filter(&Kind::USER), server_info.filter(&Kind::GROUP));
        let all = self.all_attributes(&server_info, &Kind::GROUP);
        for name in unknown.iter().filter(|name| name.is_within(&self.settings.group_base)) {
            let found = self
                .connections
                .read(|session| session.search(name, Scope::Base, &groups, &all))?;
            found
                .iter()
                .try_for_each(|group| self.import_without_members(&server_info, group))?;
        }
        if unknown.len() > FEW {
            let entries = self.entry_versions(&Kind::USER, &users)?;
            self.refresh_all(&Kind::USER, &entries)?;
            return Ok(());
        }
        for name in unknown {
            let found = self
                .connections
                .read(|session| session.search(name, Scope::Base, &users, &wanted))?;
            self.refresh_all(&Kind::USER, &found)?;
        }
        Ok(())
    }

    /// Returns the DNs that an entry lists as members. Active Directory sends long lists in parts.
    fn member_names(&self, entry: &Entry) -> Result<Vec<Dn>, StoreError> {
        let mut names = Vec::new();
        let mut wanted = MEMBER.to_owned();
        loop {
            let attributes: Vec<String> = self.id_and_version_attributes().into_iter().chain([wanted]).collect();
            let found = self.connections.read(|session| session.at(&entry.dn, &attributes))?;
            let Some(found) = found else { return Ok(names) };
            let Some((part, next)) = found.range(MEMBER) else {
                names.extend(found.values(MEMBER).iter().map(Dn::new));
                return Ok(names);
            };
            names.extend(part.iter().map(Dn::new));
            match next {
                Some(next) => wanted = format!("{MEMBER};range={next}-*"),
                None => return Ok(names),
            }
        }
    }

    /// Updates the groups that a user is or was in, directly or through nested groups.
    pub(super) fn refresh_groups_of(&self, user: &KnownEntry) -> Result<(), StoreError> {
        let server_info = self.server_info()?;
        let (mut open, mut seen) = (vec![Dn::new(&user.dn)], HashSet::new());
        while let Some(member) = open.pop() {
            let holds = server_info
                .filter(&Kind::GROUP)
                .and(LdapFilter::equal(MEMBER, member.as_str()));
            let groups = self.entry_versions(&Kind::GROUP, &holds)?;
            self.refresh_all(&Kind::GROUP, &groups)?;
            open.extend(
                groups
                    .into_iter()
                    .filter(|group| seen.insert(group.id.clone()))
                    .map(|group| group.dn),
            );
        }
        // Groups that the copy still shows and the directory no longer has.
        let relations = Relations {
            members: false,
            groups: true,
        };
        let copy = self.copy.get(&Kind::USER, &user.resource, relations)?;
        for shown in copy.into_iter().flat_map(|copy| copy.groups) {
            if let Some(known) = self.known(&shown.id)?
                && !seen.contains(&known.entry)
                && self.present(&Kind::GROUP, &shown.id)?.is_none()
            {
                self.compare(&Kind::GROUP)?;
            }
        }
        Ok(())
    }

    /// Returns the modifications of the group's entry for a change of members. Members without an entry are only in the
    /// copy.
    pub(super) fn member_deltas(
        &self,
        group: &ResourceId,
        dn: &Dn,
        written: &WriteResult,
    ) -> Result<Vec<Delta>, StoreError> {
        let names = |ids: &[ResourceId]| -> Result<Vec<String>, StoreError> {
            let ids: Vec<&ResourceId> = ids.iter().collect();
            Ok(self.entries_of(&ids)?.into_iter().map(|entry| entry.dn).collect())
        };
        let (mut joined, mut left) = (names(&written.members.joined)?, names(&written.members.left)?);
        if self.settings.flavour.groups_need_a_member() {
            let stand_in = self.settings.group_base.as_str().to_owned();
            if !joined.is_empty() && self.names_member(dn, &self.settings.group_base)? {
                left.push(stand_in);
            } else if joined.is_empty() && !left.is_empty() && self.would_be_empty(group, left.len())? {
                joined.push(stand_in);
            }
        }
        let delta = |make: fn(String, Vec<Vec<u8>>) -> Delta, names: &[String]| {
            (!names.is_empty()).then(|| make(MEMBER.to_owned(), deltas::bytes(names.iter())))
        };
        // Additions come first, as some servers require a group to have a member at all times.
        Ok([delta(Delta::Add, &joined), delta(Delta::Delete, &left)]
            .into_iter()
            .flatten()
            .collect())
    }

    /// Whether a group's entry names a member.
    pub(super) fn names_member(&self, group: &Dn, member: &Dn) -> Result<bool, StoreError> {
        let (filter, wanted) = (
            LdapFilter::equal(MEMBER, member.as_str()),
            self.id_and_version_attributes(),
        );
        let found = self
            .connections
            .read(|session| session.search(group, Scope::Base, &filter, &wanted))?;
        Ok(!found.is_empty())
    }

    /// Whether a group would have no member in the directory after this many have left.
    fn would_be_empty(&self, group: &ResourceId, leaving: usize) -> Result<bool, StoreError> {
        if self.copy.is_larger(group, leaving.saturating_add(FEW))? {
            return Ok(false);
        }
        let relations = Relations {
            members: true,
            groups: false,
        };
        let group = self.copy.get(&Kind::GROUP, group, relations)?;
        let members: Vec<ResourceId> = group
            .into_iter()
            .flat_map(|group| group.members)
            .map(|member| member.id)
            .collect();
        let members: Vec<&ResourceId> = members.iter().collect();
        Ok(self.entries_of(&members)?.len() <= leaving)
    }

    /// Removes a DN from every group that still lists it.
    pub(super) fn forget(&self, dn: &Dn) -> Result<(), LdapFailure> {
        let holds = LdapFilter::equal(MEMBER, dn.as_str());
        let wanted = self.id_and_version_attributes();
        let base = &self.settings.group_base;
        let groups = self
            .connections
            .read(|session| session.search(base, Scope::Subtree, &holds, &wanted))?;
        for group in groups {
            let gone = Delta::Delete(MEMBER.to_owned(), vec![dn.as_str().as_bytes().to_vec()]);
            let instead = Delta::Add(MEMBER.to_owned(), vec![base.as_str().as_bytes().to_vec()]);
            let done = match self
                .connections
                .write(|session| session.modify(&group.dn, std::slice::from_ref(&gone), None))
            {
                // This is the last member of a group that must have one.
                Err(LdapFailure::Refused {
                    code: OBJECT_CLASS_VIOLATION,
                    ..
                }) => self
                    .connections
                    .write(|session| session.modify(&group.dn, &[instead.clone(), gone.clone()], None)),
                done => done,
            };
            match done {
                // The server itself has already removed it.
                Err(fault) if is_stale(&fault) => {}
                done => done?,
            }
        }
        Ok(())
    }
}
