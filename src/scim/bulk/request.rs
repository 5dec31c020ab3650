//! Parses bulk requests.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::references::{self, REFERENCE};
use super::{MOST_OPERATIONS, too_large};
use crate::scim::normalise::rule;
use crate::scim::{ScimError, ScimErrorKind};

/// A well-formed bulk request.
pub(super) struct BulkRequest {
    /// The operations in the client's order.
    pub(super) operations: Vec<BulkOperation>,
    /// The number of errors after which to stop.
    pub(super) fail_on_errors: Option<usize>,
    /// The tolerances that reading it needed.
    pub(super) deviations: Vec<&'static str>,
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct BulkOperation {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) bulk_id: Option<String>,
    pub(super) version: Option<String>,
    pub(super) data: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    const ALL: [(&'static str, Self); 4] = [
        ("POST", Self::Post),
        ("PUT", Self::Put),
        ("PATCH", Self::Patch),
        ("DELETE", Self::Delete),
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// The status of success.
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Post => "201",
            Self::Put | Self::Patch => "200",
            Self::Delete => "204",
        }
    }
}

impl BulkRequest {
    pub(super) fn read(body: Value) -> Result<Self, ScimError> {
        let Value::Object(mut body) = body else {
            return Err(
                ScimErrorKind::InvalidSyntax.because("A bulk request is a JSON object with a list of Operations.")
            );
        };
        let mut deviations = Vec::new();
        if !body.contains_key("schemas") {
            deviations.push(rule::SCHEMAS);
        }
        let Some(Value::Array(list)) = take(&mut body, "Operations", &mut deviations) else {
            return Err(ScimErrorKind::InvalidSyntax.because("A bulk request needs a list of Operations."));
        };
        if list.len() > MOST_OPERATIONS {
            return Err(too_large());
        }
        let fail_on_errors = match take(&mut body, "failOnErrors", &mut deviations) {
            None | Some(Value::Null) => None,
            Some(number) => Some(
                whole(&number)
                    .ok_or_else(|| ScimErrorKind::InvalidValue.because("failOnErrors must be a whole number."))?,
            ),
        };
        let mut operations = Vec::with_capacity(list.len());
        for (at, one) in list.into_iter().enumerate() {
            let operation = BulkOperation::read(one, &mut deviations);
            operations.push(
                operation.map_err(|what| ScimErrorKind::InvalidSyntax.because(format!("Operations[{at}] {what}.")))?,
            );
        }
        deviations.sort_unstable();
        deviations.dedup();
        Ok(Self {
            operations,
            // 0 would stop before the first operation; clients that send it mean that there is no limit.
            fail_on_errors: fail_on_errors
                .filter(|most| *most > 0)
                .and_then(|most| usize::try_from(most).ok()),
            deviations,
        })
    }

    /// Returns the bulkIds of the POST operations, each with the indexes of its operations.
    pub(super) fn defined(&self) -> HashMap<String, Vec<usize>> {
        let mut defined: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, operation) in self.operations.iter().enumerate() {
            if let (Method::Post, Some(bulk_id)) = (operation.method, &operation.bulk_id) {
                defined.entry(bulk_id.clone()).or_default().push(at);
            }
        }
        defined
    }
}

impl BulkOperation {
    /// Reads one operation, or returns the problem.
    fn read(value: Value, deviations: &mut Vec<&'static str>) -> Result<Self, &'static str> {
        let Value::Object(mut members) = value else {
            return Err("must be an object");
        };
        let mut text = |name: &str| match take(&mut members, name, deviations) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err("has a method, path, bulkId or version that is not a string"),
        };
        let name = text("method")?.ok_or("needs a method")?;
        let path = text("path")?.ok_or("needs a path")?;
        let (bulk_id, version) = (text("bulkId")?, text("version")?);
        let method = Method::ALL
            .iter()
            .find(|(method, _)| method.eq_ignore_ascii_case(&name));
        let (spelling, method) = *method.ok_or("must have the method POST, PUT, PATCH or DELETE")?;
        if spelling != name || !path.starts_with('/') {
            deviations.push(rule::BULK_SPELLING);
        }
        if method == Method::Post && bulk_id.as_deref().unwrap_or_default().is_empty() {
            return Err("needs a bulkId, since it is a POST");
        }
        let data = take(&mut members, "data", deviations).unwrap_or_default();
        if method != Method::Delete && data.is_null() {
            return Err("needs data");
        }
        Ok(Self {
            method,
            path,
            bulk_id,
            version,
            data,
        })
    }

    /// The names that it refers to.
    pub(super) fn references(&self) -> HashSet<String> {
        let mut names = HashSet::new();
        // The data of a DELETE is ignored.
        if self.method != Method::Delete {
            references::collect(&self.data, &mut names);
        }
        if let Some((_, name)) = self.path.rsplit_once(REFERENCE) {
            names.insert(name.to_owned());
        }
        names
    }
}

/// A whole number, also if it is written as `3.0`, which prints as `3`.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64()?.to_string().parse().ok())
}

/// A member by its name, in any case.
fn take(members: &mut Map<String, Value>, name: &str, deviations: &mut Vec<&'static str>) -> Option<Value> {
    let key = members.keys().rev().find(|key| key.eq_ignore_ascii_case(name))?.clone();
    if key != name {
        deviations.push(rule::BULK_SPELLING);
    }
    members.remove(&key)
}
