//! `/scim/v2`: one dispatcher for every resource type, since types are data.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};

use super::blocking;
use super::guesses::Guess;
use super::scim_options::terms;
use crate::domain::{Kind, ResourceId};
use crate::scim::{Caller, Reply, RequestOptions, ResourceRef, Scim, ScimError, ScimErrorKind, bulk};

/// The largest body: room for a PATCH of 10,000 members.
const LARGEST_BODY: usize = 4 * 1024 * 1024;
/// The timeout for a client to send the body.
const PATIENCE: Duration = Duration::from_secs(30);

/// Mounts the endpoints.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource(["/scim", "/scim/{tail:.*}"]).to(handle));
}

async fn handle(request: HttpRequest, payload: web::Payload, scim: web::Data<Scim>) -> HttpResponse {
    let plain_json = wants_plain_json(request.headers());
    let answer = match dispatch(&request, payload, scim).await {
        Ok(ScimResponse::Reply(reply)) => reply_of(reply),
        Ok(ScimResponse::Document(body)) => builder(StatusCode::OK).body(body),
        Ok(ScimResponse::OpenApi(body)) => HttpResponse::Ok().content_type("application/json").body(body),
        Ok(ScimResponse::Options(allow)) => builder(StatusCode::NO_CONTENT)
            .insert_header((header::ALLOW, allow))
            .finish(),
        Err(ScimErrorResponse { error, allow }) => error_of(&error, allow),
    };
    finish(answer, plain_json)
}

enum ScimResponse {
    Reply(Reply),
    Document(String),
    /// The description of the API, which is no SCIM message.
    OpenApi(String),
    Options(&'static str),
}

struct ScimErrorResponse {
    error: ScimError,
    allow: Option<&'static str>,
}

impl From<ScimError> for ScimErrorResponse {
    fn from(error: ScimError) -> Self {
        Self { error, allow: None }
    }
}

/// The endpoint that a path addresses.
enum ScimRoute {
    /// The server's root: all resource types (RFC 7644 §3.4.2.1).
    Root,
    Discovery(Vec<String>),
    Collection(Kind),
    /// A search over one type, or over all.
    Search(Option<Kind>),
    Resource(ResourceRef),
    Bulk,
    Me,
}

impl ScimRoute {
    fn allow(&self) -> &'static str {
        match self {
            Self::Root | Self::Discovery(_) | Self::Me => "GET, HEAD, OPTIONS",
            Self::Collection(_) => "GET, HEAD, OPTIONS, POST",
            Self::Search(_) | Self::Bulk => "OPTIONS, POST",
            Self::Resource(_) => "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
        }
    }
}

async fn dispatch(
    request: &HttpRequest,
    payload: web::Payload,
    scim: web::Data<Scim>,
) -> Result<ScimResponse, ScimErrorResponse> {
    let place = route(request.path(), &scim)?;
    let allow = place.allow();
    let method = match *request.method() {
        Method::OPTIONS => return Ok(ScimResponse::Options(allow)),
        Method::HEAD => Method::GET,
        ref other => other.clone(),
    };
    match place {
        ScimRoute::Discovery(segments) if method == Method::GET => discovery(request, &segments, &scim),
        ScimRoute::Root if method == Method::GET => {
            let call = Call::begin(request, scim).await?;
            let list = |c: &Call| c.scim.list(&c.caller, None, &c.terms);
            Ok(ScimResponse::Reply(call.run(list).await?))
        }
        ScimRoute::Collection(kind) if matches!(method, Method::GET | Method::POST) => {
            let call = Call::begin(request, scim).await?;
            let answer = if method == Method::POST {
                let body = body(request, payload).await?;
                call.change(&body.clone(), move |c| c.scim.create(&c.caller, &kind, &body, &c.terms))
                    .await
            } else {
                let quick = call.scim.reads_are_quick() && call.scim.is_quick(&kind, &call.terms);
                call.read(quick, move |c| c.scim.list(&c.caller, Some(&kind), &c.terms))
                    .await
            };
            Ok(ScimResponse::Reply(answer?))
        }
        ScimRoute::Search(kind) if method == Method::POST => {
            let call = Call::begin(request, scim).await?;
            let body = body(request, payload).await?;
            let search = move |c: &Call| c.scim.search(&c.caller, kind.as_ref(), &body);
            Ok(ScimResponse::Reply(call.run(search).await?))
        }
        ScimRoute::Bulk if method == Method::POST => {
            let call = Call::begin(request, scim).await?;
            let body = limited_body(request, payload, bulk::LARGEST_PAYLOAD, bulk::too_large).await?;
            let text = body.clone();
            let bulk = move |c: &Call| c.scim.bulk(&c.caller, &body);
            Ok(ScimResponse::Reply(call.change(&text, bulk).await?))
        }
        ScimRoute::Me if method == Method::GET => {
            let (header, terms) = (authorization(request), terms(request)?);
            let scim = scim.into_inner();
            let me = blocking::read(false, move || scim.me(header.as_deref(), &terms));
            Ok(ScimResponse::Reply(me.await.unwrap_or_else(|| Err(internal()))?))
        }
        ScimRoute::Resource(target) if matches!(method, Method::GET | Method::PUT | Method::PATCH | Method::DELETE) => {
            let call = Call::begin(request, scim).await?;
            let answer = resource(call, &method, target, (request, payload)).await;
            Ok(ScimResponse::Reply(answer?))
        }
        _ => Err(ScimErrorResponse {
            error: ScimErrorKind::MethodNotAllowed
                .because("This method is not allowed here. The Allow header lists those that are."),
            allow: Some(allow),
        }),
    }
}

