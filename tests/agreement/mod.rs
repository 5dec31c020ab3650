//! Random users, groups and queries about them. Few texts are used often, so that filters find matches.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use vestibule::domain::{Attributes, Kind, name};

use super::generate;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// The resources of one test case.
#[derive(Clone, Debug)]
pub(crate) struct Population {
    pub(crate) people: Vec<Person>,
    pub(crate) teams: Vec<Team>,
    /// Attributes of resources of a custom type.
    pub(crate) devices: Vec<Attributes>,
}

/// A user's attributes.
#[derive(Clone, Debug)]
pub(crate) struct Person(pub(crate) Attributes);

/// A group's attributes, and its members by local id (`u0`, `g1`) with the other sub-attributes that are sent.
#[derive(Clone, Debug)]
pub(crate) struct Team {
    pub(crate) attributes: Attributes,
    pub(crate) members: Vec<(String, Attributes)>,
}

/// A query. In the filter, `@` stands for the common prefix of all ids.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) kind: Kind,
    pub(crate) filter: Option<String>,
    pub(crate) sort: Option<(String, bool)>,
    pub(crate) start: usize,
    pub(crate) count: usize,
}

pub(crate) fn population() -> impl Strategy<Value = Population> {
    let devices = vec(generate::resource(generate::resource_type(&device())), 0..6);
    (vec(person(), 0..9), vec(team(), 0..5), devices).prop_map(|(people, teams, devices)| Population {
        people,
        teams,
        devices: devices.into_iter().map(without_secrets).collect(),
    })
}

/// The custom resource type.
pub(crate) fn device() -> Kind {
    Kind::new("Device")
}

/// Removes the password, which a document does not hold.
fn without_secrets(mut attributes: Attributes) -> Attributes {
    attributes.retain(|name, _| name != "password");
    attributes
}

pub(crate) fn asks() -> impl Strategy<Value = Vec<Ask>> {
    vec(
        prop_oneof![3 => ask(Kind::USER), 1 => ask(Kind::GROUP), 2 => ask(device())],
        12,
    )
}

// ---- people and groups ----

/// Texts that are known to cause errors: wildcards, case pairs, compositions, characters beyond the basic multilingual
/// plane, values as long as an index allows, and others.
const TEXTS: &[&str] = &[
    "",
    "a",
    "A",
    "ab",
    "aB",
    "b",
    "ba",
    "%",
    "_",
    "a%b",
    "a_b",
    "axb",
    "\\",
    "\\%",
    "a\\",
    "'",
    "a\"b",
    " ",
    "a ",
    " a",
    "true",
    "10",
    "9",
    "\u{1}",
    "\u{7f}",
    "Straße",
    "STRASSE",
    "ß",
    "ﬁ",
    "fi",
    "é",
    "e\u{301}",
    "e",
    "Å",
    "\u{212b}",
    "ΟΔΟΣ",
    "οδος",
    "οδοσ",
    "İ",
    "i",
    "ı",
    "I",
    "ﷺ",
    "\u{345}",
    "ᾳ",
    "\u{d7ff}",
    "\u{e000}",
    "\u{ffff}",
    "\u{10000}",
    "😀",
    "\u{10ffff}",
    "日本",
    "null",
    "@u1",
];

fn text() -> impl Strategy<Value = String> {
    let known: Vec<String> = TEXTS.iter().map(|&text| text.to_owned()).collect();
    let long = (
        select(vec!["x", "X", "é", "ß", "😀"]),
        197_usize..203,
        select(vec!["", "a", "A", "b", "\u{1}", "%"]),
    )
        .prop_map(|(letter, times, end)| format!("{}{end}", letter.repeat(times)));
    let joined = (select(known.clone()), select(known.clone())).prop_map(|(one, other)| one + &other);
    prop_oneof![8 => select(known), 2 => long, 2 => joined, 1 => "[^\u{0}@]{0,6}"]
}

fn name() -> impl Strategy<Value = String> {
    text().prop_map(|text| {
        if name::check(&text).is_ok() {
            text
        } else {
            "fallback".to_owned()
        }
    })
}

