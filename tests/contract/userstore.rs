//! The contract of every userstore: one list of tests, run against each adapter. A backend that is not configured is
//! reported as ignored, never as passed.

use std::time::Duration;

use crate::fixtures::stores::{Backend, START, World};
use libtest_mimic::Trial;
use serde_json::json;
use vestibule::domain::change::Action;
use vestibule::domain::filter::parse;
use vestibule::domain::lockout::FailureCount;
use vestibule::domain::patch::MemberStep;
use vestibule::domain::provenance::Writers;
use vestibule::domain::query::{Page, Query, ResultPage, Sort, Start};
use vestibule::domain::unique::UniqueValue;
use vestibule::domain::{
    Attributes, JournalEntry, Kind, Link, Member, Precondition, Relations, Resource, ResourceId, Secret,
    ServiceProviderName, SideRecord, Version, name,
};
use vestibule::userstore::{
    Draft, PasswordChange, PasswordCheck, StoreError, UniqueKey, Write, WriteAction, WriteResult,
};

macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), $case as Case)),*] };
}

type Case = fn(&World);

const CASES: &[(&str, Case)] = cases![
    a_created_resource_can_be_read_back,
    an_absent_resource_is_none,
    a_resource_is_not_found_under_another_type,
    a_name_is_unique_whatever_its_spelling,
    users_and_groups_may_share_a_name,
    a_replaced_resource_has_the_next_version,
    a_stale_replace_is_refused_and_changes_nothing,
    replacing_what_is_not_there_is_none,
    a_name_can_be_freed_and_taken,
    a_unique_value_belongs_to_one_resource_of_its_type,
    globally_unique_value_belongs_to_one_resource_of_any_type,
    a_unique_value_can_be_kept_freed_and_taken,
    a_long_unique_value_is_told_from_one_that_begins_alike,
    parallel_creates_with_one_unique_value_make_one_resource,
    a_deleted_resource_is_gone_for_good,
    a_stale_delete_is_refused,
    last_modified_never_goes_back,
    members_keep_their_order_and_sub_attributes,
    joining_twice_is_joining_once,
    removing_a_non_member_reports_no_change,
    replacing_members_tells_who_joined_and_who_left,
    replacing_members_shows_them_as_said,
    only_net_membership_changes_are_reported,
    a_membership_change_that_changes_nothing_makes_no_version,
    members_may_refer_to_missing_resources,
    a_user_shows_the_groups_that_hold_it,
    a_user_is_indirectly_in_the_groups_that_hold_its_groups,
    deleting_a_user_takes_it_out_of_its_groups,
    deleting_a_user_takes_it_out_of_many_groups,
    deleting_a_group_takes_it_from_its_members,
    a_large_group_is_known_as_large,
    a_page_is_a_part_of_a_stable_order,
    total_is_exact_after_failed_and_parallel_writes,
    a_filter_on_the_name_ignores_case,
    a_filter_on_an_indexed_attribute_finds_its_element,
    a_filter_on_any_other_attribute_finds_it_too,
    a_filter_on_one_element_does_not_mix_elements,
    a_negated_filter_matches_absent_attributes,
    wildcards_in_a_filter_are_plain_characters,
    a_filter_on_members_finds_the_group,
    a_filter_that_every_element_meets_asks_for_an_element,
    an_empty_text_compares_but_is_not_present,
    sorting_by_groups_looks_at_them,
    a_group_is_in_no_group,
    sorting_puts_absent_values_last_and_first_when_descending,
    values_longer_than_an_index_are_found_and_told_apart,
    the_right_password_opens_and_wrong_ones_lock,
    of_many_wrong_passwords_at_once_few_are_compared,
    unlocking_lifts_the_lock,
    a_caller_that_counts_itself_is_not_locked_out,
    a_cleared_password_opens_nothing,
    a_password_goes_with_its_user,
    a_link_is_made_once,
    refused_write_leaves_no_side_record,
    parallel_creates_of_one_name_make_one_resource,
    parallel_joins_are_all_there,
];

pub(crate) fn trials() -> Vec<Trial> {
    let directory = |name: &str, backend: Backend| crate::fixtures::stores::directory(name).map(|_| backend);
    let backends: [(&str, Option<Backend>); 6] = [
        ("memory", Some(crate::fixtures::stores::memory)),
        ("sqlite", Some(crate::fixtures::stores::sqlite)),
        (
            "postgres",
            crate::fixtures::stores::postgres_url().map(|_| crate::fixtures::stores::postgres as Backend),
        ),
        ("openldap", directory("openldap", crate::fixtures::stores::openldap)),
        ("389ds", directory("ds389", crate::fixtures::stores::ds389)),
        (
            "samba_ad",
            directory("samba_ad", crate::fixtures::stores::active_directory),
        ),
    ];
    let mut trials = Vec::new();
    for (backend, world) in backends {
        for (case, run) in CASES {
            let trial = Trial::test(format!("{backend}::{case}"), move || {
                run(&world.ok_or("not configured")?());
                Ok(())
            });
            trials.push(trial.with_ignored_flag(world.is_none()));
        }
    }
    trials
}

// ---- helpers ----

fn id(text: &str) -> ResourceId {
    ResourceId::new(format!("{text}-{}", vestibule::storage::random::token()))
}

