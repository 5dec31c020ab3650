//! PATCH (RFC 7644 §3.5.2).

/// One operation in strict form.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchOperation {}
