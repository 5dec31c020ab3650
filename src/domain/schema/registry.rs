//! Every schema and resource type of this installation.

use std::sync::Arc;

use super::load::{Loader, SchemaError};
use super::{ResourceType, Schema};
use crate::domain::ids::Kind;

/// The schema files that are part of the program.
const BUILTIN: [(&str, &str); 4] = [
    ("user.json", include_str!("../../../schemas/user.json")),
    (
        "enterprise_user.json",
        include_str!("../../../schemas/enterprise_user.json"),
    ),
    ("group.json", include_str!("../../../schemas/group.json")),
    (
        "resource_types.json",
        include_str!("../../../schemas/resource_types.json"),
    ),
];

/// Every schema and resource type of this installation.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(super) schemas: Vec<Arc<Schema>>,
    pub(super) types: Vec<ResourceType>,
}

impl Registry {
    /// Users with the enterprise extension, and groups (RFC 7643 §4).
    ///
    /// # Panics
    ///
    /// Never: the files are part of the program.
    pub fn builtin() -> Self {
        Self::load(&[]).expect("the built-in schemas are part of the program and a test loads them")
    }

    /// Loads the built-in schemas and further files, each a name and its JSON text.
    ///
    /// A file holds one object or a list of them: one with an `endpoint` is a resource type (RFC 7643 §6), any other a
    /// schema (RFC 7643 §7). An object with the `id` of a built-in schema or the `name` of a built-in type replaces it.
    /// The error names every problem of every file.
    pub fn load(documents: &[(String, String)]) -> Result<Self, SchemaError> {
        let mut loader = Loader::default();
        for (file, text) in BUILTIN {
            loader.read(file, text);
        }
        loader.builtin_ends();
        for (file, text) in documents {
            loader.read(file, text);
        }
        loader.finish()
    }

    /// The resource types.
    pub fn types(&self) -> &[ResourceType] {
        &self.types
    }

    /// One resource type.
    pub fn resource_type(&self, kind: &Kind) -> Option<&ResourceType> {
        self.types.iter().find(|resource_type| resource_type.kind == *kind)
    }

    /// The resource type that is served at an endpoint, with or without its slash. Lower case is accepted, as in
    /// `users`.
    pub(crate) fn by_endpoint(&self, endpoint: &str) -> Option<&ResourceType> {
        let wanted = endpoint.strip_prefix('/').unwrap_or(endpoint);
        self.types.iter().find(|resource_type| {
            let own = resource_type.endpoint.trim_start_matches('/');
            own == wanted || own.to_lowercase() == wanted
        })
    }

    /// The schemas that some resource type uses.
    pub fn schemas(&self) -> &[Arc<Schema>] {
        &self.schemas
    }