fn draft(kind: &Kind, name: &str, attributes: serde_json::Value) -> Draft {
    let attribute = if *kind == Kind::USER { "userName" } else { "displayName" };
    let mut all: Attributes = [(attribute.to_owned(), json!(name))].into_iter().collect();
    all.extend(attributes.as_object().cloned().unwrap());
    Draft {
        key: UniqueKey {
            attribute: attribute.to_owned(),
            name: name.to_owned(),
            canonical: name::canonical(name),
        },
        unique: None,
        attributes: all,
        writers: Writers::new(),
        members: None,
        password: None,
    }
}

fn serial(value: &str) -> UniqueValue {
    UniqueValue {
        global: false,
        path: "urn:example:Device:serial".to_owned(),
        attribute: "serial".to_owned(),
        value: value.to_owned(),
    }
}

fn claiming(kind: &Kind, name: &str, values: &[UniqueValue]) -> Draft {
    Draft {
        unique: Some(values.iter().cloned().collect()),
        ..draft(kind, name, json!({}))
    }
}

fn assert_taken<T: std::fmt::Debug>(outcome: Result<T, StoreError>, attribute: &str) {
    match outcome {
        Err(StoreError::Taken { attribute: taken }) => assert_eq!(taken, attribute),
        other => panic!("{attribute} should be taken: {other:?}"),
    }
}

fn journal() -> SideRecord {
    SideRecord::Journal(JournalEntry {
        at: START,
        actor: "scim:test".to_owned(),
        service_provider: ServiceProviderName::new("test"),
        action: Action::Update,
        diff: Attributes::new(),
    })
}

impl World {
    fn write(&self, kind: &Kind, id: &ResourceId, action: WriteAction) -> Result<Option<WriteResult>, StoreError> {
        let write = Write {
            kind: kind.clone(),
            id: id.clone(),
            at: self.clock.now(),
            action,
        };
        self.store.write(write, vec![journal()])
    }

    fn create(&self, kind: &Kind, name: &str, attributes: serde_json::Value) -> Resource {
        let id = id(name);
        self.write(kind, &id, WriteAction::Create(draft(kind, name, attributes)))
            .unwrap()
            .unwrap()
            .resource
    }

    fn user(&self, name: &str) -> Resource {
        self.create(&Kind::USER, name, json!({ "active": true }))
    }

    fn group(&self, name: &str) -> Resource {
        self.create(&Kind::GROUP, name, json!({}))
    }

    fn replace(&self, user: &Resource, name: &str, expected: Precondition) -> Result<Option<WriteResult>, StoreError> {
        let draft = draft(&user.kind, name, json!({ "active": true }));
        let replace = WriteAction::Replace {
            draft,
            before: None,
            expected,
        };
        self.write(&user.kind, &user.id, replace)
    }

    fn delete(&self, resource: &Resource) -> Option<WriteResult> {
        self.write(
            &resource.kind,
            &resource.id,
            WriteAction::Delete {
                expected: Precondition::None,
            },
        )
        .unwrap()
    }

    fn change_members(&self, group: &Resource, step: MemberStep) -> WriteResult {
        self.step_through(group, vec![step])
    }

    fn step_through(&self, group: &Resource, change: Vec<MemberStep>) -> WriteResult {
        let change = WriteAction::Members {
            change,
            expected: Precondition::None,
        };
        self.write(&Kind::GROUP, &group.id, change).unwrap().unwrap()
    }

    fn get(&self, resource: &Resource) -> Option<Resource> {
        self.store.get(&resource.kind, &resource.id, Relations::ALL).unwrap()
    }

    fn find(&self, kind: &Kind, filter: &str) -> ResultPage {
        let filter = parse(filter, self.registry.resource_type(kind).unwrap()).unwrap();
        self.store
            .find(&Query::all(kind.clone(), 100).filtered(filter))
            .unwrap()
    }

    /// Creates a resource with these unique values.
    fn claim(&self, kind: &Kind, name: &str, values: &[UniqueValue]) -> Result<Resource, StoreError> {
        let action = WriteAction::Create(claiming(kind, name, values));
        self.write(kind, &id(name), action)
            .map(|written| written.unwrap().resource)
    }

    /// The names of the users that a filter finds, sorted, because not every store orders ids by age.
    fn names(&self, filter: &str) -> Vec<String> {
        sorted(names(&self.find(&Kind::USER, filter)))
    }

    fn set_password(&self, user: &Resource, password: PasswordChange) {
        let mut draft = draft(&Kind::USER, "ann", json!({}));
        draft.password = Some(password);
        let replaced = WriteAction::Replace {
            draft,
            before: None,
            expected: Precondition::None,
        };
        self.write(&Kind::USER, &user.id, replaced).unwrap().unwrap();
    }

    fn verify(&self, user: &Resource, password: &str) -> PasswordCheck {
        self.store
            .verify_password(&user.id, &Secret::new(password), FailureCount::Account)
            .unwrap()
    }
}

