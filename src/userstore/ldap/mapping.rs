//! The mapping between SCIM attributes and LDAP attributes, in both directions (pure functions).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::entry::Entry;
use super::flavour::{ASCII, DisableRule, Flavour};
use super::settings::LdapSettings;
use crate::domain::path::AttributePath;
use crate::domain::schema::AttributeRef;
use crate::domain::schema::{DataType, ResourceType};
use crate::domain::{Attributes, Kind};

/// The values that an entry should have, by LDAP attribute.
pub(super) type Values = BTreeMap<String, BTreeSet<String>>;

/// The mapping of one resource type to entries.
pub(super) struct Mapping {
    pub(super) kind: Kind,
    pub(super) flavour: Flavour,
    pub(super) object_classes: Vec<String>,
    /// The naming attribute of entries.
    pub(super) rdn: String,
    /// The way in which users are disabled; none if the directory has no such attribute.
    pub(super) switch: Option<DisableRule>,
    rules: Vec<Rule>,
}

/// One SCIM attribute and the LDAP attribute that holds it.
struct Rule {
    reference: AttributeRef,
    /// For a multi-valued attribute, only the elements of this type.
    of_type: Option<String>,
    ldap: String,
    /// Whether it holds at most one value. For a multi-valued attribute that is the primary one, else the first.
    single: bool,
    /// The maximum length in characters.
    longest: usize,
}

impl Mapping {
    /// Creates the mapping of users.
    pub(super) fn users(settings: &LdapSettings, resource_type: &ResourceType) -> Result<Self, String> {
        let flavour = settings.flavour;
        let classes = settings.user_object_classes.clone();
        let rdn = settings.user_rdn.clone();
        Ok(Self {
            kind: Kind::USER,
            flavour,
            object_classes: classes.unwrap_or_else(|| owned(flavour.user_object_classes())),
            rdn: rdn.unwrap_or_else(|| flavour.user_rdn().to_owned()),
            switch: Some(flavour.switch()),
            rules: rules(
                (flavour, resource_type),
                &flavour.user_attributes(),
                &settings.user_attributes,
            )?,
        })
    }

    /// Creates the mapping of groups.
    pub(super) fn groups(settings: &LdapSettings, resource_type: &ResourceType) -> Result<Self, String> {
        let flavour = settings.flavour;
        let classes = settings.group_object_classes.clone();
        Ok(Self {
            kind: Kind::GROUP,
            flavour,
            object_classes: classes.unwrap_or_else(|| owned(flavour.group_object_classes())),
            rdn: "cn".to_owned(),
            switch: None,
            rules: rules(
                (flavour, resource_type),
                &flavour.group_attributes(),
                &settings.group_attributes,
            )?,
        })
    }

    /// The object class that distinguishes these entries from others.
    pub(super) fn object_class(&self) -> &str {
        self.object_classes.last().map_or("top", String::as_str)
    }

    /// Returns every LDAP attribute that the mapping reads or writes.
    pub(super) fn attributes(&self) -> BTreeSet<String> {
        let switch = self.switch.map(|switch| match switch {
            DisableRule::Value(attribute, _) | DisableRule::Bit(attribute, _) => attribute.to_owned(),
        });
        let rules = self.rules.iter().map(|rule| rule.ldap.clone());
        rules.chain(switch).chain([self.rdn.clone()]).collect()
    }

    /// Returns the LDAP attributes of a SCIM attribute: several if each holds elements of one type.
    pub(super) fn ldap_of(&self, reference: &AttributeRef) -> impl Iterator<Item = &str> {
        let holds = move |rule: &&Rule| {
            rule.reference.extension == reference.extension
                && rule.reference.attribute.name == reference.attribute.name
                && (rule.reference.attribute.multi_valued || rule.reference.sub == reference.sub)
        };
        self.rules.iter().filter(holds).map(|rule| rule.ldap.as_str())
    }

    /// Returns the values that an entry should have for these attributes.
    pub(super) fn render(&self, attributes: &Attributes) -> Values {
        let mut values = Values::new();
        for rule in &self.rules {
            let rendered = rule.values(attributes).into_iter().filter(|value| rule.holds(value));
            values.entry(rule.ldap.clone()).or_default().extend(rendered);
        }
        self.fill(attributes, &mut values);
        values.retain(|_, values| !values.is_empty());
        values
    }

