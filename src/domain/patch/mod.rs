//! PATCH (RFC 7644 §3.5.2): operations in strict form and how they apply to a resource.

mod apply;
mod list;
mod members;

use std::fmt;

use serde_json::Value;

use super::path::Path;

pub use apply::apply;

pub(crate) use apply::makes_elements;
pub use members::MemberStep;
pub(crate) use members::{as_members, members_only};

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchOp {
    /// Adds values, or sets a single one.
    Add,
    /// Replaces values.
    Replace,
    /// Removes values.
    Remove,
}

/// One operation in strict form.
///
/// Its value has the shape of what the path names. A list attribute takes an array (empty: no elements); a
/// single-valued one its value, or null to unassign it; a complex value is an object of the parts to set, in which null
/// unsets one. A `Remove` with an array takes away the listed elements only.
#[derive(Clone, PartialEq)]
pub struct PatchOperation {
    /// The kind of operation.
    pub op: PatchOp,
    /// The path; without one the value is an object of attributes by canonical name, extensions under their URN.
    pub path: Option<Path>,
    /// The value.
    pub value: Option<Value>,
}

impl PatchOperation {
    /// Adds `value` at `path`.
    pub fn add(path: Path, value: Value) -> Self {
        Self {
            op: PatchOp::Add,
            path: Some(path),
            value: Some(value),
        }
    }

    /// Sets `value` at `path`.
    pub fn replace(path: Path, value: Value) -> Self {
        Self {
            op: PatchOp::Replace,
            path: Some(path),
            value: Some(value),
        }
    }

    /// Removes the value at `path`.
    pub fn remove(path: Path) -> Self {
        Self {
            op: PatchOp::Remove,
            path: Some(path),
            value: None,
        }
    }
}

impl fmt::Debug for PatchOperation {
    /// Omits the value, which may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.as_ref().map(|path| path.attribute.path());
        f.debug_struct("PatchOperation")
            .field("op", &self.op)
            .field("path", &path)
            .finish_non_exhaustive()
    }
}

/// Whether an operation is about this core attribute. If one is about `password` and the result has none, the password
/// is to be cleared.
pub(crate) fn touches(operations: &[PatchOperation], attribute: &str) -> bool {
    operations.iter().any(|operation| match &operation.path {
        Some(path) => path.attribute.extension.is_none() && path.attribute.attribute.name == attribute,
        None => operation
            .value
            .as_ref()
            .is_some_and(|value| value.get(attribute).is_some()),
    })
}

#[cfg(test)]
mod tests;
