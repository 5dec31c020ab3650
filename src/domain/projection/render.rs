//! Renders the text of a response. By default it is spliced from the stored document without parsing it.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::Projection;
use crate::domain::schema::ResourceType;
use crate::domain::{Attributes, Member, Membership, Resource, ResourceId};

/// Where groups are served, for the references in a user's `groups`.
const GROUPS: &str = "/Groups";

/// The address of a resource: `meta.location`, and the header `Location`. `base_url` has no slash at its end.
pub fn location(resource_type: &ResourceType, id: &ResourceId, base_url: &str) -> String {
    address(base_url, &resource_type.endpoint, id)
}

/// A whole resource as filters and responses see it: its document with `id`, `meta` and the relations that were read.
pub fn view(resource: &Resource, resource_type: &ResourceType, base_url: &str) -> Attributes {
    let mut document = resource.document.attributes();
    let mut whole = Attributes::new();
    whole.extend(document.shift_remove_entry("schemas"));
    whole.insert("id".to_owned(), resource.id.as_str().into());
    whole.append(&mut document);
    if has_members(resource_type) {
        whole.insert(
            "members".to_owned(),
            resource.members.iter().map(member_value).collect(),
        );
    }
    if !resource.groups.is_empty() {
        let groups = resource.groups.iter().map(|group| {
            json!({"value": group.id.as_str(), "$ref": address(base_url, GROUPS, &group.id), "display": group.display, "type": group.kind()})
        });
        whole.insert("groups".to_owned(), groups.collect());
    }
    whole.insert(
        "meta".to_owned(),
        json!({
            "resourceType": resource.kind.as_str(),
            "created": resource.created.to_string(),
            "lastModified": resource.modified.to_string(),
            "version": resource.version.to_string(),
            "location": location(resource_type, &resource.id, base_url),
        }),
    );
    whole
}

impl Projection {
    /// Appends the JSON text of a resource, as far as it is shown. Relations must have been read as
    /// [`Projection::relations`] asks; those that are not shown are left out even if they were read.
    pub(crate) fn render(&self, resource: &Resource, resource_type: &ResourceType, base_url: &str, out: &mut String) {
        match split_schemas(resource.document.text()) {
            Some((schemas, rest)) if self.whole_document => {
                out.push_str(schemas);
                out.push_str(",\"id\":");
                push_text(out, resource.id.as_str());
                out.push_str(rest);
                if self.relations.members {
                    push_members(out, &resource.members);
                }
                if self.relations.groups {
                    push_groups(out, &resource.groups, base_url);
                }
                push_meta(out, resource, resource_type, base_url);
                out.push('}');
            }
            _ => {
                let shown = self.shown(resource_type, view(resource, resource_type, base_url));
                out.push_str(&Value::Object(shown).to_string());
            }
        }
    }

    /// Removes the parts of a whole resource that are not shown.
    fn shown(&self, resource_type: &ResourceType, mut whole: Attributes) -> Attributes {
        for found in resource_type.attributes() {
            let name = &found.attribute.name;
            let place = match &found.extension {
                None => Some(&mut whole),
                Some(urn) => whole.get_mut(urn).and_then(Value::as_object_mut),
            };
            let Some(place) = place else { continue };
            if !self.shows(&found) {
                place.shift_remove(name);
                continue;
            }
            let keep = |part: &str| found.attribute.sub(part).is_none_or(|sub| self.shows_part(&found, sub));
            match place.get_mut(name) {
                Some(Value::Object(parts)) => parts.retain(|part, _| keep(part)),
                Some(Value::Array(elements)) => {
                    for parts in elements.iter_mut().filter_map(Value::as_object_mut) {
                        parts.retain(|part, _| keep(part));
                    }
                    elements.retain(|element| !is_empty_object(element));
                }
                _ => {}
            }
            if place.get(name).is_some_and(is_empty_object) {
                place.shift_remove(name);
            }
        }
        whole.retain(|_, value| !is_empty_object(value));
        whole
    }
}

