//! SCIM errors (RFC 7644 §3.12): one table from fault to status and `scimType`.

use std::error::Error as StdError;

use scim_v2::models::errors::{ScimHttpError, ScimType};
use scim_v2::schema_urns;
use serde_json::{Value, json};

use crate::directory::DirectoryError;
use crate::domain::validate::{Invalid, InvalidKind};
use crate::storage::StorageError;
use crate::userstore::StoreError;

/// The kind of an error, in the terms of RFC 7644.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScimErrorKind {
    /// The filter is invalid, or does not apply to these attributes.
    InvalidFilter,
    /// The body does not have the form that the request needs.
    InvalidSyntax,
    /// A PATCH path is invalid.
    InvalidPath,
    /// A value is missing or of the wrong type.
    InvalidValue,
    /// A PATCH path matches nothing.
    NoTarget,
    /// The attribute does not allow this change.
    Mutability,
    /// The request is too large to be answered.
    TooMany,
    /// The cursor was not issued by this server, or for another search (RFC 9865 §2.1).
    InvalidCursor,
    /// The cursor has expired.
    ExpiredCursor,
    /// The path names another version of the protocol.
    InvalidVersion,
    /// The token is missing or invalid.
    Unauthorized,
    /// Not allowed.
    Forbidden,
    /// No such resource or endpoint.
    NotFound,
    /// The endpoint does not support this method.
    MethodNotAllowed,
    /// A unique value is taken.
    Uniqueness,
    /// The request conflicts with a resource that it refers to, or that resource does not exist.
    Conflict,
    /// The version is not the expected one.
    Stale,
    /// The body is too large.
    TooLarge,
    /// The body is of another media type.
    MediaType,
    /// Internal error.
    Internal,
    /// The feature is not available or is switched off.
    Unsupported,
    /// The body did not arrive in time.
    Slow,
    /// A store or the database does not answer.
    Unavailable,
    /// Too many wrong tokens come from one address.
    TooManyGuesses,
}

impl ScimErrorKind {
    /// The HTTP status and `scimType` of RFC 7644 §3.12.
    pub const fn row(self) -> (u16, Option<&'static str>) {
        match self {
            Self::InvalidFilter => (400, Some("invalidFilter")),
            Self::InvalidSyntax => (400, Some("invalidSyntax")),
            Self::InvalidPath => (400, Some("invalidPath")),
            Self::InvalidValue => (400, Some("invalidValue")),
            Self::NoTarget => (400, Some("noTarget")),
            Self::Mutability => (400, Some("mutability")),
            Self::TooMany => (400, Some("tooMany")),
            Self::InvalidCursor => (400, Some("invalidCursor")),
            Self::ExpiredCursor => (400, Some("expiredCursor")),
            Self::InvalidVersion => (400, Some("invalidVers")),
            Self::Unauthorized => (401, None),
            Self::Forbidden => (403, None),
            Self::NotFound => (404, None),
            Self::MethodNotAllowed => (405, None),
            Self::Slow => (408, None),
            Self::Uniqueness => (409, Some("uniqueness")),
            Self::Conflict => (409, None),
            Self::Stale => (412, None),
            Self::TooLarge => (413, None),
            Self::MediaType => (415, None),
            Self::Internal => (500, None),
            Self::Unsupported => (501, None),
            Self::Unavailable => (503, None),
            Self::TooManyGuesses => (429, None),
        }
    }

    /// An error of this kind with a detail for the client.
    pub fn because(self, detail: impl Into<String>) -> ScimError {
        ScimError {
            fault: self,
            detail: detail.into(),
            cause: None,
        }
    }
}

/// An error response: `detail` is for the client, `cause` only for the log.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct ScimError {
    /// The kind of error.
    pub fault: ScimErrorKind,
    /// The message for the client.
    pub detail: String,
    /// The cause for the log.
    #[source]
    pub cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl ScimError {
    /// The body of the response.
    pub(crate) fn to_json(&self) -> Value {
        let (status, scim_type) = self.fault.row();
        let body = ScimHttpError {
            schemas: vec![schema_urns::ERROR.to_owned()],
            scim_type: scim_type.map(|keyword| ScimType::from(keyword.to_owned())),
            detail: Some(self.detail.clone()),
            status: status.to_string(),
        };
        json!(body)
    }

    /// Logs a server error with all its causes.
    pub fn log(&self) {
        let (status, _) = self.fault.row();
        let Some(cause) = self.cause.as_deref().filter(|_| status >= 500) else {
            return;
        };
        let mut chain = cause.to_string();
        let mut next = cause.source();
        while let Some(inner) = next {
            chain.push_str(": ");
            chain.push_str(&inner.to_string());
            next = inner.source();
        }
        log::error!("answered {status}: {chain}");
    }
}

impl From<Invalid> for ScimError {
    fn from(error: Invalid) -> Self {
        let fault = match error.kind {
            InvalidKind::Filter => ScimErrorKind::InvalidFilter,
            InvalidKind::Syntax => ScimErrorKind::InvalidSyntax,
            InvalidKind::Path => ScimErrorKind::InvalidPath,
            InvalidKind::Value => ScimErrorKind::InvalidValue,
            InvalidKind::NoTarget => ScimErrorKind::NoTarget,
            InvalidKind::Mutability => ScimErrorKind::Mutability,
            InvalidKind::TooMany => ScimErrorKind::TooMany,
        };
        fault.because(error.detail)
    }
}

impl From<StorageError> for ScimError {
    fn from(error: StorageError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<StoreError> for ScimError {
    fn from(error: StoreError) -> Self {
        let (fault, detail) = match &error {
            StoreError::Taken { attribute } => {
                let detail =
                    format!("{attribute} is taken. Look the resource up with a filter, or choose another value.");
                (ScimErrorKind::Uniqueness, detail)
            }
            StoreError::Stale | StoreError::Superseded => (
                ScimErrorKind::Stale,
                "The resource has changed since this version. Read it again and repeat the change.".to_owned(),
            ),
            StoreError::Unsupported(what) => (ScimErrorKind::Unsupported, format!("This userstore cannot {what}.")),
            StoreError::Refused { reason } => (
                ScimErrorKind::InvalidValue,
                format!("The userstore refused this: {reason}"),
            ),
            StoreError::Unavailable(_) => (
                ScimErrorKind::Unavailable,
                "The userstore does not answer at the moment. Try again shortly.".to_owned(),
            ),
            StoreError::Failed(_) => (
                ScimErrorKind::Internal,
                "The server could not carry this out. Its log has the details.".to_owned(),
            ),
        };
        Self {
            fault,
            detail,
            cause: Some(error.into()),
        }
    }
}

impl From<DirectoryError> for ScimError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::NotFound(kind) => {
                ScimErrorKind::NotFound.because(format!("There is no {kind} with this id."))
            }
            DirectoryError::Invalid(invalid) => invalid.into(),
            DirectoryError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_body_has_its_status_as_a_text_and_its_scim_type() {
        let body = ScimErrorKind::Uniqueness.because("userName is taken").to_json();
        assert_eq!(
            body,
            json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
                "status": "409",
                "scimType": "uniqueness",
                "detail": "userName is taken",
            })
        );
    }

    #[test]
    fn an_error_without_scim_type_leaves_it_out() {
        let body = ScimErrorKind::NotFound.because("gone").to_json();
        assert!(body.get("scimType").is_none());
    }
}
