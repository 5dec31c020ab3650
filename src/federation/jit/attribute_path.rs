//! Attribute paths that a claim may write: SCIM paths that name exactly one value.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::Attributes;
use crate::domain::patch::PatchOp;
use crate::domain::path::{self, Selector};
use crate::domain::schema::{DataType, Mutability, ResourceType};

/// One PATCH operation (RFC 7644 §3.5.2), with its path as text.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The operation.
    pub op: PatchOp,
    /// The path.
    pub path: String,
    /// The value.
    pub value: Option<Value>,
}

/// The place of one value that a login may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimTarget(path::AttributePath);

/// A SCIM path that names one value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WritablePath(String);

impl WritablePath {
    pub(crate) fn of(target: &ClaimTarget) -> Self {
        Self(target.path())
    }

    /// The path with names spelled as in the schema. None if a resource type has no such attribute.
    pub(crate) fn canonical(&self, resource_type: &ResourceType) -> Option<Self> {
        let path = path::AttributePath::parse(&self.0)?;
        let whole = path::AttributePath {
            selector: None,
            ..path.clone()
        };
        let found = resource_type.resolve(&whole.to_string())?;
        let selector = match path.selector {
            None => None,
            Some(selector) => Some(Selector {
                attribute: found.attribute.sub(&selector.attribute)?.name.clone(),
                ..selector
            }),
        };
        let canonical = path::AttributePath {
            extension: found.extension,
            attribute: found.attribute.name.clone(),
            selector,
            sub: found.sub.map(|sub| sub.name.clone()),
        };
        Some(Self(canonical.to_string()))
    }

    /// Checks that a claim can be written there: the path names one value of the schema, and not a whole attribute of
    /// several parts or one of several values. The error says what to do.
    pub(crate) fn check_target(&self, resource_type: &ResourceType) -> Result<(), String> {
        let Some(path) = path::AttributePath::parse(&self.0) else {
            return Ok(());
        };
        let is_selected = path.selector.is_some();
        let whole = path::AttributePath { selector: None, ..path };
        let Some(found) = resource_type.resolve(&whole.to_string()) else {
            return Ok(());
        };
        let (text, name) = (&self.0, &found.attribute.name);
        if found.attribute.multi_valued && !is_selected {
            return Err(match found.attribute.data_type {
                DataType::Complex => {
                    format!("{text} can have several values: say which one, such as {name}[type eq \"work\"].value")
                }
                _ => format!("{text} is a list, and a claim gives one value"),
            });
        }
        if found.leaf().data_type == DataType::Complex {
            let parts: Vec<&str> = found.leaf().sub_attributes.iter().map(|sub| &*sub.name).collect();
            return Err(format!("{text} has several parts: name one of {}", parts.join(", ")));
        }
        if found.leaf().mutability == Mutability::ReadOnly {
            return Err(format!("{text} is read-only"));
        }
        Ok(())
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<WritablePath> for String {
    fn from(path: WritablePath) -> Self {
        path.0
    }
}

impl TryFrom<String> for WritablePath {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        match ClaimTarget::parse(&path) {
            Some(target) => Ok(Self::of(&target)),
            None => Err(format!(
                "\"{path}\" is not the path of one value that a login may write"
            )),
        }
    }
}

/// Attributes that a login must never write: they decide about access, or the server maintains them.
const FORBIDDEN: [&str; 10] = [
    "id",
    "meta",
    "schemas",
    "externalId",
    "userName",
    "password",
    "active",
    "groups",
    "roles",
    "entitlements",
];

impl ClaimTarget {
    /// Reads a path of the configuration. None if it names no single value, or one that no login may write.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let path = path::AttributePath::parse(text)?;
        let is_same = |name: &&str| name.eq_ignore_ascii_case(&path.attribute);
        if path.extension.is_none() && FORBIDDEN.iter().any(is_same) {
            return None;
        }
        (path.selector.is_none() || path.sub.is_some()).then_some(Self(path))
    }

