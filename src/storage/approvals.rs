//! First logins that need an administrator's approval, and the decisions: one for each identity.

use std::fmt;

use diesel::prelude::*;

use super::connection::{SqlConnection, SuffixDsl, any_of};
use super::tables::approvals;
use crate::domain::{IdentityProviderName, Link, ServiceProviderName, Timestamp};

/// The decision on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No decision yet.
    Waiting,
    /// The next login creates the account.
    Approved,
    /// The login is refused.
    Refused,
}

impl Verdict {
    fn parse(text: &str) -> Self {
        match text {
            "approved" => Self::Approved,
            "refused" => Self::Refused,
            _ => Self::Waiting,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Refused => "refused",
        })
    }
}

/// A first login that needs approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The id by which administrators refer to it.
    pub id: String,
    /// The identity that wants to log in.
    pub identity: Link,
    /// The application that the person was logging in to.
    pub service_provider: ServiceProviderName,
    /// The identity provider's claims about the person, sealed.
    pub sealed: Vec<u8>,
    /// The decision.
    pub ruling: Ruling,
    /// The time of the request.
    pub asked: Timestamp,
    /// The time at which it expires.
    pub expires: Timestamp,
}

/// A decision, its author and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The decision itself.
    pub verdict: Verdict,
    /// A message for the person; empty for none.
    pub reason: String,
    /// The administrator who decided.
    pub by: String,
    /// The time of the decision.
    pub at: Timestamp,
}

impl Ruling {
    /// No decision yet.
    pub const NONE: Self = Self {
        verdict: Verdict::Waiting,
        reason: String::new(),
        by: String::new(),
        at: Timestamp(0),
    };
}

type Row = (
    (String, String, String, String),
    (String, Vec<u8>),
    (String, String, String, i64),
    (i64, i64),
);

type Columns = (
    (
        approvals::id,
        approvals::identity_provider,
        approvals::issuer,
        approvals::subject,
    ),
    (approvals::service_provider, approvals::sealed),
    (
        approvals::verdict,
        approvals::reason,
        approvals::decided_by,
        approvals::decided,
    ),
    (approvals::asked, approvals::expires),
);

const COLUMNS: Columns = (
    (
        approvals::id,
        approvals::identity_provider,
        approvals::issuer,
        approvals::subject,
    ),
    (approvals::service_provider, approvals::sealed),
    (
        approvals::verdict,
        approvals::reason,
        approvals::decided_by,
        approvals::decided,
    ),
    (approvals::asked, approvals::expires),
);

fn approval(row: Row) -> Approval {
    let (
        (id, identity_provider, issuer, subject),
        (service_provider, sealed),
        (verdict, reason, by, at),
        (asked, expires),
    ) = row;
    Approval {
        id,
        identity: Link {
            identity_provider: identity_provider.into(),
            issuer,
            subject,
        },
        service_provider: service_provider.into(),
        sealed,
        ruling: Ruling {
            verdict: Verdict::parse(&verdict),
            reason,
            by,
            at: Timestamp(at),
        },
        asked: Timestamp(asked),
        expires: Timestamp(expires),
    }
}

/// Files a request, unless this identity has one already. An expired request is replaced.
pub fn ask(connection: &mut SqlConnection, new: &Approval) -> QueryResult<()> {
    diesel::delete(of(&new.identity).filter(approvals::expires.le(new.asked.0))).execute(connection)?;
    diesel::insert_into(approvals::table)
        .values((
            approvals::id.eq(&new.id),
            approvals::identity_provider.eq(new.identity.identity_provider.as_str()),
            approvals::issuer.eq(&new.identity.issuer),
            approvals::subject.eq(&new.identity.subject),
            approvals::service_provider.eq(new.service_provider.as_str()),
            approvals::sealed.eq(&new.sealed),
            approvals::verdict.eq(Verdict::Waiting.to_string()),
            approvals::asked.eq(new.asked.0),
            approvals::expires.eq(new.expires.0),
        ))
        .suffix(" ON CONFLICT (identity_provider, issuer, subject) DO NOTHING")
        .execute(connection)
        .map(|_| ())
}

