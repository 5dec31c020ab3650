//! Query parameters and list responses (RFC 7644 §3.4.2, §3.9).

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};

use super::error::{ScimError, ScimErrorKind};
use crate::domain::StoreName;
use crate::domain::filter::{self, Filter};
use crate::domain::projection::Projection;
use crate::domain::query::Sort;
use crate::domain::resource::Resource;
use crate::domain::schema::ResourceType;

/// The number of resources on a page when the client sends no `count`.
pub(crate) const DEFAULT_PAGE: usize = 100;
/// The maximum number of resources on a page.
pub const LARGEST_PAGE: usize = 1000;

/// The parameters that SCIM defines; others are ignored.
#[derive(Clone, Debug, Default)]
pub struct ListParameters {
    attributes: Option<String>,
    excluded: Option<String>,
    filter: Option<String>,
    sort_by: Option<String>,
    descending: bool,
    start_index: Option<i64>,
    count: Option<i64>,
    cursor: Option<String>,
}

impl ListParameters {
    /// Reads a query string. Names are case-insensitive; empty parameters count as absent.
    pub fn parse(query: &str) -> Result<Self, ScimError> {
        let mut parameters = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.to_ascii_lowercase().as_str() {
                // An empty one asks for the first page (RFC 9865 §2).
                "cursor" => parameters.cursor = Some(value.into_owned()),
                _ if value.is_empty() => {}
                "attributes" => extend(&mut parameters.attributes, &value),
                "excludedattributes" => extend(&mut parameters.excluded, &value),
                "filter" => parameters.filter = Some(value.into_owned()),
                "sortby" => parameters.sort_by = Some(value.into_owned()),
                "sortorder" => parameters.descending = value.to_ascii_lowercase().starts_with("desc"),
                "startindex" => parameters.start_index = Some(number("startIndex", &value)?),
                "count" => parameters.count = Some(number("count", &value)?),
                _ => {}
            }
        }
        parameters.checked()
    }

    /// Reads a search request (RFC 7644 §3.4.3). Names are case-insensitive, null and empty strings count as absent,
    /// and lists may also be one comma-separated string; other members are ignored.
    pub fn of_search_request(body: &Value) -> Result<Self, ScimError> {
        let Value::Object(members) = body else {
            return Err(ScimErrorKind::InvalidSyntax.because("A search request is a JSON object."));
        };
        let mut parameters = Self::default();
        for (name, value) in members {
            let given = |name| text(name, value).map(|text| Some(text).filter(|text| !text.is_empty()));
            match name.to_ascii_lowercase().as_str() {
                "attributes" => parameters.attributes = given("attributes")?,
                "excludedattributes" => parameters.excluded = given("excludedAttributes")?,
                "filter" => parameters.filter = given("filter")?,
                "sortby" => parameters.sort_by = given("sortBy")?,
                "sortorder" => {
                    parameters.descending =
                        given("sortOrder")?.is_some_and(|order| order.to_ascii_lowercase().starts_with("desc"));
                }
                "startindex" => {
                    parameters.start_index = given("startIndex")?.map(|n| number("startIndex", &n)).transpose()?;
                }
                "count" => parameters.count = given("count")?.map(|n| number("count", &n)).transpose()?,
                "cursor" if !value.is_null() => parameters.cursor = Some(text("cursor", value)?),
                _ => {}
            }
        }
        parameters.checked()
    }

    fn checked(self) -> Result<Self, ScimError> {
        if self.cursor.is_some() && self.start_index.is_some() {
            return Err(ScimErrorKind::InvalidCursor.because("Send cursor or startIndex, not both."));
        }
        Ok(self)
    }

    /// Whether the client names the attributes that it wants.
    pub(crate) fn names_attributes(&self) -> bool {
        self.attributes.is_some()
    }

    /// The attributes to show.
    pub fn projection(&self, resource_type: &ResourceType) -> Projection {
        Projection::parse(resource_type, self.attributes.as_deref(), self.excluded.as_deref())
    }

    /// The filter, and the names of the tolerances that reading it needed.
    pub fn filter(&self, resource_type: &ResourceType) -> Result<(Option<Filter>, Vec<&'static str>), ScimError> {
        let Some(text) = &self.filter else {
            return Ok((None, Vec::new()));
        };
        let parsed = filter::parse_with_deviations(text, resource_type)?;
        Ok((Some(parsed.filter), parsed.deviations))
    }

    /// The order. An attribute that the type does not have is ignored.
    pub fn sort(&self, resource_type: &ResourceType) -> Result<Option<Sort>, ScimError> {
        let Some(name) = self.sort_by.as_deref().map(str::trim) else {
            return Ok(None);
        };
        if name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || matches!(c, '[' | ']' | '(' | ')' | '"' | ';'))
        {
            return Err(ScimErrorKind::InvalidPath
                .because("sortBy must be one attribute, such as userName or name.familyName."));
        }
        let by = resource_type
            .resolve(name)
            .filter(|by| by.leaf().returned != crate::domain::schema::Returned::Never);
        Ok(by.map(|by| Sort {
            by,
            descending: self.descending,
        }))
    }

    /// The maximum number of resources to return: `count` below 0 counts as 0 (RFC 7644 §3.4.2.4).
    pub fn count(&self) -> usize {
        let count = self.count.map_or(DEFAULT_PAGE, |count| {
            usize::try_from(count.max(0)).unwrap_or(LARGEST_PAGE)
        });
        count.min(LARGEST_PAGE)
    }

    /// The position of the page's first resource, counted from 1. Below 1 counts as 1.
    pub fn start_index(&self) -> usize {
        usize::try_from(self.start_index.unwrap_or(1).max(1)).unwrap_or(usize::MAX)
    }

    /// Whether the page is the first or follows a cursor, is at most of the default size and is unsorted.
    pub(crate) fn is_plain_page(&self) -> bool {
        self.sort_by.is_none() && self.count() <= DEFAULT_PAGE && self.start_index() == 1
    }

    /// The cursor, if paging is by cursor; an empty one stands for the first page.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The search that a cursor is bound to. The attributes that are shown and the size of a page may change between
    /// pages.
    pub fn search(&self) -> String {
        let order = if self.descending { "descending" } else { "ascending" };
        let text = |parameter: &Option<String>| parameter.clone().unwrap_or_default();
        json!([text(&self.filter), text(&self.sort_by), order]).to_string()
    }
}