    /// Returns the present value.
    pub(crate) fn value<'a>(&self, attributes: &'a Attributes) -> Option<&'a Value> {
        let attribute = self.container(attributes)?.get(&self.0.attribute)?;
        let holder = if self.0.selector.is_some() {
            self.element(attribute)?
        } else {
            attribute
        };
        match &self.0.sub {
            Some(sub) => holder.get(sub),
            None => Some(holder),
        }
    }

    /// Returns the provenance key of the present value.
    pub(crate) fn writer_key(&self, attributes: &Attributes) -> Option<String> {
        let attribute = self.0.of_attribute().to_string();
        if self.0.selector.is_none() {
            return Some(
                self.0
                    .sub
                    .as_ref()
                    .map_or_else(|| attribute.clone(), |sub| format!("{attribute}.{sub}")),
            );
        }
        let element = self.element(self.container(attributes)?.get(&self.0.attribute)?)?;
        let key = element
            .get("value")
            .and_then(Value::as_str)
            .map_or_else(|| element.to_string(), str::to_owned);
        Some(format!("{attribute}[{key}]"))
    }

    /// Sets a value in the attributes of a new account.
    pub(crate) fn put(&self, attributes: &mut Attributes, value: Value) {
        let container = match &self.0.extension {
            Some(urn) => object(attributes.entry(urn.clone()).or_insert_with(|| Map::new().into())),
            None => attributes,
        };
        let place = container.entry(self.0.attribute.clone());
        match (&self.0.selector, &self.0.sub) {
            (Some(_), Some(sub)) => self.put_element(place.or_insert_with(|| Value::Array(Vec::new())), sub, value),
            (_, Some(sub)) => {
                object(place.or_insert_with(|| Map::new().into())).insert(sub.clone(), value);
            }
            (_, None) => {
                *place.or_insert(Value::Null) = value;
            }
        }
    }

    fn put_element(&self, list: &mut Value, sub: &str, value: Value) {
        let elements = array(list);
        if let Some(element) = elements.iter_mut().find(|element| self.selects(element)) {
            object(element).insert(sub.to_owned(), value);
        } else {
            let element = self.new_element(sub, value, elements);
            elements.push(element);
        }
    }

    /// Returns the PATCH operation (RFC 7644 §3.5.2) that sets the value.
    pub(crate) fn set_operation(&self, attributes: &Attributes, value: &Value) -> Edit {
        let present = self
            .container(attributes)
            .and_then(|container| container.get(&self.0.attribute));
        if let (Some(_), Some(sub)) = (&self.0.selector, &self.0.sub)
            && present.and_then(|list| self.element(list)).is_none()
        {
            let others = present.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let element = self.new_element(sub, value.clone(), others);
            return Edit {
                op: PatchOp::Add,
                path: self.0.of_attribute().to_string(),
                value: Some(Value::Array(vec![element])),
            };
        }
        Edit {
            op: PatchOp::Replace,
            path: self.path(),
            value: Some(value.clone()),
        }
    }

    /// Returns the PATCH operation that clears the value, or the whole element of a multi-valued attribute.
    pub(crate) fn clear_operation(&self) -> Edit {
        // Without a selector the path has no elements to take out, and its own value is cleared.
        let path = if self.0.selector.is_some() {
            self.0.of_elements()
        } else {
            self.0.clone()
        };
        Edit {
            op: PatchOp::Remove,
            path: path.to_string(),
            value: None,
        }
    }

    /// Returns a new element, which is primary if it is the only one.
    fn new_element(&self, sub: &str, value: Value, others: &[Value]) -> Value {
        let mut element = Map::new();
        element.insert(sub.to_owned(), value);
        if let Some(Selector {
            attribute: name,
            value: selected,
        }) = &self.0.selector
        {
            element.insert(name.clone(), selected.clone().into());
        }
        if others.is_empty() {
            element.insert("primary".to_owned(), true.into());
        }
        element.into()
    }

    /// Returns the path of the attribute or sub-attribute, without a selector of elements.
    pub(crate) fn attribute(&self) -> String {
        let whole = path::AttributePath {
            selector: None,
            ..self.0.clone()
        };
        whole.to_string()
    }

    /// Returns the path in its canonical spelling.
    pub(crate) fn path(&self) -> String {
        self.0.to_string()
    }

    fn container<'a>(&self, attributes: &'a Attributes) -> Option<&'a Map<String, Value>> {
        match &self.0.extension {
            Some(urn) => attributes.get(urn)?.as_object(),
            None => Some(attributes),
        }
    }

    fn element<'a>(&self, list: &'a Value) -> Option<&'a Value> {
        list.as_array()?.iter().find(|element| self.selects(element))
    }

    fn selects(&self, element: &Value) -> bool {
        self.0
            .selector
            .as_ref()
            .is_some_and(|Selector { attribute: name, value }| {
                element
                    .get(name)
                    .and_then(Value::as_str)
                    .is_some_and(|found| found.eq_ignore_ascii_case(value))
            })
    }
}