fn names(found: &ResultPage) -> Vec<String> {
    let name = |resource: &Resource| resource.document.attributes()["userName"].as_str().unwrap().to_owned();
    found.resources.iter().map(name).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn member(id: &ResourceId) -> Member {
    Member {
        id: id.clone(),
        body: json!({ "value": id }).to_string(),
    }
}

fn ids(members: &[Member]) -> Vec<&ResourceId> {
    members.iter().map(|member| &member.id).collect()
}

// ---- the contract ----

fn a_created_resource_can_be_read_back(world: &World) {
    let ann = world.create(&Kind::USER, "ann", json!({ "title": "Dr", "active": false }));
    let read = world.get(&ann).unwrap();
    assert_eq!(read, ann);
    assert_eq!(
        (read.version, read.created, read.modified),
        (Version::FIRST, START, START)
    );
    assert_eq!(
        serde_json::Value::Object(read.document.attributes()),
        json!({ "userName": "ann", "title": "Dr", "active": false })
    );
    assert_eq!(read.store, *world.store.name());
}

fn an_absent_resource_is_none(world: &World) {
    assert_eq!(
        world.store.get(&Kind::USER, &id("nobody"), Relations::ALL).unwrap(),
        None
    );
}

fn a_resource_is_not_found_under_another_type(world: &World) {
    let ann = world.user("ann");
    assert_eq!(world.store.get(&Kind::GROUP, &ann.id, Relations::ALL).unwrap(), None);
}

fn a_name_is_unique_whatever_its_spelling(world: &World) {
    world.user("Straße");
    let again = world.write(
        &Kind::USER,
        &id("x"),
        WriteAction::Create(draft(&Kind::USER, "STRASSE", json!({}))),
    );
    assert!(matches!(again, Err(StoreError::Taken { attribute }) if attribute == "userName"));
}

fn users_and_groups_may_share_a_name(world: &World) {
    world.user("ops");
    let draft = draft(&Kind::GROUP, "ops", json!({}));
    match world.write(&Kind::GROUP, &id("ops"), WriteAction::Create(draft)) {
        // In Active Directory, users and groups share one namespace, and the error says so.
        Err(StoreError::Taken { attribute }) if world.is_a_domain() => assert_eq!(attribute, "displayName"),
        made => assert!(made.unwrap().is_some()),
    }
}

fn a_replaced_resource_has_the_next_version(world: &World) {
    let ann = world.user("ann");
    world.clock.advance(Duration::from_secs(5));
    let now = world
        .replace(&ann, "anna", Precondition::Versions(vec![ann.version]))
        .unwrap()
        .unwrap()
        .resource;
    assert_eq!(now.version, ann.version.next());
    assert_eq!((now.created, now.modified), (ann.created, world.clock.now()));
    assert_eq!(world.get(&ann).unwrap(), now);
}

fn a_stale_replace_is_refused_and_changes_nothing(world: &World) {
    let ann = world.user("ann");
    let now = world
        .replace(&ann, "anna", Precondition::None)
        .unwrap()
        .unwrap()
        .resource;
    let stale = world.replace(&ann, "annie", Precondition::Versions(vec![ann.version]));
    assert!(matches!(stale, Err(StoreError::Stale)));
    assert_eq!(world.get(&ann).unwrap(), now);
}

fn replacing_what_is_not_there_is_none(world: &World) {
    let ann = world.user("ann");
    world.delete(&ann);
    assert!(world.replace(&ann, "ann", Precondition::None).unwrap().is_none());
}

fn a_name_can_be_freed_and_taken(world: &World) {
    let ann = world.user("ann");
    world.replace(&ann, "anna", Precondition::None).unwrap();
    let other = world.user("ANN");
    assert!(matches!(
        world.replace(&ann, "Ann", Precondition::None),
        Err(StoreError::Taken { .. })
    ));
    world.delete(&other);
    assert!(world.replace(&ann, "Ann", Precondition::None).is_ok());
}

fn a_unique_value_belongs_to_one_resource_of_its_type(world: &World) {
    assert!(world.claim(&Kind::USER, "ann", &[serial("1")]).is_ok());
    assert_taken(world.claim(&Kind::USER, "bob", &[serial("2"), serial("1")]), "serial");
    assert!(world.claim(&Kind::USER, "bob", &[serial("2")]).is_ok());
    assert!(world.claim(&Kind::GROUP, "ops", &[serial("1")]).is_ok());
}

fn globally_unique_value_belongs_to_one_resource_of_any_type(world: &World) {
    let asset = |value: &str| UniqueValue {
        global: true,
        ..serial(value)
    };
    // A random value, because a database keeps the values of earlier tests.
    let value = vestibule::storage::random::token();
    assert!(world.claim(&Kind::USER, "ann", &[asset(&value)]).is_ok());
    assert!(world.claim(&Kind::USER, "bob", &[serial(&value)]).is_ok());
    assert_taken(world.claim(&Kind::GROUP, "ops", &[asset(&value)]), "serial");
}

fn a_unique_value_can_be_kept_freed_and_taken(world: &World) {
    let ann = world.claim(&Kind::USER, "ann", &[serial("1"), serial("2")]).unwrap();
    let replace = |values: &[UniqueValue]| {
        let draft = claiming(&Kind::USER, "ann", values);
        let expected = Precondition::None;
        world.write(
            &Kind::USER,
            &ann.id,
            WriteAction::Replace {
                draft,
                before: None,
                expected,
            },
        )
    };
    assert!(replace(&[serial("2"), serial("3")]).is_ok());
    assert_taken(world.claim(&Kind::USER, "bob", &[serial("2")]), "serial");
    let bob = world.claim(&Kind::USER, "bob", &[serial("1")]).unwrap();
    assert_taken(replace(&[serial("1")]), "serial");
    let expected = Precondition::None;
    world
        .write(&Kind::USER, &bob.id, WriteAction::Delete { expected })
        .unwrap();
    assert!(replace(&[serial("1")]).is_ok());
}

fn a_long_unique_value_is_told_from_one_that_begins_alike(world: &World) {
    let long = "x".repeat(3000);
    assert!(world.claim(&Kind::USER, "ann", &[serial(&long)]).is_ok());
    assert!(world.claim(&Kind::USER, "bob", &[serial(&format!("{long}y"))]).is_ok());
    assert_taken(world.claim(&Kind::USER, "cem", &[serial(&long)]), "serial");
}

fn parallel_creates_with_one_unique_value_make_one_resource(world: &World) {
    let made = std::thread::scope(|scope| {
        let claim = |at: usize| world.claim(&Kind::USER, &format!("user{at}"), &[serial("1"), serial("2")]);
        let threads: Vec<_> = (0..20).map(|at| scope.spawn(move || claim(at))).collect();
        let outcomes = threads.into_iter().map(|thread| thread.join().unwrap());
        outcomes
            .filter(|outcome| match outcome {
                Ok(_) => true,
                Err(error) => {
                    assert!(
                        matches!(error, StoreError::Taken { attribute } if attribute == "serial"),
                        "{error}"
                    );
                    false
                }
            })
            .count()
    });
    assert_eq!(made, 1);
}

fn a_deleted_resource_is_gone_for_good(world: &World) {
    let ann = world.user("ann");
    assert!(world.delete(&ann).is_some());
    assert!(world.get(&ann).is_none());
    assert!(world.delete(&ann).is_none());
    assert_ne!(world.user("ann").id, ann.id);
}

fn a_stale_delete_is_refused(world: &World) {
    let ann = world.user("ann");
    let expected = Precondition::Versions(vec![ann.version.next()]);
    let stale = world.write(&Kind::USER, &ann.id, WriteAction::Delete { expected });
    assert!(matches!(stale, Err(StoreError::Stale)));
    assert!(world.get(&ann).is_some());
}

fn last_modified_never_goes_back(world: &World) {
    let ann = world.user("ann");
    let first = world
        .replace(&ann, "anna", Precondition::None)
        .unwrap()
        .unwrap()
        .resource;
    let second = world
        .replace(&ann, "ann", Precondition::None)
        .unwrap()
        .unwrap()
        .resource;
    assert!(ann.modified < first.modified && first.modified < second.modified);
}

fn members_keep_their_order_and_sub_attributes(world: &World) {
    let (group, ann, bob) = (world.group("ops"), world.user("ann"), world.user("bob"));
    let odd = Member {
        id: bob.id.clone(),
        body: json!({ "value": bob.id, "display": "B", "type": "Odd" }).to_string(),
    };
    world.change_members(&group, MemberStep::Join(vec![odd.clone(), member(&ann.id)]));
    assert_eq!(world.get(&group).unwrap().members, vec![odd, member(&ann.id)]);
}

fn joining_twice_is_joining_once(world: &World) {
    let (group, ann) = (world.group("ops"), world.user("ann"));
    world.change_members(&group, MemberStep::Join(vec![member(&ann.id), member(&ann.id)]));
    let again = world.change_members(&group, MemberStep::Join(vec![member(&ann.id)]));
    assert!(again.members.is_empty() && !again.changed);
    assert_eq!(world.get(&group).unwrap().members.len(), 1);
}

fn removing_a_non_member_reports_no_change(world: &World) {
    let (group, ann) = (world.group("ops"), world.user("ann"));
    world.change_members(&group, MemberStep::Join(vec![member(&ann.id)]));
    let left = world.change_members(&group, MemberStep::Leave(vec![id("other"), ann.id.clone()]));
    assert_eq!(left.members.left, vec![ann.id]);
}

fn replacing_members_tells_who_joined_and_who_left(world: &World) {
    let (group, ann, bob, cem) = (
        world.group("ops"),
        world.user("ann"),
        world.user("bob"),
        world.user("cem"),
    );
    world.change_members(&group, MemberStep::Join(vec![member(&ann.id), member(&bob.id)]));
    let replaced = world.change_members(&group, MemberStep::Replace(vec![member(&bob.id), member(&cem.id)]));
    assert_eq!(
        (replaced.members.joined, replaced.members.left),
        (vec![cem.id.clone()], vec![ann.id])
    );
    let cleared = world.change_members(&group, MemberStep::Clear);
    assert_eq!(cleared.members.left.len(), 2);
    assert!(world.get(&group).unwrap().members.is_empty());
}

fn only_net_membership_changes_are_reported(world: &World) {
    let (group, ann, bob) = (world.group("ops"), world.user("ann"), world.user("bob"));
    world.change_members(&group, MemberStep::Join(vec![member(&ann.id)]));
    let (join, leave) = (
        |who: &Resource| MemberStep::Join(vec![member(&who.id)]),
        |who: &Resource| MemberStep::Leave(vec![who.id.clone()]),
    );
    let change = vec![
        leave(&ann),
        join(&ann),
        leave(&ann),
        join(&bob),
        leave(&bob),
        join(&bob),
    ];
    let expected = Precondition::None;
    let written = world
        .write(&Kind::GROUP, &group.id, WriteAction::Members { change, expected })
        .unwrap()
        .unwrap();
    assert_eq!(
        (written.members.joined, written.members.left),
        (vec![bob.id], vec![ann.id])
    );
    assert!(written.changed);
}

fn a_membership_change_that_changes_nothing_makes_no_version(world: &World) {
    let (group, ann) = (world.group("ops"), world.user("ann"));
    let joined = world.change_members(&group, MemberStep::Join(vec![member(&ann.id)]));
    assert_eq!(joined.resource.version, group.version.next());
    let same = world.change_members(&group, MemberStep::Replace(vec![member(&ann.id)]));
    assert_eq!(same.resource.version, joined.resource.version);
    assert_eq!(world.get(&group).unwrap().version, joined.resource.version);
}

fn replacing_members_shows_them_as_said(world: &World) {
    let group = world.group("staff");
    let [a, b] = ["a", "b"].map(ResourceId::new);
    let shown = |display: &str| Member {
        id: b.clone(),
        body: json!({ "value": b, "display": display }).to_string(),
    };
    world.change_members(&group, MemberStep::Join(vec![member(&a), member(&b)]));
    let steps = [
        vec![MemberStep::Replace(vec![member(&a), shown("Bea")])],
        vec![MemberStep::Clear, MemberStep::Join(vec![member(&a), shown("Bo")])],
        vec![MemberStep::Join(vec![shown("again")])],
    ];
    let mut relabelled = Vec::new();
    for change in steps {
        let written = world.step_through(&group, change);
        assert!(written.members.joined.is_empty() && written.members.left.is_empty());
        assert_eq!(written.changed, !written.members.relabelled.is_empty());
        relabelled.push(written.members.relabelled);
    }
    assert_eq!(relabelled, [vec![b.clone()], vec![b.clone()], vec![]]);
    let members = world.get(&group).unwrap().members;
    let shown = members.iter().find(|member| member.id == b).unwrap();
    assert_eq!(shown.value()["display"], "Bo");
}

fn members_may_refer_to_missing_resources(world: &World) {
    let (group, nobody) = (world.group("ops"), id("nobody"));
    world.change_members(&group, MemberStep::Join(vec![member(&nobody)]));
    assert_eq!(ids(&world.get(&group).unwrap().members), vec![&nobody]);
}

fn a_user_shows_the_groups_that_hold_it(world: &World) {
    let (group, ann) = (world.group("Ops"), world.user("ann"));
    world.change_members(&group, MemberStep::Join(vec![member(&ann.id)]));
    let groups = world.get(&ann).unwrap().groups;
    assert_eq!(
        groups
            .iter()
            .map(|one| (&one.id, one.display.as_str()))
            .collect::<Vec<_>>(),
        vec![(&group.id, "Ops")]
    );
}

/// Company contains staff and board, staff contains board and ann, board contains bob and company, which is a cycle.
fn a_user_is_indirectly_in_the_groups_that_hold_its_groups(world: &World) {
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let [company, staff, board] = ["company", "staff", "board"].map(|name| world.group(name));
    let join = |group: &Resource, members: &[&Resource]| {
        let members = members.iter().map(|resource| member(&resource.id)).collect();
        world.change_members(group, MemberStep::Join(members));
    };
    join(&company, &[&staff, &board]);
    join(&staff, &[&board, &ann]);
    join(&board, &[&company, &bob]);
    let shown = |user: &Resource| {
        let groups = world.get(user).unwrap().groups;
        let mut groups: Vec<(String, bool)> = groups.into_iter().map(|group| (group.display, group.direct)).collect();
        groups.sort();
        groups
    };
    let expected = |direct: &str| {
        let groups = ["board", "company", "staff"];
        groups.map(|group| (group.to_owned(), group == direct)).to_vec()
    };
    assert_eq!((shown(&ann), shown(&bob)), (expected("staff"), expected("board")));
    let found = world.find(&Kind::USER, &format!("groups.value eq \"{}\"", company.id));
    assert_eq!(sorted(names(&found)), ["ann", "bob"]);
    let direct = format!("groups[value eq \"{}\" and type eq \"direct\"]", board.id);
    assert_eq!(names(&world.find(&Kind::USER, &direct)), ["bob"]);
}

fn deleting_a_user_takes_it_out_of_its_groups(world: &World) {
    let (group, ann) = (world.group("ops"), world.user("ann"));
    let joined = world.change_members(&group, MemberStep::Join(vec![member(&ann.id)]));
    world.delete(&ann);
    let group = world.get(&group).unwrap();
    assert!(group.members.is_empty());
    assert_eq!(group.version, joined.resource.version.next());
}

fn deleting_a_user_takes_it_out_of_many_groups(world: &World) {
    let ann = world.user("ann");
    let groups: Vec<Resource> = (0..230).map(|number| world.group(&format!("ops {number}"))).collect();
    for group in &groups {
        world.change_members(group, MemberStep::Join(vec![member(&ann.id)]));
    }
    world.delete(&ann);
    assert_eq!(world.get(&ann), None);
    let left = |group: &Resource| world.get(group).unwrap().members.is_empty();
    assert!(groups.iter().all(left));
}

fn deleting_a_group_takes_it_from_its_members(world: &World) {
    let (group, ann) = (world.group("ops"), world.user("ann"));
    world.change_members(&group, MemberStep::Join(vec![member(&ann.id)]));
    world.delete(&group);
    assert!(world.get(&ann).unwrap().groups.is_empty());
}

fn a_large_group_is_known_as_large(world: &World) {
    let group = world.group("ops");
    let crowd: Vec<Member> = (0..1200).map(|at| member(&id(&at.to_string()))).collect();
    world.change_members(&group, MemberStep::Join(crowd));
    assert!(world.store.is_larger(&group.id, 1199).unwrap());
    assert!(!world.store.is_larger(&group.id, 1200).unwrap());
    assert_eq!(world.change_members(&group, MemberStep::Clear).members.left.len(), 1200);
}

fn total_is_exact_after_failed_and_parallel_writes(world: &World) {
    world.group("staff");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            scope.spawn(move || {
                for n in 0..25 {
                    let user = world.user(&format!("user{writer}-{n}"));
                    let again = WriteAction::Create(draft(&Kind::USER, &format!("user{writer}-{n}"), json!({})));
                    let taken = world.write(&Kind::USER, &id(&format!("other{writer}-{n}")), again);
                    assert!(matches!(taken, Err(StoreError::Taken { .. })));
                    if n % 5 == 0 {
                        world.delete(&user).unwrap();
                        assert!(world.delete(&user).is_none());
                    }
                }
            });
        }
    });
    let total = |kind, count| world.store.find(&Query::all(kind, count)).unwrap().total;
    assert_eq!(total(Kind::USER, 1), Some(8 * 20));
    assert_eq!(total(Kind::USER, 1000), Some(8 * 20));
    assert_eq!(total(Kind::GROUP, 0), Some(1));
}

