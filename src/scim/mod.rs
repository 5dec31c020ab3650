//! The SCIM 2.0 service for clients (RFC 7643, RFC 7644): its operations on the directory. Independent of HTTP except
//! for statuses and header values; [`crate::server::scim`] transports them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::directory::{Directory, Outcome};
use crate::domain::patch::{self, PatchOperation};
use crate::domain::projection::Projection;
use crate::domain::schema::ResourceType;
use crate::domain::{Actor, Attributes, Change, Kind, Operation, Relations, Resource, ResourceId, SideRecord};
use crate::storage::grants::Grant;
use crate::storage::{Database, SecretBox};

mod authenticate;
pub mod bulk;
mod converge;
mod cursor;
pub mod discovery;
mod error;
pub mod etag;
pub mod list;
mod me;
pub mod normalise;
pub mod openapi;
mod report;
mod search;
mod subjects;
mod userstore_selection;

pub use authenticate::{ScimClient, ScimClients};
pub(crate) use converge::Adoption;
use converge::NewResource;
pub use error::{ScimError, ScimErrorKind};
pub(crate) use report::DialectReport;

use authenticate::RecentTokens;
use etag::Conditions;
use list::ListParameters;
use normalise::{Deviations, rule};

/// A PATCH of a group with more members than this is answered without a body (204, RFC 7644 §3.5.2): the response must
/// not cost more than the change.
const LARGE_GROUP: usize = 100;

/// The settings of the SCIM service.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The base URL of the resources, such as `https://id.example.com/scim/v2`.
    pub base_url: String,
    /// The clients that have access.
    pub clients: ScimClients,
    /// The lifetime of a cursor (RFC 9865 §4, `cursorTimeout`).
    pub cursor_lifetime: Duration,
    /// Whether every userstore is in the server's own database.
    pub stores_are_near: bool,
    /// Whether `STORE/name` as `userName` of a new user names the userstore that it goes to.
    pub userstore_in_username: bool,
}

/// Characters that are escaped in a path segment (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The SCIM service.
pub struct Scim {
    directory: Arc<Directory>,
    database: Database,
    secret_box: Arc<SecretBox>,
    clients: ScimClients,
    base_url: String,
    cursor_lifetime: Duration,
    stores_are_near: bool,
    userstore_in_username: bool,
    report: DialectReport,
    recent_tokens: RecentTokens,
    service_provider_config: OnceLock<String>,
    openapi: OnceLock<String>,
    grants: GrantCheck,
}

/// Decides whether the grant of a person's token still counts.
pub type GrantCheck = Arc<dyn Fn(&Grant) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> + Send + Sync>;