/// Returns the value as an object, replacing any other type by an empty object.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Map::new().into();
    }
    value.as_object_mut().expect("it was just made an object")
}

/// Returns the value as an array, replacing any other type by an empty array.
fn array(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut().expect("it was just made an array")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

    fn target(path: &str) -> ClaimTarget {
        ClaimTarget::parse(path).unwrap()
    }

    fn put(path: &str, value: Value) -> Value {
        let mut attributes = Attributes::new();
        target(path).put(&mut attributes, value);
        attributes.into()
    }

    #[test]
    fn every_kind_of_path_sets_its_value() {
        assert_eq!(put("displayName", json!("A")), json!({"displayName": "A"}));
        assert_eq!(put("name.givenName", json!("A")), json!({"name": {"givenName": "A"}}));
        assert_eq!(
            put("emails[type eq \"work\"].value", json!("a@b.c")),
            json!({"emails": [{"value": "a@b.c", "type": "work", "primary": true}]})
        );
        assert_eq!(
            put(&format!("{ENTERPRISE}:department"), json!("X")),
            json!({ENTERPRISE: {"department": "X"}})
        );
    }

    #[test]
    fn paths_that_name_no_single_value_are_refused() {
        for path in [
            "",
            ".",
            "a.",
            "emails[type eq \"work\"]",
            "emails[type ne \"w\"].value",
            "a b",
            "urn:x",
            "a[b eq \"\\\"\"].c",
        ] {
            assert_eq!(ClaimTarget::parse(path), None, "{path}");
        }
    }

    #[test]
    fn paths_that_decide_about_access_are_refused() {
        for path in [
            "active",
            "ACTIVE",
            "urn:ietf:params:scim:schemas:core:2.0:User:active",
            "userName",
            "password",
            "roles[type eq \"x\"].value",
            "groups",
            "meta.created",
        ] {
            assert_eq!(ClaimTarget::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_new_element_leaves_another_primary_alone() {
        let Value::Object(present) = json!({"emails": [{"value": "h@x.y", "type": "home", "primary": true}]}) else {
            panic!()
        };
        let operation = target("emails[type eq \"work\"].value").set_operation(&present, &json!("w@x.y"));
        assert_eq!(
            operation,
            Edit {
                op: PatchOp::Add,
                path: "emails".to_owned(),
                value: Some(json!([{"value": "w@x.y", "type": "work"}]))
            }
        );
    }

    #[test]
    fn an_element_that_is_there_is_changed_in_place() {
        let Value::Object(present) = json!({"emails": [{"value": "w@x.y", "type": "Work"}]}) else {
            panic!()
        };
        let target = target("emails[type eq \"work\"].value");
        assert_eq!(target.value(&present), Some(&json!("w@x.y")));
        assert_eq!(target.writer_key(&present).unwrap(), "emails[w@x.y]");
        let replace = Edit {
            op: PatchOp::Replace,
            path: "emails[type eq \"work\"].value".to_owned(),
            value: Some(json!("n@x.y")),
        };
        assert_eq!(target.set_operation(&present, &json!("n@x.y")), replace);
        assert_eq!(
            target.clear_operation(),
            Edit {
                op: PatchOp::Remove,
                path: "emails[type eq \"work\"]".to_owned(),
                value: None
            }
        );
    }
}
