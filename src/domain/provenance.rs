//! Who wrote each value.

use std::collections::BTreeMap;

/// Attribute path → writer, such as `name.givenName` → `idp:google`. An element of a multi-valued attribute has its own
/// path, `emails[alice@example.com]`, by its `value`, else by its whole JSON text.
pub type Writers = BTreeMap<String, String>;
