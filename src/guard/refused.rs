//! The answers of RFC 6750 section 3 to a request that is not let through. They hold nothing that
//! came with the request.

use std::fmt;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};

use crate::types::scope::Scope;

/// A request that is not let through; as an error of a handler it renders the whole answer.
#[derive(Debug, Clone)]
pub struct Refused {
    realm: Arc<str>,
    cause: Cause,
}

/// Why a request is not let through. The texts are what its client may read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// It has no bearer token at all.
    #[error("the request has no bearer token")]
    NoCredentials,
    /// The handler's route has no guard, so nobody looked at its token.
    #[error("the route has no guard")]
    NotGuarded,
    /// Its `Authorization` header is malformed, or there are two.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// Its token is not valid here and now.
    #[error("{0}")]
    InvalidToken(&'static str),
    /// Its token is valid, but does not allow this; the scope that would, where it is one.
    #[error("the access token does not have the scope that this needs")]
    InsufficientScope {
        /// Every scope token that is needed.
        required: Option<Scope>,
    },
    /// Whether its token is valid cannot be told now.
    #[error("the access token cannot be checked now; try again")]
    Unavailable {
        /// After how many seconds it may be worth trying again.
        retry_after_s: u32,
    },
}

impl Refused {
    pub(super) fn new(realm: Arc<str>, cause: Cause) -> Self {
        Self { realm, cause }
    }

    /// Why.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The challenge, each attribute once (RFC 6750 section 3); none where a token is not at fault.
    fn challenge(&self) -> Option<String> {
        let mut challenge = format!("Bearer realm=\"{}\"", self.realm);
        // Without credentials the client learns nothing but how to authenticate (section 3.1).
        if let Some(error) = self.cause.error_code() {
            challenge.push_str(&format!(", error=\"{error}\", error_description=\"{self}\""));
        }
        match &self.cause {
            Cause::InsufficientScope { required: Some(required) } => {
                challenge.push_str(&format!(", scope=\"{required}\""));
            }
            Cause::Unavailable { .. } => return None,
            Cause::NoCredentials
            | Cause::NotGuarded
            | Cause::InvalidRequest(_)
            | Cause::InvalidToken(_)
            | Cause::InsufficientScope { required: None } => {}
        }
        Some(challenge)
    }
}

impl Cause {
    /// The `error` of the answer; none when there were no credentials to be wrong.
    const fn error_code(&self) -> Option<&'static str> {
        match self {
            Self::NoCredentials | Self::NotGuarded => None,
            Self::InvalidRequest(_) => Some("invalid_request"),
            Self::InvalidToken(_) => Some("invalid_token"),
            Self::InsufficientScope { .. } => Some("insufficient_scope"),
            Self::Unavailable { .. } => Some("temporarily_unavailable"),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for Refused {}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        match self.cause {
            Cause::NoCredentials | Cause::NotGuarded | Cause::InvalidToken(_) => {
                StatusCode::UNAUTHORIZED
            }
            Cause::InvalidRequest(_) => StatusCode::BAD_REQUEST,
            Cause::InsufficientScope { .. } => StatusCode::FORBIDDEN,
            Cause::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        answer.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if let Some(challenge) = self.challenge() {
            // The realm was checked when the guard was made, and a scope has no other characters.
            let challenge = HeaderValue::from_str(&challenge)
                .unwrap_or_else(|_| HeaderValue::from_static("Bearer realm=\"api\""));
            answer.insert_header((WWW_AUTHENTICATE, challenge));
        }
        if let Cause::Unavailable { retry_after_s } = self.cause {
            answer.insert_header((RETRY_AFTER, retry_after_s));
        }
        match self.cause.error_code() {
            None => answer.finish(),
            Some(error) => answer.json(serde_json::json!({
                "error": error,
                "error_description": self.to_string(),
            })),
        }
    }
}
