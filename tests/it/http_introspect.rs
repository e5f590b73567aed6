//! Introspection over HTTP (RFC 7662), and the metadata and keys (RFC 8414, RFC 7517), by the rows
//! of the conformance table.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use crate::support::server::{API, API2, ISSUER, NOW_S, Party, Server, photos};
use crate::support::wire::{Answer, Call};

const INACTIVE: &str = r#"{"active":false}"#;

#[actix_web::test]
async fn n1_e22_the_caller_proves_itself_before_the_token_is_looked_at() {
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
        let unnamed: Vec<_> = form.into_iter().filter(|(name, _)| *name == "token").collect();
        let call = Call::new("POST", &url).form(&unnamed).basic("api", "wrong");
        server.wire.send(call).await.fails_with(401, "invalid_client");
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
async fn n3_n4_n10_e23_e25_all_else_is_inactive_with_the_same_bytes() {
    let server = Server::start().await;
    let stranger = json!({ "client_id": "stranger", "resources": ["https://other.example"] });
    let stranger = server.register(stranger).await;
    let other = server.register(photos("other")).await;
    let (tokens, revoked) = (server.tokens("alice").await, server.tokens("bob").await);
    server.revoke(&server.photos, &revoked.refresh).await.is(200);
    let mut brief = photos("brief");
    brief["access_token_lifetime_s"] = json!(1);
    let brief = server.register(brief).await;
    let expired = server.tokens_of(&brief, "dora").await.access;
    server.clock.advance_s(1);
    let mut headers = Vec::new();
    let (_, code) = server.code(&server.photos, "carol").await;
    let long = "a".repeat(8000);
    for (asking, token) in [
        (&server.api, "garbage"),
        (&server.api, "a.b.c"),
        (&server.api, long.as_str()),
        (&server.api, &revoked.access),
        (&server.api, &expired),
        (&brief, &expired),
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
        let names = answer.headers.keys().map(|name| name.as_str().to_owned());
        headers.push(names.collect::<std::collections::BTreeSet<_>>());
    }
    assert!(headers.iter().all(|names| *names == headers[0]), "{headers:?}");
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
async fn n7_who_has_no_resource_introspects_nothing_of_others() {
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
async fn d1_d2_d3_a10_the_metadata_stands_after_the_well_known_path_and_names_every_endpoint() {
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
async fn d6_d8_metadata_and_keys_are_read_and_nothing_else() {
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
    for key in keys.json()["keys"].as_array().unwrap() {
        assert_eq!(key["use"], json!("sig"), "{key}");
    }
}

#[actix_web::test]
async fn n6_a_token_is_never_asked_about_in_a_url() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let url = server.public(&format!("/t/oauth/introspect?token={}", tokens.access));
    let secret = server.api.secret.as_deref().unwrap();
    let get = Call::new("GET", &url).basic("api", secret);
    let answer = server.wire.send(get).await;
    assert_eq!(answer.header("allow"), "POST");
    answer.fails_with(405, "invalid_request");
    let post = Call::new("POST", &url).form(&[]).basic("api", secret);
    server.wire.send(post).await.fails_with(400, "invalid_request");
}

const SIGNED: &str = "application/token-introspection+jwt";

async fn introspect_signed(server: &Server, client: &Party, token: &str, accept: &str) -> Answer {
    let call = server.ask("/oauth/introspect", client, &[("token", token)]);
    server.wire.send(call.header("accept", accept)).await.is(200).uncached()
}

/// The claims of a signed answer, checked as a resource server checks them.
async fn verified(server: &Server, client: &str, answer: &Answer) -> (Algorithm, Value) {
    assert_eq!(answer.header("content-type"), SIGNED);
    let header = decode_header(&answer.body).unwrap();
    assert_eq!(header.typ.as_deref(), Some("token-introspection+jwt"));
    let keys = server.wire.send(Call::new("GET", server.public("/t/oauth/jwks"))).await.is(200);
    let keys: JwkSet = serde_json::from_value(keys.json()).unwrap();
    let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut validation = Validation::new(header.alg);
    validation.set_required_spec_claims(&["iss", "aud"]);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[client]);
    validation.validate_exp = false;
    let claims = decode::<Value>(&answer.body, &key, &validation).unwrap().claims;
    (header.alg, claims)
}

#[actix_web::test]
async fn n11_a_signed_answer_says_what_the_plain_one_says_to_the_one_that_asked() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let plain = server.introspect(&server.api, &tokens.access).await.is(200).json();
    // RFC 9701 section 6: RS256, unless the resource server registered another one.
    let answer = introspect_signed(&server, &server.api, &tokens.access, SIGNED).await;
    let (alg, claims) = verified(&server, "api", &answer).await;
    assert_eq!(alg, Algorithm::RS256);
    let expected = json!({
        "iss": ISSUER, "aud": "api", "iat": NOW_S, "token_introspection": plain,
    });
    assert_eq!(claims, expected, "nothing else stands at the top, no sub and no exp");
    for (name, expected) in
        [("EdDSA", Algorithm::EdDSA), ("ES256", Algorithm::ES256), ("RS256", Algorithm::RS256)]
    {
        let body = json!({ "introspection_signed_response_alg": name });
        let changed = server.administer("PATCH", "/admin/clients/api", Some(body)).await.is(200);
        assert_eq!(changed.text("introspection_signed_response_alg"), name);
        let answer = introspect_signed(&server, &server.api, &tokens.access, SIGNED).await;
        let (alg, claims) = verified(&server, "api", &answer).await;
        assert_eq!((alg, &claims["token_introspection"]), (expected, &plain));
    }
    let none = json!({ "introspection_signed_response_alg": "none" });
    let answer = server.administer("PATCH", "/admin/clients/api", Some(none)).await;
    answer.fails_with(400, "invalid_client_metadata");
}

#[actix_web::test]
async fn n11_a_signed_answer_about_anything_else_says_inactive_and_nothing_more() {
    let server = Server::start().await;
    let stranger = json!({ "client_id": "stranger", "resources": ["https://other.example"] });
    let stranger = server.register(stranger).await;
    let tokens = server.tokens("alice").await;
    let mut bodies = Vec::new();
    for (asking, token) in [
        (&server.api, "garbage"),
        (&server.api, tokens.refresh.as_str()),
        (&server.api, &server.admin_token),
        (&stranger, &tokens.access),
    ] {
        let answer = introspect_signed(&server, asking, token, SIGNED).await;
        let (_, claims) = verified(&server, &asking.id, &answer).await;
        let expected = json!({
            "iss": ISSUER, "aud": asking.id, "iat": NOW_S,
            "token_introspection": { "active": false },
        });
        assert_eq!(claims, expected);
        bodies.push(answer.body);
    }
    // The same bytes to the same caller in the same second.
    assert!(bodies.iter().take(3).all(|body| *body == bodies[0]));
    // Whoever did not prove itself gets no signature.
    let call = Call::new("POST", server.public("/t/oauth/introspect")).header("accept", SIGNED);
    let call = call.form(&[("token", tokens.access.as_str())]).basic("api", "wrong");
    server.wire.send(call).await.fails_with(401, "invalid_client");
}

#[actix_web::test]
async fn n11_a_signed_answer_is_given_to_those_who_ask_for_it() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    for (accept, is_signed) in [
        ("application/token-introspection+jwt", true),
        ("Application/Token-Introspection+JWT", true),
        ("application/json;q=0.5, application/token-introspection+jwt", true),
        ("application/json, application/token-introspection+jwt", true),
        ("application/json, application/token-introspection+jwt;q=0.9", false),
        ("application/token-introspection+jwt; q=0", false),
        ("application/token-introspection+jwt;q=x", false),
        ("application/jwt", false),
        ("application/*", false),
        ("*/*", false),
        ("", false),
    ] {
        let answer = introspect_signed(&server, &server.api, &tokens.access, accept).await;
        let expected = if is_signed { SIGNED } else { "application/json" };
        assert_eq!(answer.header("content-type"), expected, "{accept}");
    }
}

#[actix_web::test]
async fn n11_a_signed_answer_is_no_access_token() {
    let server = Server::start().await;
    let body = json!({ "introspection_signed_response_alg": "EdDSA" });
    server.administer("PATCH", "/admin/clients/api", Some(body)).await.is(200);
    let answer = introspect_signed(&server, &server.api, &server.admin_token, SIGNED).await;
    assert!(!server.is_active(&answer.body).await);
    let call = Call::new("GET", server.admin("/admin/keys")).bearer(&answer.body);
    server.wire.send(call).await.fails_with(401, "invalid_token");
}

#[actix_web::test]
async fn d5_the_metadata_lists_what_signed_answers_may_be_signed_with() {
    let server = Server::start().await;
    let metadata = metadata(&server).await;
    let algorithms = json!(["EdDSA", "ES256", "RS256"]);
    assert_eq!(metadata["introspection_signing_alg_values_supported"], algorithms);
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
