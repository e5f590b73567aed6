//! Introspection over HTTP (RFC 7662), and the metadata and keys (RFC 8414, RFC 7517), by the rows
//! of the conformance table.

use serde_json::{Value, json};

use crate::support::server::{API, API2, ISSUER, NOW_S, Server, photos};
use crate::support::wire::Call;

const INACTIVE: &str = r#"{"active":false}"#;

#[actix_web::test]
async fn n1_the_caller_proves_itself_before_the_token_is_looked_at() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let url = server.public("/t/oauth/introspect");
    for form in [
        vec![("token", tokens.access.as_str())],
        vec![("token", "garbage")],
        vec![],
        vec![("token", tokens.access.as_str()), ("client_id", "photos")],
    ] {
        server
            .wire
            .send(Call::new("POST", &url).form(&form))
            .await
            .fails_with(401, "invalid_client");
        let call = Call::new("POST", &url).form(&form).basic("api", "wrong");
        server.wire.send(call).await;
    }
    let mut native = photos("native");
    native["token_endpoint_auth_method"] = json!("none");
    let native = server.register(native).await;
    server.introspect(&native, &tokens.access).await.fails_with(401, "invalid_client");
    let call = server.ask("/oauth/introspect", &server.api, &[]);
    server.wire.send(call).await.fails_with(400, "invalid_request");
}

#[actix_web::test]
async fn n2_n8_an_active_token_is_explained_and_the_answer_is_not_kept() {
    let server = Server::start().await;
    let mut opaque = photos("opaque");
    opaque["access_token_format"] = json!("opaque");
    let opaque = server.register(opaque).await;
    for client in [&server.photos, &opaque] {
        let tokens = server.tokens_of(client, "alice").await;
        for asking in [&server.api, client] {
            let answer = server.introspect(asking, &tokens.access).await.is(200).uncached();
            let body = answer.json();
            assert_eq!(body["active"], json!(true));
            assert_eq!(body["scope"], json!("read write"));
            assert_eq!(body["client_id"], json!(client.id));
            assert_eq!(body["token_type"], json!("Bearer"));
            assert_eq!((&body["iat"], &body["exp"]), (&json!(NOW_S), &json!(NOW_S + 3600)));
            assert_eq!(body["sub"], json!("alice"));
            assert_eq!(body["iss"], json!(ISSUER));
            assert_eq!(body["aud"], json!([API, API2]));
            assert_eq!(body.get("jti").is_some(), client.id == "photos");
        }
    }
}

#[actix_web::test]
async fn n3_n4_n10_all_else_is_inactive_with_the_same_bytes() {
    let server = Server::start().await;
    let stranger = json!({ "client_id": "stranger", "resources": ["https://other.example"] });
    let stranger = server.register(stranger).await;
    let other = server.register(photos("other")).await;
    let (tokens, revoked) = (server.tokens("alice").await, server.tokens("bob").await);
    server.revoke(&server.photos, &revoked.refresh).await.is(200);
    let (_, code) = server.code(&server.photos, "carol").await;
    let long = "a".repeat(8000);
    for (asking, token) in [
        (&server.api, "garbage"),
        (&server.api, "a.b.c"),
        (&server.api, long.as_str()),
        (&server.api, &revoked.access),
        (&server.photos, &revoked.refresh),
        (&stranger, &tokens.access),
        (&server.api, &tokens.refresh),
        (&other, &tokens.refresh),
        (&server.photos, &code),
        (&server.api, server.administrator.secret.as_deref().unwrap()),
        (&server.api, &server.admin_token),
    ] {
        let answer = server.introspect(asking, token).await.is(200).uncached();
        assert_eq!(answer.body, INACTIVE, "{} {token}", asking.id);
        assert_eq!(answer.header("content-type"), "application/json");
    }
    let body = server.introspect(&server.photos, &tokens.refresh).await.is(200).json();
    assert_eq!((&body["active"], body.get("token_type")), (&json!(true), None));
    let next = server.refreshed(&tokens).await;
    assert_eq!(server.introspect(&server.photos, &tokens.refresh).await.body, INACTIVE);
    assert_ne!(server.introspect(&server.photos, &next.refresh).await.body, INACTIVE);
    // Another client of the same resource may ask about the access token.
    assert!(server.introspect(&other, &tokens.access).await.json()["active"] == json!(true));
}