    /// One schema by its URN, in any case.
    pub fn schema(&self, urn: &str) -> Option<&Arc<Schema>> {
        self.schemas.iter().find(|schema| schema.id.eq_ignore_ascii_case(urn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::schema::AttributeRef;
    use crate::domain::schema::{Mutability, Returned, Uniqueness};

    const BADGE: &str = r#"{"id": "urn:example:2.0:Badge", "name": "Badge", "attributes": [
        {"name": "number", "type": "integer", "required": true, "indexed": true},
        {"name": "doors", "type": "complex", "multiValued": true, "subAttributes": [{"name": "value"}]}]}"#;

    fn load(files: &[(&str, &str)]) -> Result<Registry, SchemaError> {
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        Registry::load(&files)
    }

    #[test]
    fn the_builtin_registry_has_users_and_groups() {
        let registry = Registry::builtin();
        assert_eq!(registry.types().len(), 2);
        assert_eq!(registry.schemas().len(), 3);
        let user = registry.by_endpoint("/users").expect("built in");
        assert_eq!(user.kind, Kind::USER);
        assert_eq!(
            user.name_attribute().map(|unique| unique.name.as_str()),
            Some("userName")
        );
        assert_eq!(
            registry.by_endpoint("Groups").map(|group| &group.kind),
            Some(&Kind::GROUP)
        );
        assert!(registry.by_endpoint("USERS").is_none());
        assert!(registry.schema("urn:ietf:params:scim:schemas:CORE:2.0:group").is_some());
    }

    #[test]
    fn builtin_characteristics_match_the_rfc_and_its_errata() {
        let registry = Registry::builtin();
        let user = registry.resource_type(&Kind::USER).expect("built in");
        let group = registry.resource_type(&Kind::GROUP).expect("built in");
        let leaf = |resource_type: &ResourceType, path| resource_type.resolve(path).expect("known").leaf().clone();
        let password = leaf(user, "password");
        assert_eq!(
            (password.mutability, password.returned),
            (Mutability::WriteOnly, Returned::Never)
        );
        assert_eq!(leaf(user, "groups").mutability, Mutability::ReadOnly);
        assert_eq!(leaf(user, "groups.$ref").reference_types, ["Group"]);
        assert!(
            leaf(
                user,
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value"
            )
            .case_exact
        );
        assert_eq!(leaf(user, "id").returned, Returned::Always);
        assert!(leaf(group, "displayName").required);
        assert_eq!(leaf(group, "displayName").uniqueness, Uniqueness::Server);
        assert!(group.resolve("members.display").is_some());
        assert!(leaf(group, "members").is_identified_by_value());
        assert!(!leaf(user, "emails").is_identified_by_value());
        assert!(leaf(user, "emails.value").indexed);
    }

    #[test]
    fn a_further_file_adds_an_extension_to_a_builtin_type() {
        let users = r#"{"name": "User", "endpoint": "/Users", "schema": "urn:ietf:params:scim:schemas:core:2.0:User",
            "schemaExtensions": [{"schema": "urn:example:2.0:Badge", "required": true}]}"#;
        let registry = load(&[("users.json", users), ("badge.json", BADGE)]).expect("valid");
        let user = registry.resource_type(&Kind::USER).expect("built in");
        assert_eq!(user.extensions.len(), 1);
        assert!(user.extensions[0].required);
        assert!(
            user.resolve("urn:example:2.0:badge:Number")
                .is_some_and(|number| number.leaf().indexed)
        );
        assert_eq!(registry.types().len(), 2);
    }