/// Handles GET, PUT, PATCH or DELETE of one resource.
async fn resource(
    call: Call,
    method: &Method,
    target: ResourceRef,
    (request, payload): (&HttpRequest, web::Payload),
) -> Result<Reply, ScimError> {
    match *method {
        Method::PUT => {
            let body = body(request, payload).await?;
            call.change(&body.clone(), move |c| {
                c.scim.replace(&c.caller, &target, &body, &c.terms)
            })
            .await
        }
        Method::PATCH => {
            let body = body(request, payload).await?;
            call.change(&body.clone(), move |c| {
                c.scim.patch(&c.caller, &target, &body, &c.terms)
            })
            .await
        }
        Method::DELETE => call.run(move |c| c.scim.delete(&c.caller, &target, &c.terms)).await,
        _ => {
            // Only users: reading a large group takes more than one lookup.
            let quick = target.kind == Kind::USER && call.scim.reads_are_quick();
            call.read(quick, move |c| c.scim.get(&c.caller, &target, &c.terms))
                .await
        }
    }
}

/// The caller and the request parameters, which every method needs.
struct Call {
    scim: Arc<Scim>,
    caller: Caller,
    terms: RequestOptions,
    /// How long the client waits.
    limit: Duration,
}

impl Call {
    /// Authenticates the caller before anything else is read.
    async fn begin(request: &HttpRequest, scim: web::Data<Scim>) -> Result<Self, ScimError> {
        let header = authorization(request);
        let scim = scim.into_inner();
        let authority = Arc::clone(&scim);
        let caller = if let Some(known) = authority.recognise(header.as_deref()) {
            known
        } else {
            let guess = Guess::begin(request).ok_or_else(|| {
                ScimErrorKind::TooManyGuesses.because("Too many wrong tokens come from this address. Try again later.")
            })?;
            let has_header = header.is_some();
            let quick = authority.authenticates_quickly();
            let work = blocking::read(quick, move || authority.authenticate(header.as_deref()));
            let caller = in_time(blocking::LIMIT, work).await?;
            let is_wrong = |error: &ScimError| error.fault == ScimErrorKind::Unauthorized;
            if matches!(&caller, Some(Err(error)) if is_wrong(error)) {
                // Without a header nobody tried anything.
                if has_header {
                    let recorder = Arc::clone(&scim);
                    blocking::run(move || recorder.record_refusal()).await;
                }
            } else {
                guess.forgive();
            }
            caller.unwrap_or_else(|| Err(internal()))?
        };
        let terms = terms(request)?;
        let limit = if request.path().ends_with("/Bulk") {
            blocking::BULK_LIMIT
        } else {
            blocking::LIMIT
        };
        Ok(Self {
            scim,
            caller,
            terms,
            limit,
        })
    }

