//! The values that identity providers keep in sync. No one else may write them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::change::{Actor, Principal, SideRecord};
use super::ids::{IdentityProviderName, ServiceProviderName};
use super::path::AttributePath;
use super::provenance::{self, Writers};
use super::resource::Attributes;
use super::validate::{Invalid, InvalidKind};

/// The paths that identity providers keep in sync, and the SCIM clients that may write on their behalf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    kept: BTreeMap<IdentityProviderName, Vec<String>>,
    trusted_sources: BTreeMap<ServiceProviderName, IdentityProviderName>,
    /// The names in provenance of the clients whose `externalId` says whose account it is.
    identifying: BTreeSet<String>,
}

/// The attribute in which a client keeps its own identifier (RFC 7643 §3.1).
const EXTERNAL_ID: &str = "externalId";

impl Ownership {
    /// Makes an identity provider the owner of what it writes to these paths, such as `name.givenName` or
    /// `emails[type eq "work"].value`.
    pub fn keep<'a>(&mut self, provider: IdentityProviderName, paths: impl IntoIterator<Item = &'a str>) {
        let bases = paths.into_iter().map(|path| base(path).to_owned());
        self.kept.entry(provider).or_default().extend(bases);
    }

    /// Lets a SCIM client write the values of an identity provider: both are fed from one source.
    pub fn trust(&mut self, client: ServiceProviderName, provider: IdentityProviderName) {
        self.trusted_sources.insert(client, provider);
    }

    /// Makes the `externalId` of a SCIM client its own: it says whose account it is, so that no other client writes it.
    pub fn identify(&mut self, client: &ServiceProviderName) {
        self.identifying.insert(format!("scim:{client}"));
    }

    /// The client that the `externalId` of an account belongs to, if the actor is another client.
    fn identifier<'a>(&self, actor: &Actor, writers: &'a Writers) -> Option<&'a String> {
        let writer = writers
            .get(EXTERNAL_ID)
            .filter(|writer| self.identifying.contains(*writer))?;
        let is_client = matches!(actor.principal, Principal::Client { .. });
        (is_client && actor.writer() != *writer).then_some(writer)
    }

    /// Checks that a change respects ownership: `before` and `after` hold the writer of each value.
    ///
    /// # Errors
    /// `mutability`, with the name of the owner, if it writes or removes a value that an identity provider keeps in
    /// sync.
    pub(crate) fn check(&self, by: ChangeOrigin<'_>, before: &Writers, after: &Writers) -> Result<(), Invalid> {
        if let Some(writer) = self.identifier(by.0, before)
            && after.get(EXTERNAL_ID) != Some(writer)
        {
            let client = writer.strip_prefix("scim:").unwrap_or(writer);
            return Err(Invalid::new(
                InvalidKind::Mutability,
                format!("externalId is the identifier of the client {client}, which other clients cannot change."),
            ));
        }
        let lost = |(path, _): &(&String, _)| after.get(*path) != before.get(*path);
        match self.guarded(by, before).find(lost) {
            None => Ok(()),
            Some((path, owner)) => Err(Invalid::new(
                InvalidKind::Mutability,
                format!(
                    "{path} is synchronised from the identity provider {owner}: change it there. An administrator can take it \
                     over with vestibule user transfer."
                ),
            )),
        }
    }

    /// Restores the values of an identity provider in attributes that replace the stored ones: for this actor they are
    /// read-only, and a replacement leaves those unchanged (RFC 7644 §3.5.1). A list is kept as a whole.
    pub(crate) fn restore(
        &self,
        by: ChangeOrigin<'_>,
        writers: &Writers,
        stored: &Attributes,
        attributes: &mut Attributes,
    ) {
        if self.identifier(by.0, writers).is_some() {
            put_back(&[EXTERNAL_ID], stored, attributes);
        }
        for (path, _) in self.guarded(by, writers) {
            if let Some(path) = AttributePath::parse(base(path)) {
                let names: Vec<&str> = path.names().collect();
                put_back(&names, stored, attributes);
            }
        }
    }

    /// The values that the actor may not write, with their owners.
    fn guarded<'a>(
        &'a self,
        (actor, side_records): ChangeOrigin<'a>,
        writers: &'a Writers,
    ) -> impl Iterator<Item = (&'a String, &'a IdentityProviderName)> {
        // A consent or its withdrawal may change a value regardless of its owner.
        let receipt =
            |side_record: &SideRecord| matches!(side_record, SideRecord::Consent(_) | SideRecord::Withdrawal(_));
        let is_free = matches!(actor.principal, Principal::Login { .. }) || side_records.iter().any(receipt);
        let source = match actor.principal {
            Principal::Client { .. } => self.trusted_sources.get(&actor.service_provider),
            _ => None,
        };
        writers
            .iter()
            .filter(move |_| !is_free)
            .filter_map(move |(path, writer)| {
                let owner = self.owner(path, provenance::provider(writer)?)?;
                (source != Some(owner)).then_some((path, owner))
            })
    }

    fn owner(&self, path: &str, provider: &str) -> Option<&IdentityProviderName> {
        let (owner, kept) = self.kept.iter().find(|(name, _)| name.as_str() == provider)?;
        kept.iter().any(|known| known == base(path)).then_some(owner)
    }
}

