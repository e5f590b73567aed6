//! The resource server's side: actix-web middleware that lets a request through only with a valid
//! bearer token (RFC 6750). It never lets one through when it cannot tell, and never shows a token.
//!
//! A [`Guard`] is made once and cloned into each worker; the clones share keys and cache. It checks
//! tokens in one of two ways:
//!
//! - [`Guard::by_jwks`] checks JWT access tokens (RFC 9068) offline, by the issuer's published
//!   keys. It is fast, and does not see a revocation before the token expires.
//! - [`Guard::by_introspection`] asks the issuer about each token (RFC 7662), of whatever format.
//!   It sees a revocation at once, and needs the issuer to answer.
//!
//! Wrap a scope or a resource in a guard; name the scope that it needs there, or ask for more in a
//! handler with [`AccessToken::require`](access::AccessToken::require). The token is taken from the
//! `Authorization` header alone: what stands in a query string or in a body is not looked at.
//!
//! | the request has | it is answered |
//! |---|---|
//! | no bearer token | 401 and a bare challenge |
//! | a malformed header, or two | 400 `invalid_request` |
//! | a token that is forged, foreign, expired, revoked or bound to a key | 401 `invalid_token` |
//! | a token whose scope is too narrow | 403 `insufficient_scope` |
//! | a token that cannot be judged now | 503 and `Retry-After` |
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use actix_web::{App, HttpServer, web};
//! use token_ledger::clock::SystemClock;
//! use token_ledger::guard::Guard;
//! use token_ledger::guard::access::AccessToken;
//! use token_ledger::guard::options::{GuardOptions, IntrospectionOptions, JwksOptions};
//! use token_ledger::guard::refused::Refused;
//! use token_ledger::types::secret::Secret;
//!
//! async fn list(access: AccessToken) -> String {
//!     format!("the photos of {}", access.subject().unwrap_or("nobody"))
//! }
//!
//! async fn remove(access: AccessToken) -> Result<&'static str, Refused> {
//!     access.require("photos.write")?;
//!     Ok("removed")
//! }
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let resource = "https://api.example.com/photos".parse()?;
//!     let options = GuardOptions::new("https://tokens.example.com", resource);
//!     let clock = Arc::new(SystemClock);
//!
//!     // Most routes can live with a revoked token until it expires, a few minutes later.
//!     let jwks = JwksOptions::new("https://tokens.example.com/oauth/jwks".parse()?);
//!     let offline = Guard::by_jwks(options.clone(), jwks, clock.clone())?;
//!     let read = offline.scope("photos.read")?;
//!
//!     // What cannot be undone asks the issuer each time.
//!     let introspection = IntrospectionOptions::new(
//!         "https://tokens.example.com/oauth/introspect".parse()?,
//!         "photos-api".parse()?,
//!         Secret::new(std::env::var("PHOTOS_API_SECRET")?),
//!     );
//!     let online = Guard::by_introspection(options, introspection, clock)?;
//!
//!     HttpServer::new(move || {
//!         App::new()
//!             .service(web::resource("/photos").wrap(read.clone()).get(list))
//!             .service(web::resource("/photos/{id}").wrap(online.clone()).delete(remove))
//!     })
//!     .bind("127.0.0.1:8090")?
//!     .run()
//!     .await?;
//!     Ok(())
//! }
//! ```

pub mod options;
pub mod access;
pub mod refused;
mod middleware;
mod credentials;
mod claims;
mod jwt;
mod keys;
mod jwks;
mod introspection;
mod cache;
mod fetch;

use std::sync::Arc;

use actix_web::HttpMessage;
use actix_web::dev::ServiceRequest;

use crate::clock::Clock;
use crate::types::scope::{NotAScope, Scope};

use access::{Access, AccessToken};
use claims::Expected;
use introspection::Introspector;
use keys::Keys;
use options::{GuardFault, GuardOptions, IntrospectionOptions, JwksOptions};
use refused::{Cause, Refused};

/// Lets requests with a valid access token through, and answers all others itself.
/// Cheap to clone; the clones share their keys, their cache and their connections.
#[derive(Clone)]
pub struct Guard {
    core: Arc<Core>,
    required: Scope,
}