    /// Adds values that the object classes require and the resource may lack.
    fn fill(&self, attributes: &Attributes, values: &mut Values) {
        let plain = |text: &'_ str| (!text.contains('\0')).then(|| text.trim().to_owned());
        let name = |path: &str| attributes.get(path).and_then(Value::as_str).and_then(plain);
        let part = |part: &str| attributes.get("name")?.get(part)?.as_str().and_then(plain);
        let called = || {
            let full = [part("givenName"), part("familyName")];
            let full = full.into_iter().flatten().collect::<Vec<_>>().join(" ");
            [part("formatted"), name("displayName"), Some(full), name("userName")]
                .into_iter()
                .flatten()
                .find(|text| !text.is_empty())
        };
        if self.kind == Kind::USER && self.flavour != Flavour::ActiveDirectory {
            for needed in ["cn", "sn"] {
                let present = values.entry(needed.to_owned()).or_default();
                if present.is_empty() {
                    let value = if needed == "sn" { name("userName") } else { called() };
                    present.extend(value);
                }
            }
        }
        let own = values.entry(self.rdn.clone()).or_default();
        if own.is_empty() {
            let key = if self.kind == Kind::USER {
                "userName"
            } else {
                "displayName"
            };
            own.extend(name(key));
        }
    }

    /// Returns the path of the first attribute that no LDAP attribute holds.
    pub(super) fn unmapped_attribute(&self, resource_type: &ResourceType, attributes: &Attributes) -> Option<String> {
        const OURS: [&str; 8] = [
            "schemas",
            "id",
            "externalId",
            "meta",
            "active",
            "members",
            "groups",
            "password",
        ];
        for found in resource_type.attributes() {
            let holder = match &found.extension {
                None => Some(attributes),
                Some(urn) => attributes.get(urn).and_then(Value::as_object),
            };
            let Some(value) = holder.and_then(|holder| holder.get(&found.attribute.name)) else {
                continue;
            };
            if OURS.contains(&found.attribute.name.as_str()) {
                continue;
            }
            let parts: Vec<Option<Arc<_>>> = match value {
                Value::Object(parts) => parts.keys().map(|name| found.attribute.sub(name).cloned()).collect(),
                _ => vec![None],
            };
            for sub in parts {
                let reference = AttributeRef { sub, ..found.clone() };
                if self.ldap_of(&reference).next().is_none() {
                    return Some(reference.path());
                }
            }
        }
        None
    }

    /// Returns the resource's attributes after its entry was changed in the directory. Only the differences from what
    /// this mapping would write for `before` are applied, so that values without an LDAP attribute are kept. `None` if
    /// the entry lacks the name that every resource must have.
    pub(super) fn merge_entry(&self, before: &Attributes, entry: &Entry) -> Option<Attributes> {
        let expected = self.render(before);
        let mut after = before.clone();
        let leaf = entry.dn.leaf();
        for rule in &self.rules {
            let present: BTreeSet<&str> = entry.values(&rule.ldap).iter().map(String::as_str).collect();
            let wanted: BTreeSet<&str> = expected
                .get(&rule.ldap)
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect();
            if present != wanted {
                let named = leaf
                    .as_ref()
                    .filter(|(attribute, _)| attribute.eq_ignore_ascii_case(&rule.ldap));
                rule.take(&mut after, &present, named.map(|(_, value)| value.as_str()));
            }
        }
        if let Some(switch) = self.switch {
            let (off, was_off) = (is_off(switch, entry), before.get("active") == Some(&Value::Bool(false)));
            if off != was_off || before.is_empty() {
                after.insert("active".to_owned(), Value::Bool(!off));
            }
        }
        let name = if self.kind == Kind::USER {
            "userName"
        } else {
            "displayName"
        };
        after
            .get(name)
            .and_then(Value::as_str)
            .is_some_and(|name| !name.is_empty())
            .then_some(after)
    }
}

/// Whether an account is disabled.
pub(super) fn is_off(switch: DisableRule, entry: &Entry) -> bool {
    match switch {
        DisableRule::Value(attribute, off) => entry
            .values(attribute)
            .iter()
            .any(|value| value.eq_ignore_ascii_case(off)),
        DisableRule::Bit(attribute, bit) => entry.number(attribute) & bit != 0,
    }
}