#[actix_web::test]
async fn n5_a_wrong_hint_changes_nothing() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    for hint in ["refresh_token", "nonsense"] {
        let form = [("token", tokens.access.as_str()), ("token_type_hint", hint)];
        let answer = server.wire.send(server.ask("/oauth/introspect", &server.api, &form)).await;
        assert_eq!(answer.is(200).json()["active"], json!(true));
    }
}

#[actix_web::test]
async fn a_client_that_is_disabled_or_blacklisted_learns_nothing() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    server.administer("POST", "/admin/clients/api/disable", None).await.is(200);
    assert_eq!(server.introspect(&server.api, &tokens.access).await.is(200).body, INACTIVE);
    server.administer("POST", "/admin/clients/api/enable", None).await.is(200);
    assert!(server.is_active(&tokens.access).await);
    server.blacklist(json!({ "type": "client", "id": "api" })).await.is(201);
    assert_eq!(server.introspect(&server.api, &tokens.access).await.is(200).body, INACTIVE);
}

#[actix_web::test]
async fn a_person_without_resources_of_their_own_introspects_nothing_of_others() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let answer = server.introspect(&server.administrator, &tokens.access).await.is(200);
    assert_eq!(answer.body, INACTIVE);
}

async fn metadata(server: &Server) -> Value {
    let path = "/.well-known/oauth-authorization-server/t";
    let answer = server.wire.send(Call::new("GET", server.public(path))).await.is(200);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

#[actix_web::test]
async fn d1_d2_d3_d7_the_metadata_stands_after_the_well_known_path_and_names_every_endpoint() {
    let server = Server::start().await;
    let metadata = metadata(&server).await;
    assert_eq!(metadata["issuer"], json!(ISSUER));
    for (member, path) in [
        ("token_endpoint", "/oauth/token"),
        ("revocation_endpoint", "/oauth/revoke"),
        ("introspection_endpoint", "/oauth/introspect"),
        ("jwks_uri", "/oauth/jwks"),
    ] {
        assert_eq!(metadata[member], json!(format!("{ISSUER}{path}")), "{member}");
    }
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]);
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], methods);
    for endpoint in ["token", "revocation", "introspection"] {
        let algorithms =
            &metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")];
        assert_eq!(algorithms, &json!(["EdDSA", "Ed25519", "ES256", "RS256"]), "{endpoint}");
    }
    for absent in [
        "/.well-known/oauth-authorization-server",
        "/t/.well-known/oauth-authorization-server",
        "/oauth/token",
    ] {
        let answer = server.wire.send(Call::new("GET", server.public(absent))).await;
        answer.fails_with(404, "not_found");
    }
}

#[actix_web::test]
async fn d4_d8_metadata_and_keys_are_read_and_nothing_else() {
    let server = Server::start().await;
    for path in ["/.well-known/oauth-authorization-server/t", "/t/oauth/jwks"] {
        let answer = server.wire.send(Call::new("GET", server.public(path))).await.is(200);
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
        for method in ["POST", "PUT", "DELETE"] {
            let answer = server.wire.send(Call::new(method, server.public(path))).await;
            assert_eq!(answer.header("allow"), "GET");
            answer.fails_with(405, "invalid_request");
        }
    }
    let keys = server.wire.send(Call::new("GET", server.public("/t/oauth/jwks"))).await;
    assert!(!keys.body.contains("\"d\""), "a private key is published: {keys:?}");
}

#[actix_web::test]
async fn the_public_listener_serves_no_administration_and_no_metrics() {
    let server = Server::start().await;
    for path in ["/admin/clients", "/audit/records", "/metrics", "/t/admin/clients"] {
        let call = Call::new("GET", server.public(path)).bearer(&server.admin_token);
        server.wire.send(call).await.fails_with(404, "not_found");
    }
    for path in ["/healthz", "/readyz"] {
        server.wire.send(Call::new("GET", server.public(path))).await.is(200);
        server.wire.send(Call::new("GET", server.admin(path))).await.is(200);
    }
    let call = Call::new("POST", server.admin("/t/oauth/token")).form(&[]);
    server.wire.send(call).await.fails_with(404, "not_found");
}
