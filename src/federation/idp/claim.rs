//! Finds claims by name or by JSON Pointer.

use serde_json::{Map, Value};

/// Finds a claim by name, or by JSON Pointer if the name begins with `/`.
pub(crate) fn lookup<'a>(claims: &'a Map<String, Value>, from: &str) -> Option<&'a Value> {
    let Some(pointer) = from.strip_prefix('/') else {
        return claims.get(from);
    };
    let (first, rest) = match pointer.split_once('/') {
        Some((first, _)) => (first, &pointer[first.len()..]),
        None => (pointer, ""),
    };
    claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
}

/// Whether the provider says that it left a claim out: a distributed claim (OpenID Connect Core §5.6.2), or Entra's
/// `hasgroups`.
pub(crate) fn is_left_out(claims: &Map<String, Value>, claim: &str) -> bool {
    let distributed = claims.get("_claim_names").and_then(Value::as_object);
    let has_groups = claims.get("hasgroups");
    distributed.is_some_and(|names| names.contains_key(claim))
        || has_groups.is_some_and(|flag| *flag == Value::Bool(true) || flag == "true")
}

/// Returns the top-level claim that a name or a JSON Pointer refers to.
pub(crate) fn top_level(from: &str) -> String {
    match from.strip_prefix('/') {
        Some(pointer) => pointer
            .split('/')
            .next()
            .unwrap_or_default()
            .replace("~1", "/")
            .replace("~0", "~"),
        None => from.to_owned(),
    }
}
