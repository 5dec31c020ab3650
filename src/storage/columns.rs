//! Conversions from columns to domain types, so that records can derive `Queryable`.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, Queryable};
use diesel::sql_types::{BigInt, Text};

use super::outbound::OutboundState;
use crate::domain::login::RequestedClaims;
use crate::domain::{IdentityProviderName, Kind, ResourceId, ServiceProviderName, StoreName, TargetName, Timestamp};

macro_rules! read {
    ($sql:ty, $raw:ty: $($type:ty = $from:expr,)*) => {$(
        impl<DB: Backend> FromSql<$sql, DB> for $type
        where
            $raw: FromSql<$sql, DB>,
        {
            fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
                <$raw>::from_sql(bytes).map($from)
            }
        }

        impl<DB: Backend> Queryable<$sql, DB> for $type
        where
            Self: FromSql<$sql, DB>,
        {
            type Row = Self;

            fn build(row: Self) -> deserialize::Result<Self> {
                Ok(row)
            }
        }
    )*};
}

read!(BigInt, i64: Timestamp = Timestamp,);
read!(Text, String:
    IdentityProviderName = Self::from,
    Kind = Self::from,
    OutboundState = |word| Self::parse(&word),
    // An empty text asks for nothing.
    RequestedClaims = |text| serde_json::from_str(&text).unwrap_or_default(),
    ResourceId = Self::from,
    ServiceProviderName = Self::from,
    StoreName = Self::from,
    TargetName = Self::from,
    WordList = |words| Self(words.split_whitespace().map(str::to_owned).collect()),
);

/// A space-separated list of words in one column.
pub struct WordList(pub(super) Vec<String>);

impl From<WordList> for Vec<String> {
    fn from(words: WordList) -> Self {
        words.0
    }
}