fn person() -> impl Strategy<Value = Person> {
    let plain = (
        text_part("externalId"),
        text_part("displayName"),
        text_part("nickName"),
        text_part("title"),
    );
    let full_name = parts((text_part("formatted"), text_part("familyName"), text_part("givenName")));
    let manager = parts((text_part("value"), text_part("displayName"), Just(None)));
    let work = (
        text_part("employeeNumber"),
        text_part("department"),
        text_part("costCenter"),
        manager,
    );
    let lists = (elements(), elements());
    let others = generate::resource(generate::resource_type(&Kind::USER));
    (name(), any::<bool>(), plain, full_name, work, lists, others).prop_map(
        |(user_name, active, plain, full_name, work, lists, others)| {
            let mut person = object([
                Some(("userName".to_owned(), json!(user_name))),
                Some(("active".to_owned(), json!(active))),
                plain.0,
                plain.1,
                plain.2,
                plain.3,
                nested("name", full_name),
                nested(ENTERPRISE, object([work.0, work.1, work.2, nested("manager", work.3)])),
            ]);
            for (list, elements) in [("emails", lists.0), ("roles", lists.1)] {
                if !elements.is_empty() {
                    person.insert(list.to_owned(), json!(elements));
                }
            }
            for (name, value) in without_secrets(others) {
                person.entry(name).or_insert(value);
            }
            Person(person)
        },
    )
}

fn team() -> impl Strategy<Value = Team> {
    let label = parts((text_part("display"), text_part("type"), Just(None)));
    let members = vec(((select(vec!["u", "g"]), 0..10), label), 0..4);
    (name(), text_part("externalId"), members).prop_map(|(name, external_id, members)| Team {
        attributes: object([Some(("displayName".to_owned(), json!(name))), external_id]),
        members: members
            .into_iter()
            .map(|((kind, at), label)| (format!("{kind}{at}"), label))
            .collect(),
    })
}

type Part = Option<(String, Value)>;

fn text_part(name: &'static str) -> impl Strategy<Value = Part> + Clone {
    option::of(text().prop_map(move |text| (name.to_owned(), json!(text)))).boxed()
}

fn parts(
    parts: (
        impl Strategy<Value = Part>,
        impl Strategy<Value = Part>,
        impl Strategy<Value = Part>,
    ),
) -> impl Strategy<Value = Attributes> {
    parts.prop_map(|(one, two, three)| object([one, two, three]))
}

/// E-mail addresses and similar values; at most one is primary.
fn elements() -> impl Strategy<Value = Vec<Value>> {
    let kind = option::of(select(vec!["work", "home", "WORK"]).prop_map(|kind| ("type".to_owned(), json!(kind))));
    let element = parts((text_part("value"), text_part("display"), kind));
    (vec(element, 0..4), option::of((0_usize..4, any::<bool>()))).prop_map(|(mut elements, primary)| {
        if let Some((at, flag)) = primary
            && let Some(element) = elements.get_mut(at)
        {
            element.insert("primary".to_owned(), json!(flag));
        }
        elements
            .into_iter()
            .filter(|parts| !parts.is_empty())
            .map(Value::Object)
            .collect()
    })
}

fn object<const N: usize>(parts: [Part; N]) -> Attributes {
    parts.into_iter().flatten().collect::<Map<_, _>>()
}

fn nested(name: &str, parts: Attributes) -> Part {
    (!parts.is_empty()).then(|| (name.to_owned(), Value::Object(parts)))
}

// ---- queries ----

const USER_TEXTS: &[&str] = &[
    "userName",
    "id",
    "externalId",
    "displayName",
    "nickName",
    "title",
    "name.formatted",
    "name.familyName",
    "name.givenName",
    "emails",
    "emails.value",
    "emails.display",
    "emails.type",
    "roles",
    "roles.value",
    "groups",
    "groups.value",
    "groups.display",
    "meta.resourceType",
    "meta.version",
    "schemas",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:costCenter",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.displayName",
];
const GROUP_TEXTS: &[&str] = &[
    "displayName",
    "id",
    "externalId",
    "members",
    "members.value",
    "members.display",
    "members.type",
];
const MOMENTS: &[&str] = &["meta.created", "meta.lastModified"];

fn texts(kind: &Kind) -> &'static [&'static str] {
    if *kind == Kind::USER { USER_TEXTS } else { GROUP_TEXTS }
}