/// The actor of a change and its side records.
pub(crate) type ChangeOrigin<'a> = (&'a Actor, &'a [SideRecord]);

/// Copies one value from `stored`; does nothing if it is not there.
fn put_back(way: &[&str], stored: &Attributes, attributes: &mut Attributes) {
    let Some((name, rest)) = way.split_first() else { return };
    let Some(value) = stored.get(*name) else { return };
    match value {
        Value::Object(inner) if !rest.is_empty() => {
            let place = attributes.entry(*name).or_insert_with(|| Attributes::new().into());
            if let Some(object) = place.as_object_mut() {
                put_back(rest, inner, object);
            }
        }
        value => drop(attributes.insert((*name).to_owned(), value.clone())),
    }
}

/// Returns the path up to its first `[`, so without the element that it selects.
fn base(path: &str) -> &str {
    path.split('[').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(actor: &Actor, side_records: &[SideRecord], after: &[(&str, &str)]) -> Result<(), String> {
        let mut ownership = Ownership::default();
        ownership.keep("google".into(), ["title", "emails[type eq \"work\"].value"]);
        ownership.trust("hr".into(), "google".into());
        let writers = |list: &[(&str, &str)]| {
            let owned = list
                .iter()
                .map(|(path, writer)| ((*path).to_owned(), (*writer).to_owned()));
            owned.collect::<Writers>()
        };
        let before = [
            ("title", "idp:google"),
            ("emails[a@b.c]", "idp:google"),
            ("userName", "idp:google"),
            ("nickName", "self"),
            ("locale", "idp:gone"),
        ];
        ownership
            .check((actor, side_records), &writers(&before), &writers(after))
            .map_err(|invalid| invalid.detail)
    }

    fn client(name: &'static str) -> Actor {
        Actor {
            principal: Principal::Client {
                token: "t".to_owned(),
                store: Some(super::super::StoreName::PRIMARY),
            },
            service_provider: name.into(),
        }
    }

    const KEPT: [(&str, &str); 2] = [("title", "idp:google"), ("emails[a@b.c]", "idp:google")];

    #[test]
    fn only_the_provider_may_write_or_remove_its_values() {
        let admin = Actor::administrator("test");
        for actor in [&client("wiki"), &admin] {
            let rewritten = [("title", "admin"), KEPT[1]];
            let detail = check(actor, &[], &rewritten).unwrap_err();
            assert!(
                detail.starts_with("title is synchronised") && detail.contains("google"),
                "{detail}"
            );
            assert!(check(actor, &[], &KEPT[..1]).is_err(), "the address is gone");
        }
    }

    #[test]
    fn values_without_an_owner_may_be_written() {
        let renamed = [
            KEPT[0],
            KEPT[1],
            ("userName", "scim:wiki"),
            ("emails[new@b.c]", "scim:wiki"),
        ];
        assert_eq!(check(&client("wiki"), &[], &renamed), Ok(()));
    }

    #[test]
    fn a_trusted_scim_client_may_write_the_provider_values() {
        assert_eq!(check(&client("hr"), &[], &[]), Ok(()));
    }

    #[test]
    fn a_login_or_withdrawal_may_write_owned_values() {
        let login = Actor {
            principal: Principal::Login {
                identity_provider: "other".into(),
            },
            ..client("wiki")
        };
        assert_eq!(check(&login, &[], &[]), Ok(()));
        let person = Actor {
            principal: Principal::Person,
            ..client("wiki")
        };
        assert!(check(&person, &[], &[]).is_err());
        assert_eq!(
            check(&person, &[SideRecord::Withdrawal("letters".to_owned())], &[]),
            Ok(())
        );
    }
}