/// A response to a client.
#[derive(Debug, Default)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// `Location`: the address of the resource.
    pub location: Option<String>,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Preference-Applied`: the preference that was applied.
    pub applied: Option<Prefer>,
    /// The JSON body.
    pub body: Option<String>,
}

impl Reply {
    fn of(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

/// The preferred response to a write (`Prefer`, RFC 7240 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// No body.
    Minimal,
    /// The whole resource, regardless of its size.
    Representation,
}

impl Prefer {
    /// The value in the header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "return=minimal",
            Self::Representation => "return=representation",
        }
    }
}

/// The sender of a request and its configuration.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The actor of its changes.
    pub actor: Actor,
    /// Its configuration.
    pub client: ScimClient,
    /// Whether its token may read only (RFC 7644 §7.4).
    pub read_only: bool,
}

/// The resource that a request names.
#[derive(Clone, Debug)]
pub struct ResourceRef {
    /// Its type.
    pub kind: Kind,
    /// Its id.
    pub id: ResourceId,
}

/// The parameters and headers of a request.
#[derive(Clone, Debug, Default)]
pub struct RequestOptions {
    /// The query parameters.
    pub parameters: ListParameters,
    /// The conditional headers.
    pub conditions: Conditions,
    /// The preferred response to a write.
    pub prefer: Option<Prefer>,
}

impl Scim {
    /// A service over the directory. `secret_box` seals cursors.
    pub fn new(directory: Arc<Directory>, database: Database, secret_box: Arc<SecretBox>, settings: Settings) -> Self {
        Self {
            directory,
            database,
            secret_box,
            clients: settings.clients,
            base_url: settings.base_url,
            cursor_lifetime: settings.cursor_lifetime,
            stores_are_near: settings.stores_are_near,
            userstore_in_username: settings.userstore_in_username,
            report: DialectReport::default(),
            recent_tokens: RecentTokens::default(),
            service_provider_config: OnceLock::new(),
            openapi: OnceLock::new(),
            grants: Arc::new(|_| Ok(true)),
        }
    }

    /// Asks for every token of a person whether its grant still counts.
    pub fn with_grants(self, grants: GrantCheck) -> Self {
        Self { grants, ..self }
    }

    /// Creates a resource: `POST /Users` and other types (RFC 7644 §3.3).
    pub fn create(
        &self,
        caller: &Caller,
        kind: &Kind,
        body: &[u8],
        terms: &RequestOptions,
    ) -> Result<Reply, ScimError> {
        let resource_type = self.resource_type(kind)?;
        let mut value = parse(body)?;
        let store = self.select_userstore(caller, &mut value)?;
        let attributes = self.normalised(caller, resource_type, value)?;
        let again = || {
            let mut value = parse(body)?;
            self.select_userstore(caller, &mut value)?;
            Ok(normalise::body(resource_type, value, &mut Deviations::default())?)
        };
        let wanted = NewResource {
            resource_type,
            store: &store,
            attributes,
        };
        let created = self.create_or_converge(caller, wanted, again)?;
        self.written(201, created, resource_type, terms)
    }

    /// `GET /Users/{id}` (RFC 7644 §3.4.1).
    pub fn get(&self, caller: &Caller, target: &ResourceRef, terms: &RequestOptions) -> Result<Reply, ScimError> {
        let resource_type = self.resource_type(&target.kind)?;
        let projection = terms.parameters.projection(resource_type);
        let found = self.visible(caller, target, projection.relations())?;
        let status = if terms.conditions.already_has(found.version) {
            304
        } else {
            200
        };
        Ok(self.answer(status, &found, resource_type, &projection))
    }

    /// `PUT /Users/{id}` (RFC 7644 §3.5.1).
    pub fn replace(
        &self,
        caller: &Caller,
        target: &ResourceRef,
        body: &[u8],
        terms: &RequestOptions,
    ) -> Result<Reply, ScimError> {
        let resource_type = self.resource_type(&target.kind)?;
        let operation = Operation::Replace {
            kind: target.kind.clone(),
            id: target.id.clone(),
            attributes: self.normalised(caller, resource_type, parse(body)?)?,
            precondition: terms.conditions.precondition()?,
        };
        let replaced = self.apply(caller, operation)?.into_resource();
        self.written(200, replaced, resource_type, terms)
    }

    /// `PATCH /Users/{id}` (RFC 7644 §3.5.2).
    pub fn patch(
        &self,
        caller: &Caller,
        target: &ResourceRef,
        body: &[u8],
        terms: &RequestOptions,
    ) -> Result<Reply, ScimError> {
        let resource_type = self.resource_type(&target.kind)?;
        let mut deviations = Deviations::default();
        let operations = normalise::patch(resource_type, parse(body)?, &mut deviations)?;
        if self.makes_elements(caller, target, resource_type, &operations)? {
            deviations.hit(rule::ELEMENT_MADE);
        }
        self.note(caller, deviations.rules())?;
        let operation = Operation::Patch {
            kind: target.kind.clone(),
            id: target.id.clone(),
            operations,
            precondition: terms.conditions.precondition()?,
        };
        let patched = self.apply(caller, operation)?.into_resource();
        self.written(200, patched, resource_type, terms)
    }

    /// `DELETE /Users/{id}` (RFC 7644 §3.6).
    pub fn delete(&self, caller: &Caller, target: &ResourceRef, terms: &RequestOptions) -> Result<Reply, ScimError> {
        let operation = Operation::Delete {
            kind: target.kind.clone(),
            id: target.id.clone(),
            precondition: terms.conditions.precondition()?,
        };
        self.apply(caller, operation)?;
        Ok(Reply::of(204))
    }

    /// The resource type of a path segment, such as `Users`.
    pub(crate) fn kind_at(&self, endpoint: &str) -> Option<Kind> {
        self.directory
            .registry()
            .by_endpoint(endpoint)
            .map(|resource_type| resource_type.kind.clone())
    }

    /// Whether authentication takes less time than handing it to another thread.
    pub(crate) fn authenticates_quickly(&self) -> bool {
        self.database.reads_are_quick()
    }

    /// Whether reading one resource takes less time than handing it to another thread.
    pub(crate) fn reads_are_quick(&self) -> bool {
        self.stores_are_near && self.database.reads_are_quick()
    }

    /// Whether a list request is cheap: it asks for one resource by its name, as clients do before every write, or for
    /// a plain page of users.
    pub(crate) fn is_quick(&self, kind: &Kind, terms: &RequestOptions) -> bool {
        let filter = self
            .resource_type(kind)
            .and_then(|resource_type| terms.parameters.filter(resource_type));
        match filter {
            Ok((Some(filter), _)) => filter.name_wanted().is_some(),
            // A group may be large.
            Ok((None, _)) => *kind == Kind::USER && terms.parameters.is_plain_page(),
            Err(_) => false,
        }
    }

    /// The counts of deviations from the standard by client.
    pub fn report(&self) -> &DialectReport {
        &self.report
    }

    fn resource_type(&self, kind: &Kind) -> Result<&ResourceType, ScimError> {
        let found = self.directory.registry().resource_type(kind);
        found.ok_or_else(|| ScimErrorKind::NotFound.because(format!("There is no resource type {kind}.")))
    }

    fn normalised(&self, caller: &Caller, resource_type: &ResourceType, body: Value) -> Result<Attributes, ScimError> {
        let mut deviations = Deviations::default();
        let attributes = normalise::body(resource_type, body, &mut deviations)?;
        self.note(caller, deviations.rules())?;
        Ok(attributes)
    }

    /// Whether a PATCH needs P7. That depends on the resource, which is read only for requests with value paths.
    fn makes_elements(
        &self,
        caller: &Caller,
        target: &ResourceRef,
        resource_type: &ResourceType,
        operations: &[PatchOperation],
    ) -> Result<bool, ScimError> {
        let has_value_path =
            |operation: &PatchOperation| operation.path.as_ref().is_some_and(|path| path.filter.is_some());
        if !operations.iter().any(has_value_path) {
            return Ok(false);
        }
        let before = self.visible(caller, target, Relations::NONE)?.document.attributes();
        Ok(patch::makes_elements(resource_type, &before, operations))
    }

    /// Counts the tolerances that a request needed. A strict client gets an error for those that go beyond the standard.
    fn note(&self, caller: &Caller, rules: impl IntoIterator<Item = &'static str>) -> Result<(), ScimError> {
        let rules: Vec<&str> = rules.into_iter().collect();
        self.report.count(&caller.actor, &rules);
        match rules.iter().find(|rule| caller.client.strict && !rule::STANDARD.contains(rule)) {
            Some(rule) => Err(rule::fault(rule).because(format!(
                "This needs the tolerance {rule}, and this service provider is strict. See docs/scim.md for what it means."
            ))),
            None => Ok(()),
        }
    }

    fn apply(&self, caller: &Caller, operation: Operation) -> Result<Outcome, ScimError> {
        self.apply_to_user(caller, operation)
    }

    fn apply_with(
        &self,
        caller: &Caller,
        operation: Operation,
        side_records: Vec<SideRecord>,
    ) -> Result<Outcome, ScimError> {
        if caller.read_only {
            return Err(ScimErrorKind::Forbidden.because("This token may only read."));
        }
        let change = Change {
            actor: caller.actor.clone(),
            operation,
            side_records,
        };
        Ok(self.directory.apply(change)?)
    }

    fn visible(&self, caller: &Caller, target: &ResourceRef, relations: Relations) -> Result<Resource, ScimError> {
        self.directory
            .get_for(&caller.actor, &target.kind, &target.id, relations)?
            .ok_or_else(|| ScimErrorKind::NotFound.because(format!("There is no {} with this id.", target.kind)))
    }

    /// The response to a write: the written resource, unless the client prefers less. A write returns the resource
    /// without members; they are read only if they are shown.
    fn written(
        &self,
        status: u16,
        resource: Resource,
        resource_type: &ResourceType,
        terms: &RequestOptions,
    ) -> Result<Reply, ScimError> {
        let projection = terms.parameters.projection(resource_type);
        let relations = projection.relations();
        let small = || -> Result<bool, ScimError> {
            let whole = terms.prefer == Some(Prefer::Representation) || terms.parameters.names_attributes();
            let unbounded = relations.members && resource.kind == Kind::GROUP && status == 200;
            Ok(whole || !unbounded || !self.directory.is_larger(&resource, LARGE_GROUP)?)
        };
        let shown = terms.prefer != Some(Prefer::Minimal) && small()?;
        if !shown {
            let status = if status == 201 { 201 } else { 204 };
            let applied = terms.prefer.filter(|prefer| *prefer == Prefer::Minimal);
            return Ok(Reply {
                applied,
                body: None,
                ..self.answer(status, &resource, resource_type, &projection)
            });
        }
        let resource = if relations.members {
            let current = self.directory.get(&resource.kind, &resource.id, relations)?;
            current.unwrap_or(resource)
        } else {
            resource
        };
        Ok(Reply {
            applied: terms.prefer,
            ..self.answer(status, &resource, resource_type, &projection)
        })
    }

    /// The address of a resource, which need not exist: a bulk request may name any id.
    fn location(&self, target: &ResourceRef) -> Result<String, ScimError> {
        let endpoint = &self.resource_type(&target.kind)?.endpoint;
        let id = utf8_percent_encode(target.id.as_str(), RESERVED);
        Ok(format!("{}{endpoint}/{id}", self.base_url))
    }

    fn answer(&self, status: u16, resource: &Resource, resource_type: &ResourceType, projection: &Projection) -> Reply {
        let body = (status != 204 && status != 304).then(|| {
            let mut body = String::with_capacity(resource.document.text().len() + 512);
            projection.render(resource, resource_type, &self.base_url, &mut body);
            body
        });
        Reply {
            status,
            location: Some(format!("{}{}/{}", self.base_url, resource_type.endpoint, resource.id)),
            etag: Some(resource.version.to_string()),
            applied: None,
            body,
        }
    }
}

/// Reads a JSON body, also after a byte order mark (RFC 8259 §8.1). Depth is bounded by the parser (128), size by the
/// server.
fn parse(body: &[u8]) -> Result<Value, ScimError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        ScimErrorKind::InvalidSyntax.because(match error.classify() {
            serde_json::error::Category::Eof if body.is_empty() => "The request needs a JSON body.".to_owned(),
            _ => format!("The body is not valid JSON at {place}."),
        })
    })
}
