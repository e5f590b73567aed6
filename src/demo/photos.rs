//! The resource server: an API that keeps photos behind two guards of this library.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Json};
use actix_web::{App, HttpServer};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::demo::error::DemoError;
use crate::guard::Guard;
use crate::guard::access::AccessToken;
use crate::guard::options::{GuardFault, GuardOptions, IntrospectionOptions, JwksOptions};
use crate::oauth::response::Metadata;
use crate::types::id::ClientId;
use crate::types::resource::Resource;
use crate::types::secret::Secret;

/// The route that is guarded offline.
pub(super) const PHOTOS: &str = "/photos";
/// The route whose guard asks the ledger each time.
pub(super) const PRIVATE: &str = "/private";
/// What a token must allow for either.
pub(super) const SCOPE: &str = "photos.read";

/// The two guards, one for each route.
#[derive(Clone)]
pub(super) struct Guards {
    offline: Guard,
    online: Guard,
}

impl Guards {
    /// Guards for the API at `api`, which takes the tokens of `issuer` and asks there as client
    /// `id`.
    ///
    /// # Errors
    /// [`DemoError::Guard`].
    pub(super) fn new(
        issuer: &str,
        api: &str,
        id: &ClientId,
        secret: Secret,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DemoError> {
        let uri = |path: &str| {
            format!("{issuer}{path}").parse().map_err(|_| GuardFault::Scheme("issuer"))
        };
        let resource: Resource = api.parse().map_err(|_| GuardFault::Scheme("resource"))?;
        let mut options = GuardOptions::new(issuer, resource);
        options.realm = "photos".to_owned();
        // Both servers have the same clock here, and an expiry is to be seen on the second.
        options.leeway_s = 0;
        let jwks = JwksOptions::new(uri(Metadata::JWKS_PATH)?);
        let introspection =
            IntrospectionOptions::new(uri(Metadata::INTROSPECTION_PATH)?, id.clone(), secret);
        let offline = Guard::by_jwks(options.clone(), jwks, Arc::clone(&clock))?;
        let online = Guard::by_introspection(options, introspection, clock)?;
        let needing = |guard: Guard| guard.scope(SCOPE).expect("one scope token is a scope");
        Ok(Self { offline: needing(offline), online: needing(online) })
    }
}

/// Serves the API on `socket` until it is told to stop.
///
/// # Errors
/// When the socket cannot be served.
pub(super) fn serve(socket: TcpListener, guards: Guards) -> std::io::Result<ServerHandle> {
    let server = HttpServer::new(move || {
        let photos = web::resource(PHOTOS).wrap(guards.offline.clone()).get(list);
        let private = web::resource(PRIVATE).wrap(guards.online.clone()).get(list_private);
        App::new().service(photos).service(private)
    });
    let server = server.workers(1).disable_signals().shutdown_timeout(5).listen(socket)?.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok(handle)
}

async fn list(access: AccessToken) -> Json<Value> {
    Json(json!({ "photos_of": access.subject(), "photos": ["beach.jpg", "cake.jpg"] }))
}

async fn list_private(access: AccessToken) -> Json<Value> {
    Json(json!({ "photos_of": access.subject(), "photos": ["passport.jpg"] }))
}
