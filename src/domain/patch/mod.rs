//! PATCH (RFC 7644 §3.5.2): operations in strict form, and what they do to a resource.

mod apply;
mod list;
mod members;

use std::fmt;

use serde_json::Value;

use super::path::Path;

pub use apply::{apply, makes_elements};
pub use members::{MemberStep, as_members, members_only};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchOp {
    /// Adds values, or sets a single one.
    Add,
    /// Puts values in place of others.
    Replace,
    /// Takes values away.
    Remove,
}

/// One operation in strict form.
///
/// Its value has the shape of what the path names. A list attribute takes an array (empty: no elements); a
/// single-valued one its value, or null to unassign it; a complex value is an object of the parts to set, in which null
/// unsets one. A `Remove` with an array takes away the listed elements only.
#[derive(Clone, PartialEq)]
pub struct PatchOperation {
    /// What to do.
    pub op: PatchOp,
    /// Where; without one the value is an object of attributes by canonical name, extensions under their URN.
    pub path: Option<Path>,
    /// With what.
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

    /// Puts `value` at `path`.
    pub fn replace(path: Path, value: Value) -> Self {
        Self {
            op: PatchOp::Replace,
            path: Some(path),
            value: Some(value),
        }
    }

    /// Removes what is at `path`.
    pub fn remove(path: Path) -> Self {
        Self {
            op: PatchOp::Remove,
            path: Some(path),
            value: None,
        }
    }
}

impl fmt::Debug for PatchOperation {
    /// Leaves the value out: it may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.as_ref().map(|path| path.attribute.path());
        f.debug_struct("PatchOperation")
            .field("op", &self.op)
            .field("path", &path)
            .finish_non_exhaustive()
    }
}

/// Whether some operation is about this core attribute. If one is about `password` and the result has none, it is to be
/// cleared.
pub fn touches(operations: &[PatchOperation], attribute: &str) -> bool {
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
