//! The token endpoint over HTTP: its wire rules, and client credentials (RFC 6749 sections 3.2, 4.4
//! and 5, RFC 8707, RFC 9068). Rows as in the conformance table.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::server::{API, API2, ISSUER, NOW_S, Server};
use crate::support::wire::{Call, FORM};

const CLIENT_CREDENTIALS: [(&str, &str); 1] = [("grant_type", "client_credentials")];

fn job(id: &str) -> Value {
    json!({
        "client_id": id, "grant_types": ["client_credentials"], "scope": "read write",
        "resources": [API, API2],
    })
}

#[actix_web::test]
async fn w1_token_endpoint_takes_only_post() {
    let server = Server::start().await;
    for path in ["/t/oauth/token", "/t/oauth/revoke", "/t/oauth/introspect"] {
        for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let answer = server.wire.send(Call::new(method, server.public(path))).await;
            assert_eq!(answer.header("allow"), "POST", "{method} {path}");
            answer.fails_with(405, "invalid_request");
        }
        let head = server.wire.send(Call::new("HEAD", server.public(path))).await;
        assert_eq!((head.status, head.header("allow")), (405, "POST"));
    }
}

#[actix_web::test]
async fn w1_credentials_in_the_query_are_not_read() {
    let server = Server::start().await;
    let secret = server.administrator.secret.as_deref().unwrap();
    let url = server.public(&format!(
        "/t/oauth/token?client_id={}&client_secret={secret}&grant_type=client_credentials",
        server.administrator.id
    ));
    server.wire.send(Call::new("POST", &url).form(&[])).await.fails_with(401, "invalid_client");
    let form = CLIENT_CREDENTIALS;
    server.wire.send(Call::new("POST", url).form(&form)).await.fails_with(401, "invalid_client");
}

#[actix_web::test]
async fn w2_another_content_type_is_an_invalid_request() {
    let server = Server::start().await;
    let ask = || server.ask("/oauth/token", &server.administrator, &[]);
    let url = server.public("/t/oauth/token");
    for kind in ["application/json", "text/plain", "multipart/form-data; boundary=x", ""] {
        let call = Call::new("POST", &url).body(kind, "grant_type=client_credentials");
        server.wire.send(call).await.fails_with(400, "invalid_request");
    }
    let latin = format!("{FORM}; charset=iso-8859-1");
    let call = Call::new("POST", &url).body(&latin, "grant_type=client_credentials");
    server.wire.send(call).await.fails_with(400, "invalid_request");
    server.wire.send(ask()).await.fails_with(400, "invalid_request");
}

#[actix_web::test]
async fn w3_an_empty_parameter_is_one_that_was_not_sent() {
    let server = Server::start().await;
    let job = server.register(job("job")).await;
    let form = [CLIENT_CREDENTIALS[0], ("scope", ""), ("resource", "")];
    assert_eq!(server.token(&job, &form).await.is(200).text("scope"), "read write");
    let form = [("grant_type", "refresh_token"), ("refresh_token", "")];
    server.token(&server.photos, &form).await.fails_with(400, "invalid_request");
    server.token(&job, &[("grant_type", "")]).await.fails_with(400, "invalid_request");
}

#[actix_web::test]
async fn w4_an_unknown_parameter_is_ignored() {
    let server = Server::start().await;
    let form = [CLIENT_CREDENTIALS[0], ("foo", "bar"), ("baz", "")];
    server.token(&server.administrator, &form).await.is(200);
}

#[actix_web::test]
async fn w5_e36_a_repeated_parameter_is_an_invalid_request() {
    let server = Server::start().await;
    let twice = [CLIENT_CREDENTIALS[0], CLIENT_CREDENTIALS[0]];
    server.token(&server.administrator, &twice).await.fails_with(400, "invalid_request");
    let id = server.administrator.id.as_str();
    let twice = [CLIENT_CREDENTIALS[0], ("client_id", id), ("client_id", id)];
    server.token(&server.administrator, &twice).await.fails_with(400, "invalid_request");
    let job = server.register(job("job")).await;
    let both = [CLIENT_CREDENTIALS[0], ("resource", API), ("resource", API2)];
    server.token(&job, &both).await.is(200);
}

#[actix_web::test]
async fn w6_each_fault_of_the_grant_type_has_its_code() {
    let server = Server::start().await;
    server.token(&server.administrator, &[]).await.fails_with(400, "invalid_request");
    for unknown in ["password", "implicit", "urn:ietf:params:oauth:grant-type:device_code"] {
        let form = [("grant_type", unknown)];
        let answer = server.token(&server.administrator, &form).await;
        answer.fails_with(400, "unsupported_grant_type");
    }
    let photos = &server.photos;
    server.token(photos, &CLIENT_CREDENTIALS).await.fails_with(400, "unauthorized_client");
    let form = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let answer = server.token(&server.administrator, &form).await;
    answer.fails_with(400, "unauthorized_client");
}