    #[test]
    fn a_further_file_may_bring_a_resource_type_of_its_own() {
        let text =
            format!(r#"[{BADGE}, {{"name": "Badge", "endpoint": "/Badges", "schema": "urn:example:2.0:Badge"}}]"#);
        let registry = load(&[("badge.json", &text)]).expect("valid");
        assert_eq!(
            registry.by_endpoint("Badges").map(|found| found.kind.as_str()),
            Some("Badge")
        );
    }

    #[test]
    fn every_problem_is_reported_with_its_file_and_its_place() {
        let error = load(&[
            ("broken.json", "{"),
            ("odd.json", r#"{"id": "urn:x:y", "name": "Odd", "colour": 1, "attributes": [
                {"name": "2x"}, {"name": "a", "type": "text"}, {"name": "b", "mutability": "sometimes"}, {"name": "B"},
                {"name": "c", "type": "complex"}, {"name": "meta"}, {"name": "d", "indexd": true}, 7,
                {"name": "e", "type": "complex", "uniqueness": "server", "subAttributes": [{"name": "f", "type": "complex", "subAttributes": []}]},
                {"name": "g", "mutability": "writeOnly", "returned": "default"}, {"name": "h", "required": "yes"},
                {"name": "i", "canonicalValues": [1]}, {"name": "password", "uniqueness": "server"},
                {"name": "j", "description": 5, "subAttributes": []}]}"#),
            ("type.json", r#"[{"name": "Thing", "endpoint": "/Users", "schema": "urn:nowhere", "schemaExtensions": [
                {"schema": "urn:gone", "needed": true}, 7]}, {"name": "Me!", "endpoint": "/Me", "schema": 1}, 8]"#),
        ])
        .expect_err("full of mistakes");
        let text = error.to_string();
        let place = |line: &str| line.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ");
        let mut places: Vec<String> = text.lines().map(place).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(
            places,
            [
                "broken.json: not valid JSON",
                "odd.json: /attributes/0/name",
                "odd.json: /attributes/1/type",
                "odd.json: /attributes/10/required",
                "odd.json: /attributes/11/canonicalValues",
                "odd.json: /attributes/12/uniqueness",
                "odd.json: /attributes/13/description",
                "odd.json: /attributes/13/subAttributes",
                "odd.json: /attributes/2/mutability",
                "odd.json: /attributes/3/name",
                "odd.json: /attributes/4/subAttributes",
                "odd.json: /attributes/5/name",
                "odd.json: /attributes/6/indexd",
                "odd.json: /attributes/7",
                "odd.json: /attributes/8/subAttributes/0/type",
                "odd.json: /attributes/8/uniqueness",
                "odd.json: /attributes/9/returned",
                "odd.json: /colour",
                "type.json: /0/endpoint",
                "type.json: /0/schema",
                "type.json: /0/schemaExtensions/0/needed",
                "type.json: /0/schemaExtensions/0/schema",
                "type.json: /0/schemaExtensions/1",
                "type.json: /1/endpoint",
                "type.json: /1/name",
                "type.json: /1/schema",
                "type.json: /2",
            ],
            "{text}"
        );
    }

    #[test]
    fn a_name_may_be_defined_once_outside_the_builtin_files() {
        assert!(
            load(&[("a.json", BADGE), ("b.json", BADGE)]).is_err_and(|error| error.to_string().contains("b.json: "))
        );
    }

    #[test]
    fn a_type_is_named_by_its_first_required_unique_string() {
        let text = r#"[{"id": "urn:x:y", "name": "X", "attributes": [
            {"name": "serial", "required": true, "uniqueness": "server", "caseExact": true},
            {"name": "label", "uniqueness": "server"}, {"name": "title", "required": true, "uniqueness": "server"},
            {"name": "chips", "type": "complex", "subAttributes": [{"name": "value", "uniqueness": "global"}]}]},
            {"name": "X", "endpoint": "/X", "schema": "urn:x:y"}]"#;
        let registry = load(&[("x.json", text)]).expect("valid");
        let found = registry.by_endpoint("X").expect("there");
        assert_eq!(found.name_attribute().map(|name| name.name.as_str()), Some("title"));
        let unique: Vec<String> = found.unique.iter().map(AttributeRef::path).collect();
        assert_eq!(unique, ["serial", "label", "chips.value"]);
        assert!(
            registry
                .types()
                .iter()
                .filter(|one| one.kind == Kind::USER)
                .all(|user| user.unique.is_empty())
        );
    }

    #[test]
    fn members_and_groups_are_reserved_attribute_names() {
        for (attribute, word) in [("members", "Group"), ("groups", "memberships")] {
            let text = format!(
                r#"[{{"id": "urn:x:y", "name": "X", "attributes": [{{"name": "{attribute}"}}]}},
                {{"name": "X", "endpoint": "/X", "schema": "urn:x:y"}}]"#
            );
            let error = load(&[("x.json", &text)]).expect_err("refused").to_string();
            assert!(
                error.starts_with("x.json: /1/schema: ") && error.contains(word),
                "{error}"
            );
        }
    }

    #[test]
    fn characteristics_that_follow_from_the_type_or_mutability() {
        let text = r#"[{"id": "urn:x:y", "name": "X", "attributes": [{"name": "picture", "type": "binary"},
            {"name": "home", "type": "reference"}, {"name": "pin", "mutability": "writeOnly"}]},
            {"name": "X", "endpoint": "/X", "schema": "urn:x:y"}]"#;
        let registry = load(&[("x.json", text)]).expect("valid");
        let leaf = |path| {
            registry
                .by_endpoint("X")
                .and_then(|x| x.resolve(path))
                .expect("there")
                .leaf()
                .clone()
        };
        assert!(leaf("picture").case_exact && leaf("home").case_exact);
        assert_eq!(leaf("pin").returned, Returned::Never);
    }
}
