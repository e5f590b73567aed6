//! What a client's registration does not hold, or holds no more, is not handed out: neither by a grant
//! that asks for nothing in particular, nor by one that is older than the change.

use serde_json::{Value, json};

use crate::support::server::{API, API2, CALLBACK, Server, VERIFIER, asking, photos};
use crate::support::wire::Call;

fn claims(jwt: &str) -> Value {
    use base64::Engine;
    let part = jwt.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

async fn patch(server: &Server, id: &str, change: Value) {
    server.administer("PATCH", &format!("/admin/clients/{id}"), Some(change)).await.is(200);
}

#[actix_web::test]
async fn x1_an_empty_list_of_resources_asks_for_nothing_in_particular() {
    let server = Server::start().await;
    let mut reports = photos("reports");
    reports["scope"] = json!("read ledger:audit");
    let client = server.register(reports).await;
    let mut body = asking("reports", "alice");
    body["resource"] = json!([]);
    let code = server.grant(body).await.is(201).text("code");
    let tokens = server.exchange(&client, &code).await.is(200);
    let access = tokens.text("access_token");
    // Not for the ledger itself, for which this client is not registered.
    assert_eq!(claims(&access)["aud"], json!([API, API2]));
    let call = Call::new("GET", server.admin("/audit/records"));
    server.wire.send(call.bearer(&access)).await.fails_with(401, "invalid_token");
}

#[actix_web::test]
async fn e18_what_a_registration_lost_is_not_handed_out_by_older_grants() {
    let server = Server::start().await;
    let (old, unused) = (server.tokens("alice").await, server.code(&server.photos, "bob").await.1);
    patch(&server, "photos", json!({ "resources": [API2], "scope": "read" })).await;
    let next = server.refresh(&server.photos, &old.refresh).await.is(200);
    assert_eq!(next.text("scope"), "read");
    assert_eq!(claims(&next.text("access_token"))["aud"], json!(API2));
    let exchanged = server.exchange(&server.photos, &unused).await.is(200);
    assert_eq!(claims(&exchanged.text("access_token"))["aud"], json!(API2));
    // Nothing is left of it: no token of no scope, or for nobody; and it comes back with the rest.
    let refresh = next.text("refresh_token");
    patch(&server, "photos", json!({ "scope": "other" })).await;
    server.refresh(&server.photos, &refresh).await.fails_with(400, "invalid_scope");
    patch(&server, "photos", json!({ "scope": "read", "resources": ["https://else.example"] }))
        .await;
    server.refresh(&server.photos, &refresh).await.fails_with(400, "invalid_target");
    patch(&server, "photos", json!({ "resources": [] })).await;
    server.refresh(&server.photos, &refresh).await.fails_with(400, "invalid_target");
    patch(&server, "photos", json!({ "resources": [API, API2] })).await;
    let whole = server.refresh(&server.photos, &refresh).await.is(200);
    assert_eq!(claims(&whole.text("access_token"))["aud"], json!([API, API2]));
}

#[actix_web::test]
async fn a_token_that_is_too_long_for_anybody_to_show_is_not_issued() {
    let server = Server::start().await;
    let long = |i: usize| format!("https://api-{i}.example/{}", "x".repeat(450));
    let mut metadata = photos("wide");
    metadata["resources"] = json!((0..16).map(long).collect::<Vec<_>>());
    let client = server.register(metadata).await;
    let (_, code) = server.code(&client, "alice").await;
    server.exchange(&client, &code).await.fails_with(400, "invalid_target");
    // For fewer servers there is one, and it can be shown wherever tokens are.
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
        ("resource", &long(3)),
    ];
    let access = server.token(&client, &form).await.is(200).text("access_token");
    assert_eq!(server.introspect(&client, &access).await.is(200).json()["active"], true);
}
