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