fn ask(kind: Kind) -> impl Strategy<Value = Ask> {
    let resource_type = generate::resource_type(&kind);
    let by_schema = generate::filter(resource_type);
    let filter = if kind == device() {
        by_schema
    } else {
        prop_oneof![2 => filter(kind.clone()), 1 => by_schema].boxed()
    };
    let sort = option::of((generate::order(resource_type), any::<bool>()));
    let page = (prop_oneof![3 => Just(0), 1 => 0_usize..5], 0_usize..12);
    (option::weighted(0.9, filter), sort, page).prop_map(move |(filter, sort, (start, count))| Ask {
        kind: kind.clone(),
        filter,
        sort,
        start,
        count,
    })
}

fn filter(kind: Kind) -> impl Strategy<Value = String> {
    leaf(kind).prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) and ({other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) or ({other})")),
            inner.prop_map(|one| format!("not ({one})")),
        ]
    })
}

fn leaf(kind: Kind) -> BoxedStrategy<String> {
    let is_user = kind == Kind::USER;
    let attribute = || select(texts(&kind));
    let lists = if is_user {
        vec!["emails", "roles", "groups"]
    } else {
        vec!["members"]
    };
    let presence = || select(vec!["pr", "eq null", "ne null"]);
    let all = attribute();
    let mut leaves = vec![
        (
            6,
            (attribute(), comparison())
                .prop_map(|(name, test)| format!("{name} {test}"))
                .boxed(),
        ),
        (
            2,
            (all, presence())
                .prop_map(|(name, test)| format!("{name} {test}"))
                .boxed(),
        ),
        (
            1,
            (select(MOMENTS), moment())
                .prop_map(|(name, test)| format!("{name} {test}"))
                .boxed(),
        ),
        (1, comparison().prop_map(|test| format!("nothing {test}")).boxed()),
        (1, presence().prop_map(|test| format!("nothing {test}")).boxed()),
        (
            3,
            (select(lists.clone()), inner())
                .prop_map(|(list, inner)| format!("{list}[{inner}]"))
                .boxed(),
        ),
        (
            1,
            (select(lists), inner(), comparison())
                .prop_map(|(list, inner, test)| format!("{list}[{inner}].value {test}"))
                .boxed(),
        ),
    ];
    if is_user {
        leaves.push((
            1,
            (select(vec!["active", "emails.primary"]), flag())
                .prop_map(|(name, test)| format!("{name} {test}"))
                .boxed(),
        ));
        leaves.push((1, Just(format!("{ENTERPRISE} pr")).boxed()));
        leaves.push((1, presence().prop_map(|test| format!("active {test}")).boxed()));
    }
    proptest::strategy::Union::new_weighted(leaves).boxed()
}

/// A filter on one element of a list.
fn inner() -> BoxedStrategy<String> {
    let sub = select(vec!["value", "display", "type", "nothing"]);
    let leaf = prop_oneof![
        4 => (sub.clone(), comparison()).prop_map(|(name, test)| format!("{name} {test}")),
        1 => sub.prop_map(|name| format!("{name} pr")),
        1 => select(vec!["type eq \"work\"", "type ne \"work\"", "not (type eq \"work\")"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) and ({other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) or ({other})")),
            inner.prop_map(|one| format!("not ({one})")),
        ]
    })
    .boxed()
}

fn comparison() -> impl Strategy<Value = String> + Clone {
    let operator = select(vec!["eq", "eq", "eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]);
    let id = (select(vec!["u", "g"]), 0..10).prop_map(|(kind, at)| format!("@{kind}{at}"));
    let value = prop_oneof![5 => text(), 1 => id].boxed();
    (operator, value).prop_map(|(operator, value)| format!("{operator} {}", json!(value)))
}

fn flag() -> impl Strategy<Value = String> {
    (select(vec!["eq", "ne"]), any::<bool>()).prop_map(|(operator, flag)| format!("{operator} {flag}"))
}

/// Compares with a time near those at which users and groups are created: one every half second from 2026 on.
fn moment() -> impl Strategy<Value = String> {
    (
        select(vec!["eq", "ne", "gt", "ge", "lt", "le"]),
        0..6,
        select(vec!["", ".500", ".501"]),
    )
        .prop_map(|(operator, second, fraction)| format!("{operator} \"2026-01-01T00:00:0{second}{fraction}Z\""))
}
