//! What a handler learns of the token that let its request in. Never the token itself.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use crate::types::id::ClientId;
use crate::types::scope::Scope;
use crate::types::time::Timestamp;

use super::Admitted;
use super::refused::{Cause, Refused};

/// What a valid access token says. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Access(Arc<Facts>);

/// The claims that handlers may see.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) subject: Option<Box<str>>,
    pub(super) client_id: Option<ClientId>,
    pub(super) scope: Scope,
    pub(super) jti: Option<Box<str>>,
    pub(super) expires_at: Timestamp,
}

impl Access {
    pub(super) fn new(facts: Facts) -> Self {
        Self(Arc::new(facts))
    }

    pub(super) fn expires_at(&self) -> Timestamp {
        self.0.expires_at
    }
}

/// The access token of the request, as an extractor. On a route that no guard is wrapped around it
/// answers 401 and logs an error, so a forgotten guard closes the route instead of opening it.
#[derive(Debug, Clone)]
pub struct AccessToken {
    access: Access,
    realm: Arc<str>,
}

impl AccessToken {
    pub(super) fn new(access: Access, realm: Arc<str>) -> Self {
        Self { access, realm }
    }

    /// The resource owner, or the client acting for itself (`sub`). A JWT access token always has
    /// one (RFC 9068 section 2.2); an introspection answer may leave it out (RFC 7662 section 2.2).
    pub fn subject(&self) -> Option<&str> {
        self.access.0.subject.as_deref()
    }

    /// The client that the token was issued to; as with `sub`, always there for a JWT.
    pub fn client_id(&self) -> Option<&ClientId> {
        self.access.0.client_id.as_ref()
    }

    /// What the token allows; empty when it names no scope.
    pub fn scope(&self) -> &Scope {
        &self.access.0.scope
    }

    /// The identifier of the token, for logs; as with `sub`, always there for a JWT.
    pub fn jti(&self) -> Option<&str> {
        self.access.0.jti.as_deref()
    }

    /// From when on the token is no longer valid, without any leeway.
    pub fn expires_at(&self) -> Timestamp {
        self.access.0.expires_at
    }

    /// Whether the token allows every scope token of `required` (separated by spaces).
    ///
    /// # Errors
    /// [`Refused`], which answers 403 `insufficient_scope` and names what is required
    /// (RFC 6750 section 3.1). A text that is not a scope is allowed by no token.
    pub fn require(&self, required: &str) -> Result<(), Refused> {
        let required = match required.parse::<Scope>() {
            Ok(required) if required.is_within(self.scope()) => return Ok(()),
            Ok(required) => Some(required),
            Err(fault) => {
                tracing::error!(required, %fault, "a handler requires what is not a scope");
                None
            }
        };
        let cause = Cause::InsufficientScope { required };
        Err(Refused::new(Arc::clone(&self.realm), cause))
    }
}

impl FromRequest for AccessToken {
    type Error = Refused;
    type Future = Ready<Result<Self, Refused>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let admitted = request.extensions().get::<Admitted>().map(|found| found.access.clone());
        ready(admitted.ok_or_else(|| {
            let route = request.match_pattern().unwrap_or_default();
            tracing::error!(route, "a handler takes an AccessToken but its route has no guard");
            Refused::new("api".into(), Cause::NotGuarded)
        }))
    }
}