/// What the clones of a guard share.
struct Core {
    method: Method,
    expected: Expected,
    realm: Arc<str>,
    clock: Arc<dyn Clock>,
}

/// How a token is judged.
enum Method {
    Jwks(Keys),
    Introspection(Box<Introspector>),
}

/// What a guard leaves with a request that it let through.
struct Admitted {
    by: Arc<Core>,
    access: AccessToken,
}

impl Guard {
    /// A guard that checks JWT access tokens (RFC 9068 section 4) by the keys at `jwks.jwks_uri`.
    /// Nothing is fetched before the first request.
    ///
    /// # Errors
    /// [`GuardFault`] names the option that does not fit; nothing was started.
    pub fn by_jwks(
        options: GuardOptions,
        jwks: JwksOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, GuardFault> {
        let keys = Keys::new(&options, jwks, Arc::clone(&clock))?;
        Self::new(options, Method::Jwks(keys), clock)
    }

    /// A guard that asks the issuer about every token (RFC 7662 section 2).
    ///
    /// # Errors
    /// [`GuardFault`] names the option that does not fit; nothing was started.
    pub fn by_introspection(
        options: GuardOptions,
        introspection: IntrospectionOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, GuardFault> {
        let introspector = Introspector::new(&options, introspection)?;
        Self::new(options, Method::Introspection(Box::new(introspector)), clock)
    }

    fn new(
        options: GuardOptions,
        method: Method,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, GuardFault> {
        options.check()?;
        let realm = options.realm.as_str().into();
        let expected = Expected::new(options);
        let core = Arc::new(Core { method, expected, realm, clock });
        Ok(Self { core, required: Scope::default() })
    }

    /// The same guard, which also wants every scope token of `required` (separated by spaces)
    /// beside those that it wanted before.
    ///
    /// # Errors
    /// [`NotAScope`]: `required` is not a scope of RFC 6749 section 3.3; correct the program.
    pub fn scope(&self, required: &str) -> Result<Self, NotAScope> {
        let more: Scope = required.parse()?;
        let required = if self.required.is_empty() {
            more
        } else if more.is_empty() {
            self.required.clone()
        } else {
            format!("{} {more}", self.required).parse()?
        };
        Ok(Self { core: Arc::clone(&self.core), required })
    }

    /// Judges the token of `request` and leaves what it says with the request.
    async fn admit(&self, request: &ServiceRequest) -> Result<(), Refused> {
        let access = match self.admitted_before(request) {
            Some(access) => access,
            None => {
                let access = self.core.judge(request).await;
                AccessToken::new(access.map_err(|c| self.refused(c))?, Arc::clone(&self.core.realm))
            }
        };
        if !self.required.is_within(access.scope()) {
            let required = Some(self.required.clone());
            return Err(self.refused(Cause::InsufficientScope { required }));
        }
        request.extensions_mut().insert(Admitted { by: Arc::clone(&self.core), access });
        Ok(())
    }

    /// What an outer wrap of this very guard has found: a route inside of it does not ask again.
    fn admitted_before(&self, request: &ServiceRequest) -> Option<AccessToken> {
        let extensions = request.extensions();
        let admitted = extensions.get::<Admitted>()?;
        Arc::ptr_eq(&admitted.by, &self.core).then(|| admitted.access.clone())
    }

    fn refused(&self, cause: Cause) -> Refused {
        Refused::new(Arc::clone(&self.core.realm), cause)
    }
}

impl Core {
    async fn judge(&self, request: &ServiceRequest) -> Result<Access, Cause> {
        let token = credentials::bearer_token(request.headers())?;
        match &self.method {
            Method::Jwks(keys) => {
                let claims = jwt::verify(keys, token).await?;
                self.expected.check(claims, self.clock.now())
            }
            Method::Introspection(introspector) => {
                let asked_at = self.clock.now();
                if let Some(access) = introspector.remembered(token, asked_at) {
                    return Ok(access);
                }
                let claims = introspector.introspect(token).await?;
                let access = self.expected.check(claims, self.clock.now())?;
                introspector.remember(token, &access, asked_at);
                Ok(access)
            }
        }
    }
}