impl Rule {
    fn holder<'a>(&self, attributes: &'a Attributes) -> Option<&'a Attributes> {
        match &self.reference.extension {
            Some(urn) => attributes.get(urn)?.as_object(),
            None => Some(attributes),
        }
    }

    /// Whether the LDAP attribute can hold the value.
    fn holds(&self, value: &str) -> bool {
        let ascii = ASCII.iter().any(|attribute| attribute.eq_ignore_ascii_case(&self.ldap));
        let fits = self.longest == usize::MAX || value.chars().count() <= self.longest;
        !value.trim().is_empty() && !value.contains('\0') && (!ascii || value.is_ascii()) && fits
    }

    fn is_of_type(&self, element: &Value) -> bool {
        let of_type = element.get("type").and_then(Value::as_str);
        self.of_type
            .as_ref()
            .is_none_or(|wanted| of_type.is_some_and(|of_type| of_type.eq_ignore_ascii_case(wanted)))
    }

    fn values(&self, attributes: &Attributes) -> Vec<String> {
        let value = self
            .holder(attributes)
            .and_then(|holder| holder.get(&self.reference.attribute.name));
        match value {
            Some(Value::Array(elements)) if self.single => {
                let shown = self.shown(elements).map(|at| &elements[at]);
                shown.and_then(value_of).into_iter().collect()
            }
            Some(Value::Array(elements)) => elements
                .iter()
                .filter(|element| self.is_of_type(element))
                .filter_map(value_of)
                .collect(),
            Some(value) => {
                let part = self
                    .reference
                    .sub
                    .as_ref()
                    .map_or(Some(value), |sub| value.get(&sub.name));
                part.and_then(text).into_iter().collect()
            }
            None => Vec::new(),
        }
    }

    /// Returns the index of the element that a single-valued LDAP attribute holds.
    fn shown(&self, elements: &[Value]) -> Option<usize> {
        let can_be =
            |element: &Value| self.is_of_type(element) && value_of(element).is_some_and(|value| self.holds(&value));
        let primary = |element: &Value| can_be(element) && element.get("primary") == Some(&Value::Bool(true));
        elements
            .iter()
            .position(primary)
            .or_else(|| elements.iter().position(can_be))
    }

    /// Applies the values of an entry. If a single-valued attribute has several, the current one stays, else the one in
    /// the DN is used.
    fn take(&self, attributes: &mut Attributes, present: &BTreeSet<&str>, named: Option<&str>) {
        let definition = &self.reference.attribute;
        let current = self.values(attributes);
        let holder = match &self.reference.extension {
            Some(urn) => {
                let extension = attributes.entry(urn.clone()).or_insert_with(|| json!({}));
                extension.as_object_mut()
            }
            None => Some(&mut *attributes),
        };
        let Some(holder) = holder else { return };
        if definition.multi_valued {
            self.take_elements(holder, present);
        } else if !current.iter().any(|value| present.contains(value.as_str())) {
            let value = named
                .filter(|value| present.contains(value))
                .or(present.first().copied());
            let leaf = self.reference.leaf();
            let value = value.and_then(|value| typed(leaf.data_type, value));
            match (&self.reference.sub, value) {
                (None, Some(value)) => drop(holder.insert(definition.name.clone(), value)),
                (None, None) => drop(holder.remove(&definition.name)),
                (Some(sub), value) => {
                    let parts = holder.entry(definition.name.clone()).or_insert_with(|| json!({}));
                    if let Some(parts) = parts.as_object_mut() {
                        match value {
                            Some(value) => drop(parts.insert(sub.name.clone(), value)),
                            None => drop(parts.remove(&sub.name)),
                        }
                    }
                    if holder[&definition.name]
                        .as_object()
                        .is_some_and(serde_json::Map::is_empty)
                    {
                        holder.remove(&definition.name);
                    }
                }
            }
        }
        if let Some(urn) = &self.reference.extension
            && attributes
                .get(urn)
                .and_then(Value::as_object)
                .is_some_and(serde_json::Map::is_empty)
        {
            attributes.remove(urn);
        }
    }

    fn take_elements(&self, holder: &mut Attributes, present: &BTreeSet<&str>) {
        let name = &self.reference.attribute.name;
        let mut elements = match holder.remove(name) {
            Some(Value::Array(elements)) => elements,
            _ => Vec::new(),
        };
        if self.single {
            let stale = self
                .shown(&elements)
                .filter(|at| value_of(&elements[*at]).is_none_or(|value| !present.contains(value.as_str())));
            if let Some(at) = stale {
                elements.remove(at);
            }
        } else {
            elements.retain(|element| {
                let value = value_of(element).filter(|value| self.holds(value));
                !self.is_of_type(element) || value.is_none_or(|value| present.contains(value.as_str()))
            });
        }
        let kept: BTreeSet<String> = elements
            .iter()
            .filter(|element| self.is_of_type(element))
            .filter_map(value_of)
            .collect();
        let of_type = self.of_type.as_deref().unwrap_or("work");
        for value in present.iter().filter(|value| !kept.contains(**value)) {
            elements.push(json!({ "value": value, "type": of_type }));
        }
        if !elements.is_empty() {
            holder.insert(name.clone(), Value::Array(elements));
        }
    }
}

