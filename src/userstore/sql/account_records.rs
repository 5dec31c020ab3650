//! Writes the records that go with a change of an account: links, consents and granted memberships.

use super::credentials;
use crate::audit;
use crate::domain::{
    Link, MembershipGrant, RequestOrigin, ResourceId, SecurityEvent, SecurityEventKind, SideRecord, StoreName,
    Timestamp,
};
use crate::storage::journal::StoredJournalEntry;
use crate::storage::{
    SqlConnection, approvals, consents, credential_versions, factors, grants, group_grants, known_browsers, links,
    mail_addresses, mail_codes, removals, sessions,
};
use crate::userstore::StoreError;

/// The resource that the records are about, and the time of the change.
pub(super) struct RecordOwner<'a> {
    pub(super) store: &'a StoreName,
    pub(super) id: &'a ResourceId,
    pub(super) at: Timestamp,
    /// Whether the change sets the password.
    pub(super) sets_password: bool,
    /// The journal entry of the change, which names who makes it.
    pub(super) change: Option<&'a StoredJournalEntry>,
    /// Where the request of the change came from.
    pub(super) origin: &'a RequestOrigin,
}

impl RecordOwner<'_> {
    /// Writes one record in the open transaction. Journal entries are written elsewhere, and proofs are checked there.
    pub(super) fn write(&self, connection: &mut SqlConnection, side_record: &SideRecord) -> Result<(), StoreError> {
        match side_record {
            SideRecord::Journal(_)
            | SideRecord::Proof(_)
            | SideRecord::NewSubject { .. }
            | SideRecord::KeptSubjects(_) => {}
            SideRecord::Link(link) => self.link(connection, link)?,
            SideRecord::Unlink { link, spared, for_good } => {
                self.unlink(connection, link, spared.as_deref())?;
                if *for_good {
                    links::remember_unlinked(connection, link, self.id, self.at)?;
                }
            }
            SideRecord::SubjectChange {
                identity_provider,
                issuer,
                old,
                new,
                addresses,
            } => {
                let of_subject = |subject: &Option<String>| {
                    subject.clone().map(|subject| Link {
                        identity_provider: identity_provider.clone(),
                        issuer: issuer.clone(),
                        subject,
                    })
                };
                self.change_subject(connection, (of_subject(old), of_subject(new)), addresses)?;
            }
            SideRecord::Consent(consent) => {
                consents::insert(connection, consent, self.store, self.id, self.at)?;
                let mut event = self.event(SecurityEventKind::ConsentGiven);
                event.object = Some(consent.purpose.clone());
                audit::append(connection, &event)?;
            }
            SideRecord::Withdrawal(purpose) => {
                consents::withdraw(connection, purpose, self.id, self.at)?;
                let mut event = self.event(SecurityEventKind::ConsentWithdrawn);
                event.object = Some(purpose.clone());
                audit::append(connection, &event)?;
            }
            SideRecord::Grant(grant) => self.grant(connection, grant)?,
        }
        Ok(())
    }

    /// A security event of the change.
    fn event(&self, kind: SecurityEventKind) -> SecurityEvent {
        SecurityEvent {
            user: Some(self.id.clone()),
            actor: self.change.map(|change| change.actor().to_owned()),
            service_provider: self.change.map(|change| change.service_provider().clone()),
            origin: self.origin.clone(),
            ..SecurityEvent::new(kind, self.at)
        }
    }

    /// A security event about an identity of the account.
    fn identity_event(&self, kind: SecurityEventKind, link: &Link) -> SecurityEvent {
        SecurityEvent {
            identity_provider: Some(link.identity_provider.clone()),
            object: Some(link.subject.clone()),
            ..self.event(kind)
        }
    }

    /// Records that the password was set or removed, if the change does so.
    pub(super) fn record_password_change(&self, connection: &mut SqlConnection) -> Result<(), StoreError> {
        if self.sets_password {
            audit::append(connection, &self.event(SecurityEventKind::PasswordChanged))?;
        }
        Ok(())
    }

    /// Makes a link, unless a removal of its provider has begun: whoever decided on the link decides again then, and
    /// finds the removal.
    fn link(&self, connection: &mut SqlConnection, link: &Link) -> Result<(), StoreError> {
        if removals::has_begun(connection, &link.identity_provider)? {
            return Err(StoreError::Superseded);
        }
        links::insert(connection, link, self.store, self.id, self.at)?;
        links::forget_former(connection, link)?;
        credential_versions::advance(connection, self.id)?;
        approvals::delete_of_identity(connection, link)?;
        let event = self.identity_event(SecurityEventKind::Linked, link);
        Ok(audit::append(connection, &event)?)
    }

    /// Records what an identity provider says about a membership in this group. It grants one only to a user who is linked
    /// to it: a login whose identity was unlinked meanwhile grants none.
    fn grant(&self, connection: &mut SqlConnection, grant: &MembershipGrant) -> Result<(), StoreError> {
        if grant.granted && !links::has(connection, &grant.user, &grant.identity_provider)? {
            return Err(StoreError::Superseded);
        }
        Ok(group_grants::set(connection, self.id, grant)?)
    }

    /// Deletes a link and ends the sessions that began through its provider, but for one.
    fn unlink(&self, connection: &mut SqlConnection, link: &Link, spared: Option<&str>) -> Result<(), StoreError> {
        if links::delete(connection, link, self.id)? {
            audit::append(connection, &self.identity_event(SecurityEventKind::Unlinked, link))?;
        }
        let version = credential_versions::advance(connection, self.id)?;
        if let Some(spared) = spared {
            sessions::renew(connection, spared, version)?;
        }
        let provider = &link.identity_provider;
        // It is not known by which of several identities at the provider a session began: all but one end.
        grants::revoke_of_user_through(connection, (self.id, provider), spared, self.at)?;
        for session in sessions::of_provider(connection, self.id, provider)? {
            if Some(session.as_str()) != spared {
                sessions::delete(connection, &session, self.at)?;
                grants::revoke_of_session(connection, &session, self.at)?;
            }
        }
        Ok(())
    }

    /// Gives the account to another subject. If that one is linked already, its person has proved both, and only the link of
    /// the other ends. Otherwise whoever came in before was somebody else: by an identity, or in any way if the client had
    /// named another subject.
    fn change_subject(
        &self,
        connection: &mut SqlConnection,
        (old, new): (Option<Link>, Option<Link>),
        addresses: &[String],
    ) -> Result<(), StoreError> {
        let linked = links::of_user(connection, self.id)?;
        let is_linked = |identity: &Link| linked.iter().any(|known| known.link == *identity);
        if new.as_ref().is_some_and(is_linked) {
            return match old.filter(|old| is_linked(old)) {
                Some(old) => self.unlink(connection, &old, None),
                None => Ok(()),
            };
        }
        if old.is_none() && linked.is_empty() && !links::had_another(connection, self.id, new.as_ref())? {
            return Ok(());
        }
        for known in &linked {
            links::delete(connection, &known.link, self.id)?;
            let event = self.identity_event(SecurityEventKind::Unlinked, &known.link);
            audit::append(connection, &event)?;
        }
        let mut event = self.event(SecurityEventKind::SubjectChanged);
        event.object = new.as_ref().map(|new| new.subject.clone());
        audit::append(connection, &event)?;
        links::forget_past(connection, self.id)?;
        mail_addresses::distrust(connection, self.id, addresses)?;
        self.end_every_way_in(connection)
    }

    /// Ends every way into the account: password, second factor, sessions, tokens and the consents given. A password that
    /// the change itself sets is the new person's.
    fn end_every_way_in(&self, connection: &mut SqlConnection) -> Result<(), StoreError> {
        if !self.sets_password {
            credentials::set(connection, self.id, None, self.at)?;
        }
        factors::delete_of_user(connection, self.id)?;
        mail_codes::delete_of_user(connection, self.id)?;
        known_browsers::forget(connection, self.id)?;
        credential_versions::advance(connection, self.id)?;
        sessions::delete_of_user(connection, self.id, self.at)?;
        grants::revoke_of_user(connection, self.id, self.at)?;
        Ok(consents::withdraw_all(connection, self.id, self.at)?)
    }
}