    /// Runs a change. One with a password waits for its turn among those that hash passwords.
    async fn change(
        self,
        body: &web::Bytes,
        verb: impl FnOnce(&Self) -> Result<Reply, ScimError> + Send + 'static,
    ) -> Result<Reply, ScimError> {
        const PASSWORD: &[u8] = b"password";
        if !body
            .windows(PASSWORD.len())
            .any(|part| part.eq_ignore_ascii_case(PASSWORD))
        {
            return self.run(verb).await;
        }
        let limit = self.limit;
        let work = blocking::PASSWORDS.run(move || verb(&self));
        in_time(limit, work).await?.unwrap_or_else(|| Err(busy()))
    }

    async fn run(
        self,
        verb: impl FnOnce(&Self) -> Result<Reply, ScimError> + Send + 'static,
    ) -> Result<Reply, ScimError> {
        self.read(false, verb).await
    }

    async fn read(
        self,
        quick: bool,
        verb: impl FnOnce(&Self) -> Result<Reply, ScimError> + Send + 'static,
    ) -> Result<Reply, ScimError> {
        let limit = self.limit;
        let work = blocking::read(quick, move || verb(&self));
        in_time(limit, work).await?.unwrap_or_else(|| Err(internal()))
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, ScimError> {
    blocking::in_time(limit, work).await.ok_or_else(too_late)
}

fn authorization(request: &HttpRequest) -> Option<String> {
    let header = request.headers().get(header::AUTHORIZATION)?;
    Some(header.to_str().unwrap_or("unreadable").to_owned())
}

fn busy() -> ScimError {
    ScimErrorKind::Unavailable.because("The server is busy with other passwords. Try again shortly.")
}

fn too_late() -> ScimError {
    ScimErrorKind::Unavailable.because("The answer took too long. The request may still take effect.")
}

fn internal() -> ScimError {
    ScimErrorKind::Internal
        .because("Something went wrong here. The request id in the X-Request-Id header finds it in the log.")
}

/// Resolves a path. Segments are compared after decoding, one by one: no `..`, no empty segment after the first.
fn route(path: &str, scim: &Scim) -> Result<ScimRoute, ScimError> {
    let unknown = || ScimErrorKind::NotFound.because("There is nothing at this path.");
    let tail = path.strip_prefix("/scim").unwrap_or_default().trim_start_matches('/');
    let tail = tail.strip_suffix('/').unwrap_or(tail);
    let mut segments: Vec<String> = Vec::new();
    for segment in tail.split('/') {
        let decoded = percent_encoding::percent_decode_str(segment)
            .decode_utf8()
            .map_err(|_| unknown())?;
        segments.push(decoded.into_owned());
    }
    match segments.first().map(String::as_str) {
        Some("v2") => drop(segments.remove(0)),
        Some(version)
            if version.len() > 1 && version.starts_with('v') && version[1..].bytes().all(|b| b.is_ascii_digit()) =>
        {
            return Err(ScimErrorKind::InvalidVersion.because("This server speaks SCIM v2; use /scim/v2."));
        }
        _ => {}
    }
    // Clients may join a base URL that ends in a slash with `/Users`.
    let leading = segments.iter().take_while(|segment| segment.is_empty()).count();
    segments.drain(..leading);
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [] => Ok(ScimRoute::Root),
        ["ServiceProviderConfig" | "Schemas" | "ResourceTypes" | "openapi.json"] | ["Schemas" | "ResourceTypes", _] => {
            Ok(ScimRoute::Discovery(segments))
        }
        ["Me"] => Ok(ScimRoute::Me),
        ["Bulk"] => Ok(ScimRoute::Bulk),
        [".search"] => Ok(ScimRoute::Search(None)),
        [endpoint, ".search"] => {
            let kind = scim.kind_at(endpoint).ok_or_else(unknown)?;
            Ok(ScimRoute::Search(Some(kind)))
        }
        [endpoint] => scim.kind_at(endpoint).map(ScimRoute::Collection).ok_or_else(unknown),
        // No id has a null character, and not every database accepts one in a query.
        [endpoint, id] if !id.is_empty() && !id.contains('\0') => scim
            .kind_at(endpoint)
            .map(|kind| {
                ScimRoute::Resource(ResourceRef {
                    kind,
                    id: ResourceId::new(*id),
                })
            })
            .ok_or_else(unknown),
        _ => Err(unknown()),
    }
}

fn discovery(request: &HttpRequest, segments: &[String], scim: &Scim) -> Result<ScimResponse, ScimErrorResponse> {
    if url::form_urlencoded::parse(request.query_string().as_bytes())
        .any(|(name, _)| name.eq_ignore_ascii_case("filter"))
    {
        return Err(ScimErrorKind::Forbidden
            .because("Discovery endpoints take no filter (RFC 7644 §4).")
            .into());
    }
    let document = match segments {
        [only] if only == "openapi.json" => return Ok(ScimResponse::OpenApi(scim.openapi().to_owned())),
        [only] if only == "ServiceProviderConfig" => scim.service_provider_config().to_owned(),
        [only] if only == "Schemas" => scim.schemas(),
        [_, urn] if segments[0] == "Schemas" => scim.schema(urn)?,
        [_, name] => scim.one_resource_type(name)?,
        _ => scim.resource_types(),
    };
    Ok(ScimResponse::Document(document))
}

async fn body(request: &HttpRequest, payload: web::Payload) -> Result<web::Bytes, ScimError> {
    let too_large = || ScimErrorKind::TooLarge.because(format!("A body may have at most {LARGEST_BODY} bytes."));
    limited_body(request, payload, LARGEST_BODY, too_large).await
}

async fn limited_body(
    request: &HttpRequest,
    payload: web::Payload,
    largest: usize,
    too_large: impl Fn() -> ScimError,
) -> Result<web::Bytes, ScimError> {
    check_media_type(request.headers())?;
    if request
        .headers()
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding != "identity")
    {
        return Err(ScimErrorKind::MediaType.because("Send the body without a Content-Encoding."));
    }
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > largest as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(PATIENCE, payload.to_bytes_limited(largest)).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(_))) => Err(ScimErrorKind::InvalidSyntax.because("The body broke off.")),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(ScimErrorKind::Slow.because("The body took too long to arrive.")),
    }
}

