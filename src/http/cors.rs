//! Cross-origin requests of browser clients, by the protocol of the Fetch standard: allowed for the
//! origins of registered redirect URIs, and never with credentials that a browser keeps. What is
//! allowed here is only to read an answer; who may ask is judged elsewhere, as for everybody.
//!
//! It is our own because the usual middleware answers refusals in plain text, with codes of its own.

use std::collections::HashSet;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpResponse, Route};
use parking_lot::RwLock;
use url::Url;

use crate::domain::state::State;
use crate::edge::Edge;
use crate::http::app::App;
use crate::http::server::resource;
use crate::types::id::Seq;

/// What a client sends beside what a browser lets every page send.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type";
/// What a client may read of an answer beside its body.
const EXPOSED_HEADERS: &str = "Retry-After, WWW-Authenticate";
/// For how many seconds a browser may keep the answer to a preflight.
const MAX_AGE_S: &str = "600";

/// The origins of the redirect URIs of all clients that are enabled, as of the last change of a
/// client; as many at the most as there are redirect URIs.
#[derive(Default)]
pub struct Origins(RwLock<Known>);

#[derive(Default)]
struct Known {
    /// The newest record about a client that is accounted for.
    as_of: Option<Seq>,
    origins: HashSet<String>,
}

impl Origins {
    /// Whether `origin`, as a browser writes it, is that of a client.
    fn allow(&self, origin: &str, edge: &Edge) -> bool {
        let newest = edge.ledger.state().control().last().copied();
        {
            let known = self.0.read();
            if known.as_of == newest {
                return known.origins.contains(origin);
            }
        }
        let read = {
            let state = edge.ledger.state();
            Known { as_of: state.control().last().copied(), origins: registered(&state) }
        };
        let allowed = read.origins.contains(origin);
        *self.0.write() = read;
        allowed
    }
}

fn registered(state: &State) -> HashSet<String> {
    let clients = state.clients().into_iter();
    let enabled = clients.filter(|client| !client.disabled && !client.ban.is_in_force());
    let uris = enabled.flat_map(|client| client.metadata.redirect_uris.iter());
    uris.filter_map(|uri| origin_of(uri.as_str())).collect()
}

/// Scheme, host and port; none for the private-use schemes of apps, which no page is loaded from.
fn origin_of(uri: &str) -> Option<String> {
    let origin = Url::parse(uri).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

/// One address with one method that pages of registered origins may call.
pub fn shared_route(config: &mut ServiceConfig, path: &str, allowed: &'static str, route: Route) {
    let share =
        from_fn(move |request: ServiceRequest, next: Next<BoxBody>| share(request, next, allowed));
    config.service(resource(path, allowed, vec![route]).wrap(share));
}

async fn share(
    request: ServiceRequest,
    next: Next<BoxBody>,
    methods: &'static str,
) -> Result<ServiceResponse, actix_web::Error> {
    let origin = allowed_origin(&request);
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight {
        let mut answer = HttpResponse::build(StatusCode::NO_CONTENT);
        if origin.is_some() {
            answer.insert_header((ACCESS_CONTROL_ALLOW_METHODS, methods));
            answer.insert_header((ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS));
            answer.insert_header((ACCESS_CONTROL_MAX_AGE, MAX_AGE_S));
        }
        request.into_response(answer.finish())
    } else {
        next.call(request).await?
    };
    let headers: &mut HeaderMap = response.headers_mut();
    // Also without an origin: a cache must not give one page the answer to another.
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if !is_preflight {
            let exposed = HeaderValue::from_static(EXPOSED_HEADERS);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
    Ok(response)
}

/// The one origin that the request names, where it is a client's.
fn allowed_origin(request: &ServiceRequest) -> Option<HeaderValue> {
    let mut named = request.headers().get_all(ORIGIN);
    let origin = named.next().filter(|_| named.next().is_none())?;
    let app = request.app_data::<Data<App>>()?;
    app.origins.allow(origin.to_str().ok()?, &app.edge).then(|| origin.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_as_a_browser_writes_them() {
        for (uri, origin) in [
            ("https://App.example:443/cb?x=1", Some("https://app.example")),
            ("https://app.example:8443/cb", Some("https://app.example:8443")),
            ("http://127.0.0.1:7777/cb", Some("http://127.0.0.1:7777")),
            ("http://[::1]/cb", Some("http://[::1]")),
            ("com.example.app:/cb", None),
        ] {
            assert_eq!(origin_of(uri).as_deref(), origin, "{uri}");
        }
    }
}