/// Returns the request of an identity, if it has not expired.
pub fn of_identity(connection: &mut SqlConnection, identity: &Link, now: Timestamp) -> QueryResult<Option<Approval>> {
    let row: Option<Row> = of(identity)
        .filter(approvals::expires.gt(now.0))
        .select(COLUMNS)
        .first(connection)
        .optional()?;
    Ok(row.map(approval))
}

/// Returns all requests that have not expired, oldest first.
pub fn all(connection: &mut SqlConnection, now: Timestamp) -> QueryResult<Vec<Approval>> {
    let rows: Vec<Row> = approvals::table
        .filter(approvals::expires.gt(now.0))
        .order((approvals::asked, approvals::id))
        .select(COLUMNS)
        .load(connection)?;
    Ok(rows.into_iter().map(approval).collect())
}

/// Decides on a request; a later decision replaces an earlier one. The decision is then valid for as long as the
/// request was. `None` if there is no such request.
pub fn rule(connection: &mut SqlConnection, id: &str, ruling: &Ruling) -> QueryResult<Option<Approval>> {
    let row: Option<Row> = approvals::table
        .find(id)
        .filter(approvals::expires.gt(ruling.at.0))
        .select(COLUMNS)
        .first(connection)
        .optional()?;
    let Some(mut found) = row.map(approval) else {
        return Ok(None);
    };
    let from = if found.ruling == Ruling::NONE {
        found.asked
    } else {
        found.ruling.at
    };
    found.expires = Timestamp(ruling.at.0.saturating_add(found.expires.0 - from.0));
    found.ruling = ruling.clone();
    diesel::update(approvals::table.find(id))
        .set((
            approvals::verdict.eq(ruling.verdict.to_string()),
            approvals::reason.eq(&ruling.reason),
            approvals::decided_by.eq(&ruling.by),
            approvals::decided.eq(ruling.at.0),
            approvals::expires.eq(found.expires.0),
        ))
        .execute(connection)?;
    Ok(Some(found))
}

/// Whether at least `count` requests of an identity provider wait for an answer.
pub(crate) fn are_waiting(
    connection: &mut SqlConnection,
    provider: &IdentityProviderName,
    count: i64,
) -> QueryResult<bool> {
    let last: Option<String> = approvals::table
        .filter(approvals::identity_provider.eq(provider.as_str()))
        .filter(approvals::verdict.eq(Verdict::Waiting.to_string()))
        .order((approvals::issuer, approvals::subject))
        .select(approvals::id)
        .offset(count - 1)
        .limit(1)
        .first(connection)
        .optional()?;
    Ok(last.is_some())
}

/// Deletes a request.
pub(crate) fn delete(connection: &mut SqlConnection, id: &str) -> QueryResult<()> {
    diesel::delete(approvals::table.find(id))
        .execute(connection)
        .map(|_| ())
}

/// Deletes the request of an identity that has an account now, since an approval counts once.
pub fn delete_of_identity(connection: &mut SqlConnection, identity: &Link) -> QueryResult<()> {
    diesel::delete(of(identity)).execute(connection).map(|_| ())
}

/// Deletes at most `limit` expired requests; returns their number.
pub fn delete_expired(connection: &mut SqlConnection, now: Timestamp, limit: i64) -> QueryResult<usize> {
    let next: Vec<String> = approvals::table
        .filter(approvals::expires.le(now.0))
        .select(approvals::id)
        .limit(limit)
        .load(connection)?;
    diesel::delete(approvals::table.filter(any_of(approvals::id, next.iter().map(String::as_str)))).execute(connection)
}

#[diesel::dsl::auto_type]
fn of<'a>(identity: &'a Link) -> _ {
    let provider: &'a str = identity.identity_provider.as_str();
    let (issuer, subject): (&'a str, &'a str) = (identity.issuer.as_str(), identity.subject.as_str());
    approvals::table
        .filter(approvals::identity_provider.eq(provider))
        .filter(approvals::issuer.eq(issuer))
        .filter(approvals::subject.eq(subject))
}
