//! Plans the operations that change an entry, and executes them.

use serde_json::Value;

use super::connection::LdapFailure;
use super::entry::Entry;
use super::filter::LdapFilter;
use super::flavour::{DisableRule, Flavour, NORMAL_ACCOUNT, PASSWORD_NOT_REQUIRED};
use super::name::rdn;
use super::server_info::ServerInfo;
use super::session::{Delta, LdapSession, unicode_password};
use super::{Dn, LdapUserstore, deltas};
use crate::domain::{Kind, Resource, ResourceId};
use crate::userstore::{Draft, PasswordChange, StoreError, Write, WriteAction, WriteResult};

/// The operations in the directory, in this order: those most likely to be refused come first, and if a later one is
/// refused, the earlier ones are undone. A password cannot be undone, so it comes last.
pub(super) struct Plan {
    pub(super) deltas: Vec<Delta>,
    pub(super) rename: Option<Rename>,
    pub(super) password: Option<PasswordChange>,
}

pub(super) struct Rename {
    to: String,
    back: String,
    pub(super) dn: Dn,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.deltas.is_empty() && self.rename.is_none() && self.password.is_none()
    }
}

/// Attributes and their values, as a new entry is sent.
pub(super) type NewEntry = Vec<(String, Vec<Vec<u8>>)>;

impl LdapUserstore {
    /// Returns the attributes of a new entry.
    pub(super) fn new_entry(
        &self,
        server_info: &ServerInfo,
        kind: &Kind,
        draft: &Draft,
        trial: Option<&WriteResult>,
    ) -> Result<NewEntry, StoreError> {
        let mapping = server_info.mapping(kind);
        let rendered = mapping.render(&draft.attributes);
        let mut attributes: NewEntry = rendered
            .iter()
            .map(|(name, values)| (name.clone(), deltas::bytes(values.iter())))
            .collect();
        attributes.push(("objectClass".to_owned(), deltas::bytes(mapping.object_classes.iter())));
        let off = draft.attributes.get("active") == Some(&Value::Bool(false));
        match mapping.switch {
            Some(DisableRule::Value(attribute, value)) if off => {
                attributes.push((attribute.to_owned(), vec![value.as_bytes().to_vec()]));
            }
            Some(DisableRule::Bit(attribute, bit)) => {
                let password = matches!(draft.password, Some(PasswordChange::Set(_)));
                let control =
                    NORMAL_ACCOUNT | if off { bit } else { 0 } | if password { 0 } else { PASSWORD_NOT_REQUIRED };
                attributes.push((attribute.to_owned(), vec![control.to_string().into_bytes()]));
            }
            _ => {}
        }
        if self.settings.flavour == Flavour::ActiveDirectory
            && let Some(PasswordChange::Set(password)) = &draft.password
            && let Delta::Replace(name, values) = unicode_password(password.expose())
        {
            attributes.push((name, values));
        }
        if *kind == Kind::GROUP {
            let joined: Vec<&ResourceId> = trial.iter().flat_map(|written| &written.members.joined).collect();
            let mut members: Vec<String> = self.entries_of(&joined)?.into_iter().map(|entry| entry.dn).collect();
            if members.is_empty() && self.settings.flavour.groups_need_a_member() {
                members.push(self.settings.group_base.as_str().to_owned());
            }
            if !members.is_empty() {
                attributes.push((super::groups::MEMBER.to_owned(), deltas::bytes(members.iter())));
            }
        }
        Ok(attributes)
    }

    /// Returns the operations of a write on an entry, apart from members.
    pub(super) fn plan(
        &self,
        server_info: &ServerInfo,
        write: &Write,
        before: &Resource,
        entry: &Entry,
    ) -> Result<Plan, StoreError> {
        let WriteAction::Replace { draft, .. } = &write.action else {
            return Ok(Plan {
                deltas: Vec::new(),
                rename: None,
                password: None,
            });
        };
        self.check_mapped(server_info, &write.kind, &draft.attributes)?;
        let mapping = server_info.mapping(&write.kind);
        let (old, new) = (
            mapping.render(&before.document.attributes()),
            mapping.render(&draft.attributes),
        );
        let leaf = entry
            .dn
            .leaf()
            .filter(|(attribute, _)| attribute.eq_ignore_ascii_case(&mapping.rdn));
        let (was, is) = (
            old.get(&mapping.rdn),
            new.get(&mapping.rdn).and_then(|values| values.first()),
        );
        let rename = match (leaf, is) {
            (Some((_, value)), Some(to)) if was != new.get(&mapping.rdn) && value != *to => Some(Rename {
                to: rdn(&mapping.rdn, to),
                back: rdn(&mapping.rdn, &value),
                dn: renamed(&entry.dn, &mapping.rdn, to),
            }),
            _ => None,
        };
        let mut deltas = deltas::of_attributes(mapping, (&old, &new), entry, rename.is_some());
        let off = draft.attributes.get("active") == Some(&Value::Bool(false));
        deltas.extend(deltas::of_switch(mapping.switch, off, entry));
        Ok(Plan {
            deltas,
            rename,
            password: draft.password.clone(),
        })
    }

    /// Executes a plan. If an operation is refused, the earlier ones are undone, as far as the directory allows.
    pub(super) fn carry_out(&self, server_info: &ServerInfo, plan: &Plan, entry: &Entry) -> Result<(), LdapFailure> {
        let versions = self.settings.flavour.version_attributes();
        let while_at =
            (server_info.asserts && versions.len() == 1).then(|| LdapFilter::equal(versions[0], &entry.version));
        let is_all = plan.rename.is_none() && plan.password.is_none();
        if plan.is_empty() {
            return Ok(());
        }
        self.connections.write(|session| {
            session.modify(&entry.dn, &plan.deltas, while_at.as_ref().filter(|_| is_all))?;
            let undo = |session: &mut LdapSession<'_>, fault: LdapFailure| {
                if matches!(fault, LdapFailure::Refused { .. }) {
                    session.modify(&entry.dn, &deltas::inverse(&plan.deltas, entry), None)?;
                }
                Err(fault)
            };
            if let Some(rename) = &plan.rename
                && let Err(fault) = session.rename(&entry.dn, &rename.to)
            {
                return undo(session, fault);
            }
            let dn = plan.rename.as_ref().map_or(&entry.dn, |rename| &rename.dn);
            if let Some(password) = &plan.password
                && let Err(fault) = set_password(session, dn, password)
            {
                if let (Some(rename), LdapFailure::Refused { .. }) = (&plan.rename, &fault) {
                    session.rename(dn, &rename.back)?;
                }
                return undo(session, fault);
            }
            Ok(())
        })
    }
}

fn set_password(session: &mut LdapSession<'_>, dn: &Dn, password: &PasswordChange) -> Result<(), LdapFailure> {
    match password {
        PasswordChange::Set(password) => session.set_password(dn, password.expose()),
        PasswordChange::Clear => session.clear_password(dn),
    }
}

/// Returns a name with another leaf RDN.
fn renamed(dn: &Dn, attribute: &str, value: &str) -> Dn {
    let whole = dn.as_str();
    let mut escaped = false;
    let comma = whole.char_indices().find(|(_, c)| {
        let found = *c == ',' && !escaped;
        escaped = *c == '\\' && !escaped;
        found
    });
    match comma {
        Some((at, _)) => Dn::new(whole[at + 1..].trim_start()).child(attribute, value),
        None => Dn::new(rdn(attribute, value)),
    }
}
