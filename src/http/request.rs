//! Reading requests: bounded bodies, headers as they are, parameters each at most once.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use actix_web::web::{Bytes, BytesMut, Data, Payload};
use futures_core::Stream;
use serde::de::DeserializeOwned;

use crate::domain::record::Actor;
use crate::edge::Caller;
use crate::edge::authenticate::{Asking, Role};
use crate::edge::fault::Fault;
use crate::http::app::App;
use crate::oauth::credentials::{PresentedCredentials, bearer_token};
use crate::oauth::error::{ErrorCode, ErrorResponse};
use crate::oauth::form::Form;

/// Why a request cannot be read, or not be served.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The body is too long: 413.
    #[error("the body is too long")]
    TooLong,
    /// The body did not arrive in time: 408.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// Anything that the edge says.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<ErrorResponse> for Unread {
    fn from(error: ErrorResponse) -> Self {
        Self::Fault(Fault::Refused(error))
    }
}

/// Who sent the request: the peer, or who a trusted proxy says.
pub fn caller(request: &HttpRequest) -> Caller {
    let address = request.peer_addr().map(|peer| match request.app_data::<Data<App>>() {
        Some(app) => app.proxies.caller(peer.ip(), request.headers()),
        None => peer.ip(),
    });
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    Caller::new(address, agent.unwrap_or_default())
}

/// The whole body, within the bounds of size and time.
///
/// # Errors
/// [`Unread`]; what did arrive is dropped.
pub async fn body(app: &App, request: &HttpRequest, payload: Payload) -> Result<Bytes, Unread> {
    // Refused before a byte of it is read, where the head says how long it is.
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| (app.body_bytes_max as u64) < length) {
        return Err(Unread::TooLong);
    }
    come_again().await;
    let time = Duration::from_millis(app.body_timeout_ms);
    match tokio::time::timeout(time, gather(payload, app.body_bytes_max)).await {
        Ok(gathered) => gathered,
        Err(_) => Err(Unread::TooSlow),
    }
}

/// Lets the library hand on what it has of the body, which it does only once it has asked the handler
/// for the first time: most bodies are there then, and no timer is set up and taken down for them.
async fn come_again() {
    let mut was_asked = false;
    let asked = std::future::poll_fn(|context| {
        if std::mem::replace(&mut was_asked, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    });
    asked.await;
}

async fn gather(mut payload: Payload, bytes_max: usize) -> Result<Bytes, Unread> {
    let first = next(&mut payload).await?.unwrap_or_default();
    if bytes_max < first.len() {
        return Err(Unread::TooLong);
    }
    // Nearly always the first is all there is.
    let mut gathered = None;
    while let Some(chunk) = next(&mut payload).await? {
        let gathered = gathered.get_or_insert_with(|| BytesMut::from(first.as_ref()));
        if bytes_max < gathered.len() + chunk.len() {
            return Err(Unread::TooLong);
        }
        gathered.extend_from_slice(&chunk);
    }
    Ok(gathered.map_or(first, BytesMut::freeze))
}

async fn next(payload: &mut Payload) -> Result<Option<Bytes>, Unread> {
    let chunk = std::future::poll_fn(|context| Pin::new(&mut *payload).poll_next(context)).await;
    Ok(chunk.transpose().map_err(|_| {
        ErrorResponse::new(ErrorCode::InvalidRequest, "the body ended before its length")
    })?)
}

fn content_type(request: &HttpRequest) -> Option<&str> {
    request.headers().get(CONTENT_TYPE)?.to_str().ok()
}

fn authorization(request: &HttpRequest) -> Vec<&[u8]> {
    request.headers().get_all(AUTHORIZATION).map(|value| value.as_bytes()).collect()
}

/// Whether the request asks for `wanted` by name, and not for `usual` rather (RFC 9110 section
/// 12.5.1). Ranges such as `*/*` are content with the usual.
pub fn prefers(request: &HttpRequest, wanted: &str, usual: &str) -> bool {
    let accepted = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    let (mut best_wanted, mut best_usual) = (0, 0);
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let weight = weight.map_or(Some(1.0), |weight| weight.parse::<f32>().ok());
        // Thousandths, which is as fine as weights are; what is malformed weighs nothing.
        let weight = weight.map_or(0, |weight| (weight.clamp(0.0, 1.0) * 1000.0) as u32);
        if name.eq_ignore_ascii_case(wanted) {
            best_wanted = best_wanted.max(weight);
        } else if name.eq_ignore_ascii_case(usual) {
            best_usual = best_usual.max(weight);
        }
    }
    0 < best_wanted && best_usual <= best_wanted
}

