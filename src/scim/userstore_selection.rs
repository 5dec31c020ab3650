//! Selects the userstore of a new resource.

use serde_json::Value;

use super::{Caller, Scim, ScimError, ScimErrorKind};
use crate::domain::StoreName;

/// The prefix of the extension in which a client names the userstore of a new resource; `User` or `Group` follows.
const EXTENSION: &str = "urn:vestibule:params:scim:schemas:extension:2.0:";
/// Its attribute.
const ATTRIBUTE: &str = "userstore";

impl Scim {
    /// Removes the name of a userstore from a new resource and returns it: from its extension attribute, or from
    /// `STORE/` in front of `userName` where that is enabled. The default is the client's own store, or PRIMARY.
    pub(super) fn select_userstore(&self, caller: &Caller, body: &mut Value) -> Result<StoreName, ScimError> {
        let own = caller.client.store.clone().unwrap_or(StoreName::PRIMARY);
        let named = match named(body)? {
            None if self.userstore_in_username => self.prefix(body),
            named => named,
        };
        let Some(named) = named else { return Ok(own) };
        let reached = self.directory.reach(&caller.actor);
        let is_named = |store: &&StoreName| store.as_str().eq_ignore_ascii_case(&named);
        reached.iter().find(is_named).cloned().ok_or_else(|| {
            ScimErrorKind::InvalidValue.because(format!(
                "{ATTRIBUTE}: there is no userstore {named} that this client may write to."
            ))
        })
    }

    /// `CORP/alice` becomes `alice`, if there is a userstore CORP.
    fn prefix(&self, body: &mut Value) -> Option<String> {
        let name = body.get_mut("userName")?;
        let (store, rest) = name.as_str()?.split_once('/')?;
        let (store, rest) = (store.to_owned(), rest.to_owned());
        let mut stores = self.directory.store_names();
        stores.find(|known| known.as_str().eq_ignore_ascii_case(&store))?;
        *name = rest.into();
        Some(store)
    }
}

/// Removes the extension from a body and returns the name in it.
fn named(body: &mut Value) -> Result<Option<String>, ScimError> {
    let Value::Object(members) = body else { return Ok(None) };
    let is_ours = |key: &str| {
        key.get(..EXTENSION.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(EXTENSION))
    };
    let Some(key) = members.keys().find(|key| is_ours(key)).cloned() else {
        return Ok(None);
    };
    let wrong = || ScimErrorKind::InvalidValue.because(format!("{ATTRIBUTE} must be the name of a userstore."));
    let extension = members.remove(&key).ok_or_else(wrong)?;
    if let Some(Value::Array(schemas)) = members.get_mut("schemas") {
        schemas.retain(|schema| !schema.as_str().is_some_and(is_ours));
    }
    let Value::Object(mut extension) = extension else {
        return Err(wrong());
    };
    let name = extension
        .keys()
        .find(|key| key.eq_ignore_ascii_case(ATTRIBUTE))
        .cloned();
    match name.and_then(|name| extension.remove(&name)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name)),
        Some(_) => Err(wrong()),
    }
}
