//! Browser clients (RFC 7009 section 5 and the Fetch standard): pages of registered origins may read
//! the answers of the endpoints that clients need, and nobody else may read anything.

use serde_json::json;

use crate::support::server::{CALLBACK, Server};
use crate::support::wire::{Answer, Call};

/// The origin of [`CALLBACK`].
const ORIGIN: &str = "https://photos.example";
const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server/t";

/// The addresses that pages may call, with their methods.
const SHARED: [(&str, &str); 4] = [
    ("POST", "/t/oauth/token"),
    ("POST", "/t/oauth/revoke"),
    ("GET", "/t/oauth/jwks"),
    ("GET", WELL_KNOWN),
];

async fn preflight(server: &Server, url: String, origin: &str, method: &str) -> Answer {
    let call = Call::new("OPTIONS", url).header("origin", origin);
    let call = call.header("access-control-request-method", method);
    let call = call.header("access-control-request-headers", "authorization,content-type");
    server.wire.send(call).await
}

/// Every header of the protocol that an answer has.
fn granted(answer: &Answer) -> Vec<String> {
    let names = answer.headers.keys().map(|name| name.as_str().to_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("access-control-")).collect();
    names.sort();
    names
}

#[actix_web::test]
async fn v9_a_preflight_of_a_registered_origin_is_told_what_it_may_send() {
    assert!(CALLBACK.starts_with(&format!("{ORIGIN}/")));
    let server = Server::start().await;
    for (method, path) in SHARED {
        let answer = preflight(&server, server.public(path), ORIGIN, method).await.is(204);
        assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
        assert_eq!(answer.header("access-control-allow-methods"), method);
        assert_eq!(answer.header("access-control-allow-headers"), "Authorization, Content-Type");
        assert_eq!(answer.header("access-control-max-age"), "600");
        assert_eq!(answer.header("vary"), "Origin");
        assert_eq!(granted(&answer).len(), 4, "{answer:?}");
    }
}

#[actix_web::test]
async fn v9_an_origin_that_nobody_registered_gets_no_header() {
    let server = Server::start().await;
    for origin in [
        "https://evil.example",
        "http://photos.example",
        "https://photos.example:8443",
        "https://photos.example.evil.example",
        "null",
        "*",
        "",
    ] {
        for (method, path) in SHARED {
            let asked = preflight(&server, server.public(path), origin, method).await.is(204);
            let call = Call::new(method, server.public(path)).header("origin", origin);
            for answer in [asked, server.wire.send(call).await] {
                assert_eq!(granted(&answer), Vec::<String>::new(), "{origin} {path}");
                assert_eq!(answer.header("vary"), "Origin");
            }
        }
    }
}

#[actix_web::test]
async fn v9_a_page_reads_answers_and_errors_but_never_with_the_browsers_credentials() {
    let server = Server::start().await;
    for (method, path) in SHARED {
        let call = Call::new(method, server.public(path)).header("origin", ORIGIN);
        let answer = server.wire.send(call).await;
        assert_eq!(answer.header("access-control-allow-origin"), ORIGIN, "{path}");
        assert_eq!(answer.header("vary"), "Origin");
        let expected = ["access-control-allow-origin", "access-control-expose-headers"];
        assert_eq!(granted(&answer), expected, "{path}");
    }
    // Without an origin nothing is granted, but caches are told.
    let answer = server.wire.send(Call::new("GET", server.public(WELL_KNOWN))).await.is(200);
    assert_eq!((granted(&answer).len(), answer.header("vary")), (0, "Origin"));
}

#[actix_web::test]
async fn v9_origins_come_and_go_with_their_clients() {
    let server = Server::start().await;
    let url = || server.public("/t/oauth/token");
    let is_allowed = async |origin: &str| {
        let answer = preflight(&server, url(), origin, "POST").await.is(204);
        !granted(&answer).is_empty()
    };
    let page = "https://page.example:8443";
    assert!(!is_allowed(page).await);
    let metadata = json!({
        "client_id": "page", "grant_types": ["authorization_code"],
        "redirect_uris": [format!("{page}/callback"), "com.example.page:/callback"],
        "token_endpoint_auth_method": "none",
    });
    server.register(metadata).await;
    assert!(is_allowed(page).await);
    server.administer("POST", "/admin/clients/page/disable", None).await.is(200);
    assert!(!is_allowed(page).await);
    assert!(is_allowed(ORIGIN).await);
    server.administer("POST", "/admin/clients/page/enable", None).await.is(200);
    assert!(is_allowed(page).await);
    server.blacklist(json!({ "type": "client", "id": "page" })).await.is(201);
    assert!(!is_allowed(page).await);
}

#[actix_web::test]
async fn v9_introspection_and_the_administration_are_shared_with_no_page() {
    let server = Server::start().await;
    for url in [
        server.public("/t/oauth/introspect"),
        server.public("/healthz"),
        server.admin("/admin/clients"),
        server.admin("/audit/records"),
        server.admin("/metrics"),
    ] {
        let asked = preflight(&server, url.clone(), ORIGIN, "POST").await.is(405);
        let call = Call::new("GET", url).header("origin", ORIGIN).bearer(&server.admin_token);
        for answer in [asked, server.wire.send(call).await] {
            assert_eq!((granted(&answer).len(), answer.header("vary")), (0, ""), "{answer:?}");
        }
    }
}