/// Appends to a comma-separated list: some clients repeat the parameter for each name.
fn extend(names: &mut Option<String>, more: &str) {
    match names {
        Some(names) => *names = format!("{names},{more}"),
        None => *names = Some(more.to_owned()),
    }
}

/// Converts a member of a search request to the text of a query parameter.
fn text(name: &str, value: &Value) -> Result<String, ScimError> {
    let wrong = || ScimErrorKind::InvalidValue.because(format!("{name} has a value of the wrong type."));
    match (name, value) {
        (_, Value::Null) => Ok(String::new()),
        // A whole number may be written as `10.0`, and one out of range as `1e30`.
        ("startIndex" | "count", Value::Number(number)) => Ok(match number.as_f64() {
            Some(whole) if number.is_f64() && whole.fract() == 0.0 => format!("{whole:.0}"),
            _ => number.to_string(),
        }),
        ("attributes" | "excludedAttributes", Value::Array(names)) => {
            let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
            Ok(names.ok_or_else(wrong)?.join(","))
        }
        (_, Value::String(text)) => Ok(text.clone()),
        _ => Err(wrong()),
    }
}

fn number(name: &str, value: &str) -> Result<i64, ScimError> {
    let value = value.trim();
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ScimErrorKind::InvalidValue.because(format!("{name} must be a whole number.")));
    }
    // A number out of range is clamped.
    Ok(value
        .parse()
        .unwrap_or(if value.starts_with('-') { i64::MIN } else { i64::MAX }))
}

/// The metadata of a list response.
#[derive(Debug, Default)]
pub(crate) struct ListEnvelope {
    /// The number of all matching resources, if known.
    pub total: Option<usize>,
    /// The position of the first resource, if paging is by index.
    pub start_index: Option<usize>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
    /// The cursor of the previous page, if there is one.
    pub previous: Option<String>,
    /// The userstores that did not answer; their resources are missing.
    pub unavailable: BTreeSet<StoreName>,
}

/// The extension of a list response for missing userstores.
const WARNING: &str = "urn:vestibule:params:scim:api:messages:2.0:Warning";