/// Splits a document into the text up to the end of its `schemas` and the rest without the last brace.
fn split_schemas(text: &str) -> Option<(&str, &str)> {
    const START: &str = "{\"schemas\":[";
    let list = text.strip_prefix(START)?;
    let mut quoted = false;
    let end = list.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b']' && !quoted
    })?;
    // A URN needs no escape; a text with one in it is left to the parser.
    let (schemas, rest) = text.split_at(START.len() + end + 1);
    if schemas.contains('\\') {
        None
    } else {
        Some((schemas, rest.strip_suffix('}')?))
    }
}

fn has_members(resource_type: &ResourceType) -> bool {
    resource_type
        .schema
        .attributes
        .iter()
        .any(|attribute| attribute.name == "members")
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

fn member_value(member: &Member) -> Value {
    serde_json::from_str(&member.body).unwrap_or_else(|_| json!({"value": member.id.as_str()}))
}

fn push_members(out: &mut String, members: &[Member]) {
    out.push_str(",\"members\":[");
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&member.body);
    }
    out.push(']');
}

fn push_groups(out: &mut String, groups: &[Membership], base_url: &str) {
    for (index, group) in groups.iter().enumerate() {
        out.push_str(if index == 0 {
            ",\"groups\":[{\"value\":"
        } else {
            ",{\"value\":"
        });
        push_text(out, group.id.as_str());
        out.push_str(",\"$ref\":");
        push_address(out, base_url, GROUPS, &group.id);
        out.push_str(",\"display\":");
        push_text(out, &group.display);
        out.push_str(",\"type\":\"");
        out.push_str(group.kind());
        out.push_str("\"}");
    }
    if !groups.is_empty() {
        out.push(']');
    }
}

fn push_meta(out: &mut String, resource: &Resource, resource_type: &ResourceType, base_url: &str) {
    out.push_str(",\"meta\":{\"resourceType\":");
    push_text(out, resource.kind.as_str());
    // A timestamp needs no escapes, and a version only for its quotes. Writing to a `String` cannot fail.
    let _ = write!(
        out,
        ",\"created\":\"{}\",\"lastModified\":\"{}\",\"version\":\"",
        resource.created, resource.modified
    );
    let version = resource.version.to_string();
    for (at, part) in version.split('"').enumerate() {
        out.push_str(if at > 0 { "\\\"" } else { "" });
        out.push_str(part);
    }
    out.push_str("\",\"location\":");
    push_address(out, base_url, &resource_type.endpoint, &resource.id);
    out.push('}');
}

/// Appends a JSON string.
fn push_text(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

/// Whether a text needs no escapes in a JSON string. It reads every byte: without an early exit, many bytes are checked
/// at a time.
fn is_plain(text: &str) -> bool {
    let escaped = text.bytes().fold(0, |escaped, byte| {
        escaped | u8::from(byte < b' ') | u8::from(byte == b'"') | u8::from(byte == b'\\')
    });
    escaped == 0
}

fn address(base_url: &str, endpoint: &str, id: &ResourceId) -> String {
    let mut address = String::with_capacity(base_url.len() + endpoint.len() + 40);
    write_address(&mut address, base_url, endpoint, id);
    address
}

/// Appends an address as a JSON string.
fn push_address(out: &mut String, base_url: &str, endpoint: &str, id: &ResourceId) {
    let begin = out.len();
    out.push('"');
    write_address(out, base_url, endpoint, id);
    if is_plain(&out[begin + 1..]) {
        out.push('"');
    } else {
        let address = out.split_off(begin);
        push_text(out, &address[1..]);
    }
}

fn write_address(out: &mut String, base_url: &str, endpoint: &str, id: &ResourceId) {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    out.push_str(base_url);
    out.push_str(endpoint);
    out.push('/');
    let id = id.as_str();
    if id.bytes().all(is_unreserved) {
        out.push_str(id);
        return;
    }
    for byte in id.bytes() {
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