/// The value of an element of a list.
fn value_of(element: &Value) -> Option<String> {
    text(element.get("value").unwrap_or(element))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(if *flag { "TRUE" } else { "FALSE" }.to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn typed(data_type: DataType, value: &str) -> Option<Value> {
    match data_type {
        DataType::Boolean => Some(Value::Bool(value.eq_ignore_ascii_case("TRUE"))),
        DataType::Integer => value.parse::<i64>().ok().map(Value::from),
        DataType::Decimal => value.parse::<f64>().ok().map(Value::from),
        _ => Some(Value::String(value.to_owned())),
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The flavour's rules, overridden by the configured ones.
fn rules(
    (flavour, resource_type): (Flavour, &ResourceType),
    preset: &[(&str, &str)],
    configured: &BTreeMap<String, String>,
) -> Result<Vec<Rule>, String> {
    let configured = configured.iter().map(|(path, ldap)| (path.as_str(), ldap.as_str()));
    let mut rules: Vec<Rule> = Vec::new();
    for (path, ldap) in preset.iter().copied().chain(configured) {
        let rule = Rule::read((flavour, resource_type), path, ldap)?;
        rules.retain(|other| other.reference != rule.reference || other.of_type != rule.of_type);
        if ldap.is_empty() {
            continue;
        }
        if !ldap
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';'))
        {
            return Err(format!("{ldap} is not a valid LDAP attribute name"));
        }
        if let Some(other) = rules.iter().find(|other| other.ldap.eq_ignore_ascii_case(ldap)) {
            return Err(format!(
                "{ldap} is already mapped to {}; it cannot also hold {path}",
                other.reference.path()
            ));
        }
        rules.push(rule);
    }
    Ok(rules)
}

impl Rule {
    /// Parses `title`, `emails`, `emails.value` or `emails[type eq "work"].value`.
    fn read((flavour, resource_type): (Flavour, &ResourceType), path: &str, ldap: &str) -> Result<Self, String> {
        let unknown = || format!("{path} is not an attribute that a directory can hold");
        let read = AttributePath::parse(path).ok_or_else(unknown)?;
        let of_type = match &read.selector {
            None => None,
            Some(selector) if selector.attribute.eq_ignore_ascii_case("type") => Some(selector.value.clone()),
            Some(_) => return Err(unknown()),
        };
        let plain = AttributePath { selector: None, ..read };
        let mut reference = resource_type.resolve(&plain.to_string()).ok_or_else(unknown)?;
        let multi_valued = reference.attribute.multi_valued;
        if multi_valued && reference.sub.as_ref().is_none_or(|sub| sub.name == "value") {
            reference.sub = None;
        }
        let is_complex = !multi_valued && reference.leaf().data_type == DataType::Complex;
        let has_records = ["schemas", "id", "meta", "active", "members", "groups", "password"];
        let served_elsewhere = has_records.contains(&reference.attribute.name.as_str());
        if is_complex
            || served_elsewhere
            || (multi_valued && reference.sub.is_some())
            || (of_type.is_some() && !multi_valued)
        {
            return Err(unknown());
        }
        Ok(Self {
            reference,
            of_type,
            ldap: ldap.to_owned(),
            single: flavour.is_single_valued(ldap),
            longest: flavour.longest(ldap),
        })
    }
}