/// Renders a list response; resources are rendered one after the other into one text.
pub(crate) fn render(
    frame: &ListEnvelope,
    resources: &[Resource],
    mut resource: impl FnMut(&Resource, &mut String),
) -> String {
    let size: usize = resources.iter().map(|one| one.document.text().len() + 512).sum();
    let mut out = String::with_capacity(size + 512);
    out.push_str("{\"schemas\":[\"urn:ietf:params:scim:api:messages:2.0:ListResponse\"");
    if frame.unavailable.is_empty() {
        out.push(']');
    } else {
        let warning = json!({
            "detail": "Userstores that do not answer are left out. Repeat the request later for the complete list.",
            "userstores": frame.unavailable,
        });
        let _ = write!(
            out,
            ",\"{WARNING}\"],\"{WARNING}\":{warning},\"meta\":{{\"incomplete\":true}}"
        );
    }
    for (name, number) in [("totalResults", frame.total), ("startIndex", frame.start_index)] {
        if let Some(number) = number {
            let _ = write!(out, ",\"{name}\":{number}");
        }
    }
    // Cursors have only letters, digits, "-" and "_", so they need no escapes.
    for (name, cursor) in [("nextCursor", &frame.next), ("previousCursor", &frame.previous)] {
        if let Some(cursor) = cursor {
            let _ = write!(out, ",\"{name}\":\"{cursor}\"");
        }
    }
    let _ = write!(out, ",\"itemsPerPage\":{},\"Resources\":[", resources.len());
    for (at, one) in resources.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        resource(one, &mut out);
    }
    out.push_str("]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the effective `startIndex` and `count`.
    fn page(query: &str) -> (usize, usize) {
        let parameters = ListParameters::parse(query).unwrap();
        (parameters.start_index(), parameters.count())
    }

    #[test]
    fn pages_are_clamped_to_valid_bounds() {
        assert_eq!(page(""), (1, 100));
        assert_eq!(page("startIndex=0&count=-5"), (1, 0));
        assert_eq!(page("STARTINDEX=-1&Count=99999999999999999999"), (1, 1000));
        assert_eq!(page("startIndex=11&count=10"), (11, 10));
    }

    #[test]
    fn a_count_that_is_no_number_is_an_invalid_value() {
        assert_eq!(
            ListParameters::parse("count=abc").unwrap_err().fault,
            ScimErrorKind::InvalidValue
        );
        assert_eq!(
            ListParameters::parse("startIndex=1;2").unwrap_err().fault,
            ScimErrorKind::InvalidValue
        );
    }

    #[test]
    fn empty_and_unknown_parameters_are_ignored() {
        assert_eq!(page("&filter=&aadOptscim062020&count="), (1, 100));
    }

    #[test]
    fn a_parameter_that_is_repeated_is_one_list() {
        let parameters = ListParameters::parse("attributes=userName&attributes=title").unwrap();
        assert_eq!(parameters.attributes.as_deref(), Some("userName,title"));
    }

    fn searched(body: &Value) -> Result<(usize, usize), ScimErrorKind> {
        ListParameters::of_search_request(body)
            .map(|parameters| (parameters.start_index(), parameters.count()))
            .map_err(|error| error.fault)
    }

    #[test]
    fn a_search_request_pages_like_a_query() {
        assert_eq!(searched(&json!({ "startIndex": 11, "count": 10 })), Ok((11, 10)));
        assert_eq!(
            searched(&json!({ "STARTINDEX": "0", "count": null, "other": {} })),
            Ok((1, 100))
        );
    }

    #[test]
    fn a_search_request_takes_whole_numbers_in_any_notation() {
        assert_eq!(searched(&json!({ "startIndex": 11.0, "count": 1e30 })), Ok((11, 1000)));
        assert_eq!(searched(&json!({ "count": 10.5 })), Err(ScimErrorKind::InvalidValue));
    }

    #[test]
    fn a_search_request_of_wrong_types_is_refused() {
        for body in [
            json!({ "filter": 5 }),
            json!({ "attributes": [1] }),
            json!({ "count": [10] }),
            json!({ "count": "ten" }),
            json!({ "sortBy": {} }),
            json!({ "cursor": 7 }),
        ] {
            assert_eq!(searched(&body), Err(ScimErrorKind::InvalidValue), "{body}");
        }
        assert_eq!(searched(&json!([])), Err(ScimErrorKind::InvalidSyntax));
    }
}