#[actix_web::test]
async fn w7_w8_a_success_is_json_that_no_cache_keeps() {
    let server = Server::start().await;
    let answer = server.token(&server.administrator, &CLIENT_CREDENTIALS).await.is(200);
    let answer = answer.uncached();
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    assert_eq!(body["token_type"].as_str().unwrap().to_ascii_lowercase(), "bearer");
    assert_eq!(body["expires_in"], json!(86_400));
    assert_eq!(body["scope"], "ledger:admin");
    let silent =
        server.register(json!({ "client_id": "s", "grant_types": ["client_credentials"] }));
    let silent = silent.await;
    let body = server.token(&silent, &CLIENT_CREDENTIALS).await.is(200).json();
    assert_eq!(body.get("scope"), None, "an empty scope has no spelling");
    // Whatever else shows a secret, or what it is worth.
    let shows = json!({ "client_id": "shows" });
    server.administer("POST", "/admin/clients", Some(shows)).await.is(201).uncached();
    server.administer("POST", "/admin/clients/shows/secret", None).await.is(200).uncached();
    server.grant(crate::support::server::asking("photos", "alice")).await.is(201).uncached();
    server.introspect(&server.api, "x").await.is(200).uncached();
    server.audit("/audit/records?limit=1").await.is(200).uncached();
}

#[actix_web::test]
async fn w9_an_error_repeats_nothing_that_was_sent() {
    let server = Server::start().await;
    for evil in ["\"quote\\", "caf\u{e9}\u{1F980}", "<script>canary"] {
        for form in [
            vec![("grant_type", evil)],
            vec![CLIENT_CREDENTIALS[0], ("scope", evil)],
            vec![CLIENT_CREDENTIALS[0], ("resource", evil)],
            vec![(evil, "1"), (evil, "2")],
        ] {
            let answer = server.token(&server.administrator, &form).await;
            assert!(!answer.body.contains("canary"), "{answer:?}");
            let error = answer.text("error");
            answer.fails_with(400, &error);
        }
    }
}

#[actix_web::test]
async fn w10_a_scope_is_tokens_with_single_spaces_and_has_a_case() {
    let server = Server::start().await;
    let job = server.register(job("job")).await;
    for bad in ["read  write", " read", "re\"ad", "caf\u{e9}", "Read", "read admin", "ledger:admin"]
    {
        let form = [CLIENT_CREDENTIALS[0], ("scope", bad)];
        server.token(&job, &form).await.fails_with(400, "invalid_scope");
    }
    let form = [CLIENT_CREDENTIALS[0], ("scope", "write read")];
    server.token(&job, &form).await.is(200);
}

#[actix_web::test]
async fn w11_the_scope_that_was_issued_is_told() {
    let server = Server::start().await;
    let job = server.register(job("job")).await;
    let form = [CLIENT_CREDENTIALS[0], ("scope", "write")];
    assert_eq!(server.token(&job, &form).await.is(200).text("scope"), "write");
    assert_eq!(server.token(&job, &CLIENT_CREDENTIALS).await.is(200).text("scope"), "read write");
}

#[actix_web::test]
async fn w12_secrets_have_256_random_bits() {
    let server = Server::start().await;
    let mut opaque = job("opaque");
    opaque["access_token_format"] = json!("opaque");
    let opaque = server.register(opaque).await;
    let token = server.own_token(&opaque, &[]).await;
    let (first, second) = (server.tokens("alice").await, server.tokens("alice").await);
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text.split_at(4).1).unwrap().len();
    assert_eq!(decoded(&first.refresh), 1 + 16 + 4 + 32 + 16);
    assert_eq!(decoded(&token), 1 + 16 + 32 + 16);
    assert_eq!(decoded(opaque.secret.as_deref().unwrap()), 32);
    let (_, code) = server.code(&server.photos, "alice").await;
    assert_eq!(decoded(&code), 1 + 16 + 32 + 16);
    assert_ne!(first.refresh, second.refresh);
}

#[actix_web::test]
async fn w14_a_body_that_is_too_long_is_413_on_a_connection_that_goes_on_or_ends() {
    let server = Server::start().await;
    let url = server.public("/t/oauth/token");
    for bytes in [16_385, 1_000_000] {
        let call = Call::new("POST", &url).body(FORM, "a".repeat(bytes));
        // The service may close while the body is still on its way; then there is no answer.
        if let Ok(answer) = server.wire.try_send(call).await {
            answer.fails_with(413, "invalid_request");
        }
        server.token(&server.administrator, &CLIENT_CREDENTIALS).await.is(200);
    }
    let fits = format!("grant_type=client_credentials&pad={}", "a".repeat(8 * 1024 - 4));
    let secret = server.administrator.secret.clone().unwrap();
    let call = Call::new("POST", &url).body(FORM, fits).basic(&server.administrator.id, &secret);
    server.wire.send(call).await.is(200);
}