/// Refuses only what is clearly not JSON: clients send no type, `text/json` and worse.
fn check_media_type(headers: &HeaderMap) -> Result<(), ScimError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value
        .to_str()
        .unwrap_or("")
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    if essence.is_empty() || essence.ends_with("json") || essence == "*/*" {
        Ok(())
    } else {
        Err(ScimErrorKind::MediaType.because("Send the body as application/scim+json."))
    }
}

/// Some clients ask only for `application/json` and accept nothing else.
fn wants_plain_json(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let types: Vec<&str> = accept
        .split(',')
        .map(|one| one.split(';').next().unwrap_or("").trim())
        .collect();
    types == ["application/json"]
}

fn builder(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.content_type("application/scim+json");
    response
}

fn reply_of(reply: Reply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = builder(status);
    if let Some(location) = reply.location {
        response.insert_header((header::LOCATION, location));
    }
    if let Some(etag) = reply.etag {
        response.insert_header((header::ETAG, etag));
    }
    if let Some(applied) = reply.applied {
        response.insert_header(("preference-applied", applied.as_str()));
    }
    match reply.body {
        Some(body) => response.body(body),
        None => response.finish(),
    }
}

/// The one place where a SCIM error becomes HTTP and its cause is logged.
fn error_of(error: &ScimError, allow: Option<&'static str>) -> HttpResponse {
    error.log();
    let (status, _) = error.fault.row();
    let mut response = builder(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    match error.fault {
        ScimErrorKind::Unauthorized => {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"scim\""));
        }
        ScimErrorKind::Unavailable => {
            response.insert_header((header::RETRY_AFTER, "1"));
        }
        _ => {}
    }
    if let Some(allow) = allow {
        response.insert_header((header::ALLOW, allow));
    }
    response.body(error.to_json().to_string())
}

fn finish(mut response: HttpResponse, plain_json: bool) -> HttpResponse {
    if plain_json {
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/json"),
        );
    }
    response
}