fn a_page_is_a_part_of_a_stable_order(world: &World) {
    for name in ["e", "c", "a", "d", "b"] {
        world.user(name);
    }
    let page = |start, count, sort| {
        let query = Query {
            sort,
            page: Page {
                start: Start::Index(start),
                count,
            },
            ..Query::all(Kind::USER, 0)
        };
        let found = world.store.find(&query).unwrap();
        (found.total.unwrap(), names(&found))
    };
    let by_name = || {
        let by = world
            .registry
            .resource_type(&Kind::USER)
            .unwrap()
            .resolve("userName")
            .unwrap();
        Some(Sort { by, descending: false })
    };
    assert_eq!(page(1, 2, by_name()), (5, vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(page(4, 9, by_name()), (5, vec!["e".to_owned()]));
    assert_eq!(page(9, 9, by_name()), (5, vec![]));
    assert_eq!(page(0, 0, None), (5, vec![]));
    let pages: Vec<String> = (0..5).flat_map(|start| page(start, 1, None).1).collect();
    assert_eq!(pages, page(0, 5, None).1);
}

fn a_filter_on_the_name_ignores_case(world: &World) {
    world.user("Ann@Example.com");
    world.user("bob");
    assert_eq!(world.names(r#"userName eq "ann@example.COM""#), ["Ann@Example.com"]);
    assert_eq!(world.names(r#"userName sw "ANN""#), ["Ann@Example.com"]);
    assert_eq!(world.names(r#"userName co "EXAMPLE""#), ["Ann@Example.com"]);
    assert_eq!(world.names(r#"userName gt "az""#), ["bob"]);
}

fn emails(world: &World) {
    world.create(&Kind::USER, "ann", json!({ "emails": [{ "value": "Ann@work.example", "type": "work" }, { "value": "ann@home.example", "type": "home" }] }));
    world.create(
        &Kind::USER,
        "bob",
        json!({ "emails": [{ "value": "bob@home.example", "type": "home" }], "title": "Chief" }),
    );
    world.create(&Kind::USER, "cem", json!({ "title": "chief of 100%_\\ staff" }));
}

fn a_filter_on_an_indexed_attribute_finds_its_element(world: &World) {
    emails(world);
    assert_eq!(world.names(r#"emails.value eq "ann@WORK.example""#), ["ann"]);
    assert_eq!(world.names(r#"emails sw "bob@""#), ["bob"]);
    assert_eq!(world.names(r#"emails co "home""#).len(), 2);
    assert_eq!(world.names("emails pr").len(), 2);
}

fn a_filter_on_any_other_attribute_finds_it_too(world: &World) {
    emails(world);
    assert_eq!(world.names(r#"title eq "chief""#), ["bob"]);
    assert_eq!(
        world.names(r#"emails.type eq "work" or title co "staff""#),
        ["ann", "cem"]
    );
    assert_eq!(world.names("title pr and not (emails pr)"), ["cem"]);
}

fn a_filter_on_one_element_does_not_mix_elements(world: &World) {
    emails(world);
    assert_eq!(
        world.names(r#"emails[type eq "work" and value co "home"]"#),
        Vec::<String>::new()
    );
    assert_eq!(
        world.names(r#"emails[type eq "home" and value eq "ann@home.example"]"#),
        ["ann"]
    );
    assert_eq!(
        world.names(r#"emails.type eq "work" and emails.value co "home""#),
        ["ann"]
    );
}

fn a_negated_filter_matches_absent_attributes(world: &World) {
    emails(world);
    for filter in [
        r#"title ne "chief""#,
        r#"not (emails.value eq "bob@home.example")"#,
        r#"emails.value ne "bob@home.example""#,
    ] {
        assert_eq!(world.names(filter), ["ann", "cem"], "{filter}");
    }
}

fn wildcards_in_a_filter_are_plain_characters(world: &World) {
    emails(world);
    world.user("100%_x");
    world.user("100abx");
    world.create(&Kind::USER, "deb", json!({ "displayName": "100%_\\x" }));
    assert_eq!(world.names(r#"userName co "%""#), ["100%_x"]);
    assert_eq!(world.names(r#"userName co "0%_""#), ["100%_x"]);
    assert_eq!(world.names(r#"displayName co "0%_\\""#), ["deb"]);
    assert_eq!(world.names(r#"userName eq "x' OR '1'='1""#), Vec::<String>::new());
    assert_eq!(world.names(r#"title co "%_\\""#), ["cem"]);
}

fn a_filter_on_members_finds_the_group(world: &World) {
    let (group, _other, ann) = (world.group("ops"), world.group("dev"), world.user("ann"));
    world.change_members(&group, MemberStep::Join(vec![member(&ann.id)]));
    for filter in [
        format!(r#"members eq "{}""#, ann.id),
        format!(r#"members[value eq "{}"]"#, ann.id),
        "members pr".to_owned(),
    ] {
        let found = world.find(&Kind::GROUP, &filter);
        assert_eq!(
            found.resources.iter().map(|one| &one.id).collect::<Vec<_>>(),
            vec![&group.id],
            "{filter}"
        );
    }
    assert_eq!(
        world
            .find(&Kind::USER, &format!(r#"groups.value eq "{}""#, group.id))
            .total,
        Some(1)
    );
}

fn a_filter_that_every_element_meets_asks_for_an_element(world: &World) {
    world.user("ann");
    world.create(
        &Kind::USER,
        "bob",
        json!({ "active": true, "emails": [{ "value": "b@x" }] }),
    );
    assert_eq!(world.names("emails[not (nothing pr)]"), ["bob"]);
    assert_eq!(world.names("not (emails[not (nothing pr)])"), ["ann"]);
}

fn an_empty_text_compares_but_is_not_present(world: &World) {
    world.create(
        &Kind::USER,
        "ann",
        json!({ "active": true, "displayName": "", "externalId": "" }),
    );
    for attribute in ["displayName", "externalId"] {
        assert_eq!(world.names(&format!("{attribute} eq \"\"")), ["ann"]);
        assert_eq!(world.names(&format!("{attribute} lt \"a\"")), ["ann"]);
        assert!(world.names(&format!("{attribute} pr")).is_empty());
    }
}

fn sorting_by_groups_looks_at_them(world: &World) {
    let (_ann, bob, group) = (world.user("ann"), world.user("bob"), world.group("ops"));
    world.change_members(&group, MemberStep::Join(vec![member(&bob.id)]));
    let by = world
        .registry
        .resource_type(&Kind::USER)
        .unwrap()
        .resolve("groups.display")
        .unwrap();
    let query = Query {
        sort: Some(Sort { by, descending: false }),
        ..Query::all(Kind::USER, 10)
    };
    assert_eq!(names(&world.store.find(&query).unwrap()), ["bob", "ann"]);
}

fn a_group_is_in_no_group(world: &World) {
    let (inner, outer) = (world.group("inner"), world.group("outer"));
    world.change_members(&outer, MemberStep::Join(vec![member(&inner.id)]));
    assert!(world.get(&inner).unwrap().groups.is_empty());
}

fn sorting_puts_absent_values_last_and_first_when_descending(world: &World) {
    emails(world);
    let sorted = |descending| {
        let by = world
            .registry
            .resource_type(&Kind::USER)
            .unwrap()
            .resolve("title")
            .unwrap();
        names(
            &world
                .store
                .find(&Query {
                    sort: Some(Sort { by, descending }),
                    ..Query::all(Kind::USER, 9)
                })
                .unwrap(),
        )
    };
    assert_eq!(sorted(false), ["bob", "cem", "ann"]);
    assert_eq!(sorted(true), ["ann", "cem", "bob"]);
}

fn values_longer_than_an_index_are_found_and_told_apart(world: &World) {
    let long = format!("{}@example.com", "x".repeat(5000));
    let other = format!("{}@example.org", "x".repeat(5000));
    world.create(
        &Kind::USER,
        "ann",
        json!({ "emails": [{ "value": long }], "externalId": long }),
    );
    world.create(
        &Kind::USER,
        "bob",
        json!({ "emails": [{ "value": other }], "externalId": other }),
    );
    assert_eq!(world.names(&format!(r#"emails.value eq "{long}""#)), ["ann"]);
    assert_eq!(world.names(&format!(r#"externalId eq "{other}""#)), ["bob"]);
    assert_eq!(world.names(r#"emails.value ew "example.org""#), ["bob"]);
    assert_eq!(
        world.names(&format!(r#"emails.value sw "{}""#, "x".repeat(300))),
        ["ann", "bob"]
    );
}

fn the_right_password_opens_and_wrong_ones_lock(world: &World) {
    let ann = world.user("ann");
    assert_eq!(world.verify(&ann, "anything"), PasswordCheck::Invalid);
    assert!(!world.store.has_password(&ann.id).unwrap());
    world.set_password(&ann, PasswordChange::Set(Secret::new("correct horse")));
    assert!(world.store.has_password(&ann.id).unwrap());
    assert_eq!(world.verify(&ann, "correct horse"), PasswordCheck::Valid);
    for _ in 0..4 {
        assert_eq!(world.verify(&ann, "wrong"), PasswordCheck::Invalid);
    }
    assert!(matches!(world.verify(&ann, "wrong"), PasswordCheck::Locks { .. }));
    assert!(matches!(
        world.verify(&ann, "correct horse"),
        PasswordCheck::Locked { .. }
    ));
    world.clock.advance(Duration::from_secs(31));
    assert_eq!(world.verify(&ann, "correct horse"), PasswordCheck::Valid);
}

fn of_many_wrong_passwords_at_once_few_are_compared(world: &World) {
    let ann = world.user("ann");
    world.set_password(&ann, PasswordChange::Set(Secret::new("correct horse")));
    let compared = std::thread::scope(|scope| {
        let guess = || world.verify(&ann, "wrong");
        let guesses: Vec<_> = (0..40).map(|_| scope.spawn(guess)).collect();
        let verdicts = guesses.into_iter().map(|guess| guess.join().unwrap());
        verdicts
            .filter(|verdict| !matches!(verdict, PasswordCheck::Locked { .. }))
            .count()
    });
    assert_eq!(compared, 5, "the others were locked out");
}

fn a_caller_that_counts_itself_is_not_locked_out(world: &World) {
    let ann = world.user("ann");
    world.set_password(&ann, PasswordChange::Set(Secret::new("correct horse")));
    let verify = |password: &str| {
        let password = Secret::new(password);
        let verdict = world.store.verify_password(&ann.id, &password, FailureCount::Caller);
        verdict.unwrap()
    };
    for _ in 0..6 {
        assert_eq!(verify("wrong"), PasswordCheck::Invalid);
    }
    assert_eq!(
        world.verify(&ann, "correct horse"),
        PasswordCheck::Valid,
        "none counted"
    );
    for _ in 0..5 {
        world.verify(&ann, "wrong");
    }
    assert_eq!(verify("correct horse"), PasswordCheck::Valid);
    assert!(
        matches!(world.verify(&ann, "correct horse"), PasswordCheck::Locked { .. }),
        "the account stays locked for others"
    );
}

fn unlocking_lifts_the_lock(world: &World) {
    let ann = world.user("ann");
    world.set_password(&ann, PasswordChange::Set(Secret::new("correct horse")));
    for _ in 0..5 {
        world.verify(&ann, "wrong");
    }
    world.store.unlock(&ann.id).unwrap();
    assert_eq!(world.verify(&ann, "correct horse"), PasswordCheck::Valid);
}

fn a_cleared_password_opens_nothing(world: &World) {
    let ann = world.user("ann");
    world.set_password(&ann, PasswordChange::Set(Secret::new("correct horse")));
    world.set_password(&ann, PasswordChange::Clear);
    assert_eq!(world.verify(&ann, "correct horse"), PasswordCheck::Invalid);
    assert!(!world.store.has_password(&ann.id).unwrap());
}

fn a_password_goes_with_its_user(world: &World) {
    let ann = world.user("ann");
    world.set_password(&ann, PasswordChange::Set(Secret::new("correct horse")));
    world.delete(&ann);
    assert_eq!(world.verify(&ann, "correct horse"), PasswordCheck::Invalid);
    assert!(!world.store.has_password(&ann.id).unwrap());
    assert_eq!(
        world.verify(&world.user("ann"), "correct horse"),
        PasswordCheck::Invalid
    );
}

fn linked(world: &World, name: &str, subject: &str) -> Result<Option<WriteResult>, StoreError> {
    let link = Link {
        identity_provider: "idp".into(),
        issuer: world.store.name().to_string(),
        subject: subject.to_owned(),
    };
    let action = WriteAction::Create(draft(&Kind::USER, name, json!({})));
    let write = Write {
        kind: Kind::USER,
        id: id(name),
        at: world.clock.now(),
        action,
    };
    world.store.write(write, vec![journal(), SideRecord::Link(link)])
}

fn a_link_is_made_once(world: &World) {
    linked(world, "ann", "s1").unwrap();
    assert!(matches!(linked(world, "bob", "s1"), Err(StoreError::Taken { attribute }) if attribute == "link"));
    assert_eq!(world.names(r#"userName eq "bob""#), Vec::<String>::new());
    linked(world, "bob", "s2").unwrap();
}

fn refused_write_leaves_no_side_record(world: &World) {
    world.user("ann");
    assert!(linked(world, "ann", "s1").is_err());
    linked(world, "bob", "s1").unwrap();
}

fn parallel_creates_of_one_name_make_one_resource(world: &World) {
    let created = std::thread::scope(|scope| {
        let create = || {
            world.write(
                &Kind::USER,
                &id("x"),
                WriteAction::Create(draft(&Kind::USER, "ann", json!({}))),
            )
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(create)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(created.iter().filter(|one| one.is_ok()).count(), 1);
    assert!(
        created
            .iter()
            .all(|one| matches!(one, Ok(_) | Err(StoreError::Taken { .. })))
    );
}

fn parallel_joins_are_all_there(world: &World) {
    let group = world.group("ops");
    std::thread::scope(|scope| {
        for at in 0..50 {
            let group = &group;
            scope.spawn(move || world.change_members(group, MemberStep::Join(vec![member(&id(&at.to_string()))])));
        }
    });
    let now = world.get(&group).unwrap();
    assert_eq!((now.members.len(), now.version), (50, Version(51)));
}