#[actix_web::test]
async fn cc1_a_public_client_has_no_client_credentials() {
    let server = Server::start().await;
    let metadata = json!({
        "grant_types": ["client_credentials"], "token_endpoint_auth_method": "none",
    });
    let answer = server.administer("POST", "/admin/clients", Some(metadata)).await;
    answer.fails_with(400, "invalid_client_metadata");
    let native = json!({ "client_id": "native", "token_endpoint_auth_method": "none" });
    let native = server.register(native).await;
    server.token(&native, &CLIENT_CREDENTIALS).await.fails_with(400, "unauthorized_client");
    let none = Call::new("POST", server.public("/t/oauth/token")).form(&CLIENT_CREDENTIALS);
    server.wire.send(none).await.fails_with(401, "invalid_client");
}

#[actix_web::test]
async fn cc2_client_credentials_give_no_refresh_token() {
    let server = Server::start().await;
    let body = server.token(&server.administrator, &CLIENT_CREDENTIALS).await.is(200).json();
    assert_eq!(body.get("refresh_token"), None);
}

#[actix_web::test]
async fn cc3_the_sub_is_the_client_and_no_person_has_its_name() {
    let server = Server::start().await;
    let job = server.register(job("job")).await;
    let claims = claims(&server.own_token(&job, &[]).await);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("job"), &json!("job")));
    let body = crate::support::server::asking("photos", "job");
    server.grant(body).await.fails_with(409, "conflict");
    server.tokens("alice").await;
    let named = json!({ "client_id": "alice" });
    let answer = server.administer("POST", "/admin/clients", Some(named)).await;
    answer.fails_with(409, "conflict");
}

#[actix_web::test]
async fn x1_a_resource_that_is_malformed_or_foreign_is_an_invalid_target() {
    let server = Server::start().await;
    let job = server.register(job("job")).await;
    let many: Vec<String> = (0..17).map(|i| format!("{API}/{i}")).collect();
    let many = many.iter().map(|one| ("resource", one.as_str()));
    let mut cases: Vec<Vec<(&str, &str)>> = vec![many.collect()];
    for bad in ["photos", "/photos", "https://api.example/#x", "https://other.example", ISSUER] {
        cases.push(vec![("resource", bad)]);
        cases.push(vec![("resource", API), ("resource", bad)]);
    }
    for more in cases {
        let form = [CLIENT_CREDENTIALS.as_slice(), &more].concat();
        server.token(&job, &form).await.fails_with(400, "invalid_target");
    }
}

#[actix_web::test]
async fn x2_j3_the_audience_is_the_resources_asked_for() {
    let server = Server::start().await;
    let job = server.register(job("job")).await;
    let one = server.own_token(&job, &[("resource", API2)]).await;
    assert_eq!(claims(&one)["aud"], json!(API2));
    let both = server.own_token(&job, &[("resource", API2), ("resource", API)]).await;
    assert_eq!(claims(&both)["aud"], json!([API, API2]));
}

#[actix_web::test]
async fn x3_r9_a_code_may_be_for_part_of_the_grant_and_a_refresh_for_another() {
    let server = Server::start().await;
    let (_, code) = server.code(&server.photos, "alice").await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("code_verifier", crate::support::server::VERIFIER),
        ("resource", API),
    ];
    let answer = server.token(&server.photos, &form).await.is(200);
    assert_eq!(claims(&answer.text("access_token"))["aud"], json!(API));
    let refresh = answer.text("refresh_token");
    let more = [("resource", API2)];
    let answer = server.refresh_from(&server.wire, &server.photos, &refresh, &more).await.is(200);
    assert_eq!(claims(&answer.text("access_token"))["aud"], json!(API2));
    let answer = server.refresh(&server.photos, &answer.text("refresh_token")).await.is(200);
    assert_eq!(claims(&answer.text("access_token"))["aud"], json!([API, API2]));
}

#[actix_web::test]
async fn x4_j3_without_a_resource_the_token_is_for_all_that_were_granted_or_for_the_issuer() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    assert_eq!(claims(&tokens.access)["aud"], json!([API, API2]));
    assert_eq!(claims(&server.admin_token)["aud"], json!(ISSUER));
}

#[actix_web::test]
async fn j1_j2_j5_an_access_token_is_a_signed_at_jwt_under_a_published_key() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let header = part(&tokens.access, 0);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("EdDSA")));
    let claims = claims(&tokens.access);
    assert_eq!(claims["iss"], json!(ISSUER));
    assert_eq!(claims["sub"], json!("alice"));
    assert_eq!(claims["client_id"], json!("photos"));
    assert_eq!(claims["scope"], json!("read write"));
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(NOW_S), &json!(NOW_S + 3600)));
    assert!(claims["jti"].is_string());
    let keys = server.wire.send(Call::new("GET", server.public("/t/oauth/jwks"))).await.is(200);
    let keys = keys.json();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]);
    assert_eq!(verifies(&tokens.access, key.unwrap()), Ok(()));
}

fn verifies(jwt: &str, key: &Value) -> Result<(), aws_lc_rs::error::Unspecified> {
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let public = decode(key["x"].as_str().unwrap());
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, public);
    key.verify(signed.as_bytes(), &decode(signature))
}

fn part(jwt: &str, index: usize) -> Value {
    let part = jwt.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn claims(jwt: &str) -> Value {
    part(jwt, 1)
}
