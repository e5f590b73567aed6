//! Rendering answers: statuses, headers, and the JSON of errors (RFC 6749 section 5.2).

use std::future::Future;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use crate::edge::fault::Fault;
use crate::http::request::Unread;
use crate::ledger::vault::VaultError;
use crate::oauth::error::{ErrorCode, ErrorResponse, basic_challenge, bearer_challenge};

/// The protection space that challenges name (RFC 7235 section 2.2).
const REALM: &str = "token-ledger";
/// After how many seconds a client may come back once the ledger was too busy.
const RETRY_AFTER_S: &str = "1";
/// What nearly all answers are.
const JSON: &str = "application/json";
/// Room for most answers, tokens included.
const JSON_BYTES_USUAL: usize = 1024;

/// Runs a handler and renders what it could not do.
pub async fn answer(run: impl Future<Output = Result<HttpResponse, Unread>>) -> HttpResponse {
    match run.await {
        Ok(response) => response,
        Err(unread) => refusal(&unread),
    }
}

/// A response that no cache may keep: RFC 6749 section 5.1 asks for both headers.
pub fn uncached(status: StatusCode) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(status);
    builder
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .insert_header((PRAGMA, HeaderValue::from_static("no-cache")));
    builder
}

/// A JSON answer that no cache may keep.
pub fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    let mut bytes = Vec::with_capacity(JSON_BYTES_USUAL);
    match serde_json::to_writer(&mut bytes, body) {
        Ok(()) => json_bytes(status, bytes),
        Err(_) => refusal(&Unread::Fault(Fault::Broken("an answer does not serialise"))),
    }
}

/// An answer of JSON bytes that no cache may keep.
pub fn json_bytes(status: StatusCode, body: impl Into<actix_web::web::Bytes>) -> HttpResponse {
    uncached(status).insert_header((CONTENT_TYPE, HeaderValue::from_static(JSON))).body(body.into())
}

/// What the caller is told; what the operator must know goes to the log.
pub fn refusal(unread: &Unread) -> HttpResponse {
    match unread {
        Unread::TooLong => error_with(
            StatusCode::PAYLOAD_TOO_LARGE,
            &ErrorResponse::new(ErrorCode::InvalidRequest, "the body is too long"),
        )
        // What is left of the body must not be taken for the next request.
        .closing()
        .finish_with(),
        Unread::TooSlow => error_with(
            StatusCode::REQUEST_TIMEOUT,
            &ErrorResponse::new(ErrorCode::InvalidRequest, "the body took too long to arrive"),
        )
        .closing()
        .finish_with(),
        Unread::Fault(fault) => fault_response(fault),
    }
}

fn fault_response(fault: &Fault) -> HttpResponse {
    match fault {
        Fault::Refused(error) => error_with(status_of(error), error).finish_with(),
        Fault::Unauthenticated { basic } => {
            let what = "the client is unknown or did not prove who it is";
            let error = ErrorResponse::new(ErrorCode::InvalidClient, what);
            let mut rendered = error_with(StatusCode::UNAUTHORIZED, &error);
            if *basic {
                rendered.header(WWW_AUTHENTICATE.as_str(), &basic_challenge(REALM));
            }
            rendered.finish_with()
        }
        Fault::Bearer { error, scope } => {
            let challenge = bearer_challenge(REALM, error.as_ref(), scope.as_ref());
            let mut rendered = match error {
                Some(error) => error_with(status_of(error), error),
                None => Rendered::empty(StatusCode::UNAUTHORIZED),
            };
            rendered.header(WWW_AUTHENTICATE.as_str(), &challenge);
            rendered.finish_with()
        }
        Fault::Throttled { retry_after_s } => {
            // The same for clients that exist and for those that do not.
            let what = "too many attempts from this address failed: wait as Retry-After says";
            let error = ErrorResponse::new(ErrorCode::TemporarilyUnavailable, what);
            let mut rendered = error_with(StatusCode::TOO_MANY_REQUESTS, &error);
            rendered.header(RETRY_AFTER.as_str(), &retry_after_s.to_string());
            rendered.finish_with()
        }
        Fault::Unavailable(reason) => unavailable(&reason.to_string()),
        Fault::Vault(reason @ VaultError::NoRoom) => unavailable(&reason.to_string()),
        Fault::Unsigned(reason) => {
            tracing::error!(%reason, "no checkpoint can be given");
            unavailable("no checkpoint is signed at present; an operator must look at it")
        }
        Fault::Log(_) | Fault::Tree(_) | Fault::Vault(_) | Fault::Keys(_) | Fault::Broken(_) => {
            // The detail is for the operator only (RFC 7009 section 2.2.1 for the status).
            tracing::error!(error = %fault, "a request could not be served");
            unavailable("the ledger cannot serve this at present; an operator must look at it")
        }
    }
}

fn unavailable(what: &str) -> HttpResponse {
    let error = ErrorResponse::new(ErrorCode::TemporarilyUnavailable, what.to_owned());
    let mut rendered = error_with(StatusCode::SERVICE_UNAVAILABLE, &error);
    rendered.header(RETRY_AFTER.as_str(), RETRY_AFTER_S);
    rendered.finish_with()
}

fn status_of(error: &ErrorResponse) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST)
}

struct Rendered {
    builder: HttpResponseBuilder,
    body: Vec<u8>,
}

fn error_with(status: StatusCode, error: &ErrorResponse) -> Rendered {
    let mut builder = uncached(status);
    builder.insert_header((CONTENT_TYPE, HeaderValue::from_static(JSON)));
    let body = serde_json::to_vec(error).unwrap_or_else(|_| br#"{"error":"server_error"}"#.into());
    Rendered { builder, body }
}

impl Rendered {
    fn empty(status: StatusCode) -> Self {
        Self { builder: uncached(status), body: Vec::new() }
    }

    fn header(&mut self, name: &str, value: &str) {
        self.builder.insert_header((name, value));
    }

    fn closing(mut self) -> Self {
        self.builder.force_close();
        self
    }

    fn finish_with(mut self) -> HttpResponse {
        self.builder.body(std::mem::take(&mut self.body))
    }
}

/// The answer to a method that an address does not take.
pub async fn method_not_allowed(request: HttpRequest, allowed: &'static str) -> HttpResponse {
    let _ = request;
    let what = "this address takes another method: see the Allow header";
    let error = ErrorResponse::new(ErrorCode::InvalidRequest, what);
    let mut rendered = error_with(StatusCode::METHOD_NOT_ALLOWED, &error);
    rendered.header(ALLOW.as_str(), allowed);
    rendered.finish_with()
}

/// The same for an address whose parts are not text.
pub fn not_found_error() -> actix_web::Error {
    actix_web::error::InternalError::from_response("", nothing_here()).into()
}

/// The answer to an address that is not served.
pub async fn not_found() -> HttpResponse {
    nothing_here()
}

fn nothing_here() -> HttpResponse {
    let what = "there is nothing at this address";
    error_with(StatusCode::NOT_FOUND, &ErrorResponse::new(ErrorCode::NotFound, what)).finish_with()
}
