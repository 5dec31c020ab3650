//! Maps the groups that an identity provider asserts to memberships here.
//! The rules are pure. Each group is changed by one operation through the change pipeline.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::groups_claim::{self, GroupNames, Incomplete};
use super::policy::{GroupMode, GroupPolicy, SyncMode, UnmappedGroups};
use super::unusable_claims::IgnoredClaims;
use super::wildcard;
use crate::directory::memberships::membership;
use crate::directory::{Directory, DirectoryError};
use crate::domain::{
    Actor, Attributes, Change, IdentityProviderName, Kind, MembershipGrant, Operation, Relations, ResourceId,
    SideRecord, StoreName,
};
use crate::federation::error::FederationError;
use crate::storage::{Database, StorageError, group_grants};
use crate::userstore::StoreError;

/// The groups that a login asserts, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct AssertedGroups {
    /// Groups that must exist.
    groups: BTreeSet<String>,
    /// Groups that are created if they do not exist.
    made: BTreeSet<String>,
    /// Names without a group.
    dropped: Vec<String>,
    /// Why the provider does not say everything: memberships are added, but none is withdrawn.
    incomplete: Option<Incomplete>,
}

/// The changes of memberships.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct GroupChanges {
    joins: Vec<ResourceId>,
    leaves: Vec<ResourceId>,
    /// Memberships that the provider granted and that another writer has already removed.
    forgotten: Vec<ResourceId>,
}

/// Returns the asserted groups; `None` if groups are not synchronised.
fn asserted(policy: &GroupPolicy, sync: SyncMode, claims: &Map<String, Value>) -> Option<AssertedGroups> {
    if sync == SyncMode::None {
        return None;
    }
    let GroupNames { names, incomplete } = groups_claim::read(policy, claims);
    let mut asserted = AssertedGroups {
        groups: policy.default.iter().cloned().collect(),
        incomplete,
        ..AssertedGroups::default()
    };
    for name in names {
        let mapped = policy
            .map
            .iter()
            .find(|mapping| wildcard::matches(&mapping.from, &name));
        match (mapped, policy.unmapped) {
            (Some(mapping), _) => drop(asserted.groups.insert(mapping.to.clone())),
            (None, UnmappedGroups::SameName) => drop(asserted.groups.insert(name)),
            (None, UnmappedGroups::Create) => drop(asserted.made.insert(name)),
            (None, UnmappedGroups::Drop) => asserted.dropped.push(name),
        }
    }
    Some(asserted)
}

fn plan(mode: GroupMode, wanted: &[ResourceId], present: &[ResourceId], granted: &[ResourceId]) -> GroupChanges {
    let joins = wanted.iter().filter(|group| !present.contains(group));
    let over = granted
        .iter()
        .filter(|group| !wanted.contains(group) && !present.contains(group));
    let leaves = present
        .iter()
        .filter(|group| !wanted.contains(group) && (mode == GroupMode::Override || granted.contains(group)));
    GroupChanges {
        joins: joins.cloned().collect(),
        leaves: leaves.cloned().collect(),
        forgotten: over.cloned().collect(),
    }
}

/// Updates the memberships of users from the groups that an identity provider asserts.
pub(crate) struct GroupSync<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) database: &'a Database,
    pub(crate) provider: &'a IdentityProviderName,
    pub(crate) policy: &'a GroupPolicy,
    pub(crate) sync: SyncMode,
    /// The actor of the changes.
    pub(crate) actor: Actor,
    /// Counts what was not understood.
    pub(crate) ignored_claims: &'a IgnoredClaims,
}