/// The request of a client, read but not judged.
pub struct FormRequest<'a> {
    /// What it asks.
    pub form: Form,
    presented: PresentedCredentials,
    path: &'a str,
    caller: Caller,
}

impl FormRequest<'_> {
    /// Who asks, as it says.
    pub fn asking(&self) -> Asking<'_> {
        Asking { presented: &self.presented, path: self.path, caller: &self.caller }
    }

    /// Where it is.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// The form of a request, and the client that it names (RFC 6749 section 2.3). The client is to be
/// judged before anything else in the form.
///
/// # Errors
/// [`Unread`].
pub async fn form_request<'a>(
    app: &App,
    request: &'a HttpRequest,
    payload: Payload,
) -> Result<FormRequest<'a>, Unread> {
    let body = body(app, request, payload).await?;
    let form = Form::parse(content_type(request), &body)?;
    let presented = PresentedCredentials::from_request(&authorization(request), &form)?;
    // The addresses stand below the issuer's path, which its URL holds already.
    let path = request.path();
    let path = path.strip_prefix(app.edge.issuer.path()).unwrap_or(path);
    Ok(FormRequest { form, presented, path, caller: caller(request) })
}

/// The actor that a bearer token stands for, in `role`.
///
/// # Errors
/// [`Fault::Bearer`], [`Fault::Throttled`].
pub fn actor(app: &App, request: &HttpRequest, role: Role) -> Result<Actor, Fault> {
    let bearer = match bearer_token(&authorization(request)) {
        Ok(bearer) => bearer,
        Err(error) => return Err(Fault::Bearer { error: Some(error), scope: None }),
    };
    app.edge.authorize_bearer(bearer.as_ref(), role, &caller(request))
}

/// What serde complains of, without what the caller sent: it names members that are missing or
/// repeated, but quotes names and values that it does not know, and those may be secrets.
fn unquoted(complaint: &str) -> String {
    let quotes = ["unknown field", "unknown variant", "invalid type", "invalid value"];
    let Some(kind) = quotes.into_iter().find(|kind| complaint.starts_with(kind)) else {
        return complaint.to_owned();
    };
    // What was sent may hold this word too; what is ours comes after the last one.
    match complaint.rsplit_once("expected ") {
        Some((_, expected)) => format!("{kind}, expected {expected}"),
        None => kind.to_owned(),
    }
}

/// The JSON body of an administrative request.
///
/// # Errors
/// [`Unread`] for another content type, another shape, or an unknown member.
pub async fn json<T: DeserializeOwned>(
    app: &App,
    request: &HttpRequest,
    payload: Payload,
) -> Result<T, Unread> {
    let body = json_bytes(app, request, payload).await?;
    // serde would take an array for a struct, member by member.
    if body.trim_ascii_start().first() != Some(&b'{') {
        let what = "the body must be a JSON object";
        return Err(ErrorResponse::new(ErrorCode::InvalidRequest, what).into());
    }
    let read = serde_json::from_slice(&body).map_err(|error| {
        let what = format!("the JSON body: {}", unquoted(&error.to_string()));
        ErrorResponse::new(ErrorCode::InvalidRequest, what)
    })?;
    Ok(read)
}

/// The body of a request that must be JSON, unparsed.
///
/// # Errors
/// [`Unread`] for another content type.
pub async fn json_bytes(
    app: &App,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Bytes, Unread> {
    let is_json = content_type(request).is_some_and(|kind| {
        kind.split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    if !is_json {
        let what = "the body must be JSON: Content-Type: application/json";
        return Err(ErrorResponse::new(ErrorCode::InvalidRequest, what).into());
    }
    body(app, request, payload).await
}

/// The parameters of a query, each at most once.
///
/// # Errors
/// `invalid_request` for one that is unknown, repeated or malformed.
pub fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Fault> {
    use actix_web::error::QueryPayloadError;
    let read = actix_web::web::Query::<T>::from_query(request.query_string());
    read.map(actix_web::web::Query::into_inner).map_err(|error| {
        let what = match error {
            QueryPayloadError::Deserialize(error) => unquoted(&error.to_string()),
            _ => "it cannot be read".to_owned(),
        };
        Fault::refused(ErrorCode::InvalidRequest, format!("the query: {what}"))
    })
}