impl GroupSync<'_> {
    /// Adds a user to the groups that the claims assert, and removes them from those that the provider withdraws. A
    /// refused change is logged and does not stop the login.
    pub(crate) fn run(
        &self,
        store: &StoreName,
        user: &ResourceId,
        claims: &Map<String, Value>,
    ) -> Result<(), FederationError> {
        let Some(asserted) = asserted(self.policy, self.sync, claims) else {
            return Ok(());
        };
        let provider = self.provider;
        for name in &asserted.dropped {
            log::info!("the group {name:?} of {provider} is not mapped to a group here");
        }
        let mut wanted = Vec::new();
        for name in asserted.groups.union(&asserted.made) {
            match self.group(store, name, asserted.made.contains(name))? {
                Some(group) => wanted.push(group),
                None => log::warn!("the group {name:?}, which {provider} asserts, is not in {store}"),
            }
        }
        let relations = Relations {
            groups: true,
            members: false,
        };
        let Some(person) = self.directory.get(&Kind::USER, user, relations)? else {
            return Ok(());
        };
        let direct = person.groups.into_iter().filter(|membership| membership.direct);
        let present: Vec<ResourceId> = direct.map(|membership| membership.id).collect();
        let granted = self
            .database
            .read::<_, StorageError>(|connection| group_grants::of_user(connection, user, provider))?;
        let mut plan = plan(self.policy.mode, &wanted, &present, &granted);
        if let Some(incomplete) = asserted.incomplete {
            log::warn!(
                "no membership of {user} is withdrawn: {} of {provider}: {incomplete}",
                self.policy.claim
            );
            self.ignored_claims
                .count(provider, &self.policy.claim, incomplete.code());
            plan.leaves.clear();
            plan.forgotten.clear();
        }
        let changes = plan.joins.iter().map(|group| (group, true));
        let changes = changes.chain(plan.leaves.iter().chain(&plan.forgotten).map(|group| (group, false)));
        for (group, joins) in changes {
            match self.move_member(group, user, joins) {
                Err(DirectoryError::NotFound(_)) => {}
                Err(DirectoryError::Invalid(invalid)) => {
                    log::warn!("a membership cannot be changed: {}", invalid.detail);
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Returns the group with a name, created if allowed.
    fn group(&self, store: &StoreName, name: &str, may_make: bool) -> Result<Option<ResourceId>, FederationError> {
        let find = || self.directory.named(store, &Kind::GROUP, name);
        if let Some(group) = find()? {
            return Ok(Some(group.id));
        }
        if !may_make {
            return Ok(None);
        }
        let attributes: Attributes = [("displayName".to_owned(), name.into())].into_iter().collect();
        let operation = Operation::Create {
            store: store.clone(),
            kind: Kind::GROUP,
            attributes,
            typed: Vec::new(),
        };
        match self.directory.apply(self.change(operation, Vec::new())) {
            Ok(outcome) => Ok(Some(outcome.into_resource().id)),
            // A concurrent login created it.
            Err(DirectoryError::Store(StoreError::Taken { .. })) => Ok(find()?.map(|group| group.id)),
            Err(DirectoryError::Invalid(invalid)) => {
                log::warn!("a group cannot be created: {}", invalid.detail);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn move_member(&self, group: &ResourceId, user: &ResourceId, joins: bool) -> Result<(), DirectoryError> {
        let operation = membership(self.directory.registry(), group, user, joins)?;
        let grant = SideRecord::Grant(MembershipGrant {
            user: user.clone(),
            identity_provider: self.provider.clone(),
            granted: joins,
        });
        let change: Change = self.change(operation, vec![grant]);
        self.directory.apply(change).map(|_| ())
    }

    fn change(&self, operation: Operation, side_records: Vec<SideRecord>) -> Change {
        Change {
            actor: self.actor.clone(),
            operation,
            side_records,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::federation::jit::policy::{AbsentGroups, GroupMapping};

    fn policy(unmapped: UnmappedGroups) -> GroupPolicy {
        let mapping = |from: &str, to: &str| GroupMapping {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        GroupPolicy {
            claim: "groups".to_owned(),
            name: None,
            separator: None,
            absent: AbsentGroups::Keep,
            map: vec![mapping("eng-*", "Engineering"), mapping("boss", "Managers")],
            unmapped,
            mode: GroupMode::Merge,
            default: vec!["Everyone".to_owned()],
        }
    }

    fn read(unmapped: UnmappedGroups, sync: SyncMode, claims: Value) -> Option<AssertedGroups> {
        asserted(&policy(unmapped), sync, claims.as_object().unwrap())
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn ids(names: &[&str]) -> Vec<ResourceId> {
        names.iter().map(|name| ResourceId::from(*name)).collect()
    }

    #[test]
    fn the_policy_decides_about_group_names_without_a_mapping() {
        let claims = json!({"groups": ["eng-web", "eng-db", "boss", "other", 7, ""]});
        let known = set(&["Engineering", "Managers", "Everyone"]);
        let dropped = read(UnmappedGroups::Drop, SyncMode::Override, claims.clone()).unwrap();
        assert_eq!(
            (&dropped.groups, &dropped.dropped[..]),
            (&known, &["other".to_owned()][..])
        );
        let same = read(UnmappedGroups::SameName, SyncMode::Override, claims.clone()).unwrap();
        assert!(same.groups.contains("other") && same.made.is_empty());
        assert_eq!(
            read(UnmappedGroups::Create, SyncMode::Override, claims).unwrap().made,
            set(&["other"])
        );
        let one = read(UnmappedGroups::Drop, SyncMode::Override, json!({"groups": "boss"})).unwrap();
        assert_eq!(one.groups, set(&["Managers", "Everyone"]));
    }

    #[test]
    fn absent_claim_gives_the_default_groups_and_withdraws_none() {
        assert_eq!(
            read(UnmappedGroups::Drop, SyncMode::None, json!({"groups": ["boss"]})),
            None
        );
        let absent = read(UnmappedGroups::Drop, SyncMode::Override, json!({})).unwrap();
        assert_eq!(
            (absent.groups, absent.incomplete),
            (set(&["Everyone"]), Some(Incomplete::Absent))
        );
        let empty = read(UnmappedGroups::Drop, SyncMode::PreserveLocal, json!({"groups": []})).unwrap();
        assert_eq!((empty.groups, empty.incomplete), (set(&["Everyone"]), None));
    }

    #[test]
    fn merge_withdraws_only_what_the_provider_granted() {
        let (wanted, present, granted) = (ids(&["a", "b"]), ids(&["b", "c", "d"]), ids(&["b", "c", "e"]));
        let merged = GroupChanges {
            joins: ids(&["a"]),
            leaves: ids(&["c"]),
            forgotten: ids(&["e"]),
        };
        assert_eq!(plan(GroupMode::Merge, &wanted, &present, &granted), merged);
        let overridden = GroupChanges {
            leaves: ids(&["c", "d"]),
            ..merged
        };
        assert_eq!(plan(GroupMode::Override, &wanted, &present, &granted), overridden);
    }
}
