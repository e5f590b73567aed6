//! Client authentication over HTTP (RFC 6749 section 2.3), by the rows of the conformance table.

use serde_json::{Value, json};

use crate::support::server::{Party, Server, VERIFIER, photos};
use crate::support::wire::{Answer, Call};

const OWN: (&str, &str) = ("grant_type", "client_credentials");

async fn post_client(server: &Server, method: &str) -> Party {
    let metadata = json!({
        "client_id": format!("by:{method}"), "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": method,
    });
    server.register(metadata).await
}

async fn send(server: &Server, header: Option<(&str, &str)>, form: &[(&str, &str)]) -> Answer {
    let call = Call::new("POST", server.public("/t/oauth/token")).form(form);
    server.wire.send(header.map_or(call.clone(), |(id, secret)| call.basic(id, secret))).await
}

#[actix_web::test]
async fn c1_c2_e34_a_secret_comes_in_the_header_or_in_the_form_as_registered() {
    let server = Server::start().await;
    for (method, in_header) in [("client_secret_basic", true), ("client_secret_post", false)] {
        let party = post_client(&server, method).await;
        let secret = party.secret.as_deref().unwrap();
        let posted = [OWN, ("client_id", &party.id), ("client_secret", secret)];
        let (header, form) = (Some((party.id.as_str(), secret)), [OWN]);
        // The identifier holds a colon: both sides of the header are form-encoded.
        let by_header = send(&server, header, &form).await;
        let by_form = send(&server, None, &posted).await;
        let (good, other) = if in_header { (by_header, by_form) } else { (by_form, by_header) };
        good.is(200);
        other.fails_with(401, "invalid_client");
    }
}

#[actix_web::test]
async fn c3_only_a_header_is_answered_with_a_challenge() {
    let server = Server::start().await;
    let answer = send(&server, Some(("photos", "wrong")), &[OWN]).await;
    assert_eq!(answer.header("www-authenticate"), "Basic realm=\"token-ledger\"");
    answer.fails_with(401, "invalid_client");
    let form = [OWN, ("client_id", "photos"), ("client_secret", "wrong")];
    let answer = send(&server, None, &form).await;
    assert_eq!(answer.header("www-authenticate"), "");
    answer.fails_with(401, "invalid_client");
}

#[actix_web::test]
async fn c4_more_than_one_method_is_an_invalid_request() {
    let server = Server::start().await;
    let admin = server.administrator.clone();
    let secret = admin.secret.as_deref().unwrap();
    let header = Some((admin.id.as_str(), secret));
    for more in [("client_secret", secret), ("client_assertion", "x")] {
        send(&server, header, &[OWN, more]).await.fails_with(400, "invalid_request");
    }
    let twice = Call::new("POST", server.public("/t/oauth/token")).form(&[OWN]);
    let twice = twice.basic(&admin.id, secret).basic(&admin.id, secret);
    server.wire.send(twice).await.fails_with(400, "invalid_request");
}

#[actix_web::test]
async fn c5_an_unknown_client_and_a_wrong_secret_look_alike() {
    let server = Server::start().await;
    let known = send(&server, Some(("photos", "wrong")), &[OWN]).await;
    for (id, secret) in [("nobody", "wrong"), ("photos", ""), ("", ""), ("a b", "x")] {
        let answer = send(&server, Some((id, secret)), &[OWN]).await;
        assert_eq!((answer.status, &answer.body), (known.status, &known.body), "{id}");
        let names = |answer: &Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&answer), names(&known), "{id}");
    }
    for form in [
        vec![OWN],
        vec![OWN, ("client_id", "nobody")],
        vec![OWN, ("client_id", "nobody"), ("client_secret", "x")],
        vec![OWN, ("client_id", "photos"), ("client_assertion", "x")],
    ] {
        assert_eq!(send(&server, None, &form).await.body, known.body);
    }
}

#[actix_web::test]
async fn c6_e36_a_confidential_client_that_only_names_itself_has_proven_nothing() {
    let server = Server::start().await;
    let form = [OWN, ("client_id", server.administrator.id.as_str())];
    send(&server, None, &form).await.fails_with(401, "invalid_client");
    let admin = server.administrator.clone();
    let header = Some((admin.id.as_str(), admin.secret.as_deref().unwrap()));
    let other = [OWN, ("client_id", "photos")];
    send(&server, header, &other).await.fails_with(400, "invalid_request");
    // A public client proves nothing, but it says who it is (RFC 6749 section 3.2.1).
    let mut native = photos("native");
    native["token_endpoint_auth_method"] = json!("none");
    let native = server.register(native).await;
    let (_, code) = server.code(&native, "alice").await;
    let form = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", VERIFIER)];
    send(&server, None, &form).await.fails_with(401, "invalid_client");
    let named = [form.as_slice(), &[("client_id", "native")]].concat();
    send(&server, None, &named).await.is(200);
}

#[actix_web::test]
async fn c7_a_secret_that_is_sent_is_checked_even_where_none_is_needed() {
    let server = Server::start().await;
    let native = json!({
        "client_id": "native", "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    let native = server.register(native).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    server.token(&native, &form).await.fails_with(400, "invalid_grant");
    let answer = send(&server, Some(("native", "anything")), &form).await;
    answer.fails_with(401, "invalid_client");
    let posted = [form[0], form[1], ("client_id", "native"), ("client_secret", "anything")];
    send(&server, None, &posted).await.fails_with(401, "invalid_client");
}

#[actix_web::test]
async fn a_replaced_secret_is_accepted_for_the_time_it_was_given() {
    let server = Server::start().await;
    let old = post_client(&server, "client_secret_basic").await;
    let path = format!("/admin/clients/{}/secret", old.id);
    let body = json!({ "previous_lifetime_s": 60 });
    let new = server.administer("POST", &path, Some(body)).await.is(200).uncached();
    let new = Party { id: old.id.clone(), secret: Some(new.text("client_secret")) };
    server.token(&old, &[OWN]).await.is(200);
    server.token(&new, &[OWN]).await.is(200);
    server.clock.advance_s(60);
    server.token(&old, &[OWN]).await.fails_with(401, "invalid_client");
    server.token(&new, &[OWN]).await.is(200);
}

#[actix_web::test]
async fn a_secret_that_was_promised_more_time_is_not_ended_by_asking_again() {
    let server = Server::start().await;
    let old = post_client(&server, "client_secret_basic").await;
    let path = format!("/admin/clients/{}/secret", old.id);
    let rotate = async |seconds: u64| {
        let body = json!({ "previous_lifetime_s": seconds });
        server.administer("POST", &path, Some(body)).await
    };
    rotate(60).await.is(200);
    rotate(60).await.fails_with(409, "conflict");
    server.token(&old, &[OWN]).await.is(200);
    // In an emergency both are ended, and nobody has to wait.
    rotate(0).await.is(200);
    server.token(&old, &[OWN]).await.fails_with(401, "invalid_client");
    rotate(60).await.is(200);
    server.clock.advance_s(60);
    rotate(60).await.is(200);
}

#[actix_web::test]
async fn a_secret_that_was_given_up_with_its_method_does_not_come_back_with_it() {
    let mut server = Server::start().await;
    let old = post_client(&server, "client_secret_basic").await;
    let path = format!("/admin/clients/{}", old.id);
    let patch = async |server: &Server, change: Value| {
        server.administer("PATCH", &path, Some(change)).await.is(200);
    };
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "one",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] });
    let change = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": keys });
    patch(&server, change).await;
    let back = json!({ "token_endpoint_auth_method": "client_secret_basic", "jwks": null });
    patch(&server, back).await;
    server.token(&old, &[OWN]).await.fails_with(401, "invalid_client");
    server.restart().await;
    server.token(&old, &[OWN]).await.fails_with(401, "invalid_client");
    let body = json!({ "previous_lifetime_s": 0 });
    let answer = server.administer("POST", &format!("{path}/secret"), Some(body)).await.is(200);
    let new = Party { id: old.id.clone(), secret: Some(answer.text("client_secret")) };
    server.token(&new, &[OWN]).await.is(200);
}

#[actix_web::test]
async fn failures_are_counted_once_a_second_for_each_known_client_and_never_for_a_stranger() {
    let mut server = Server::start_with(|raw| {
        // More than a caller may fail: what is throttled is not recorded.
        (raw.auth_failures_per_minute_max, raw.client_auth_failures_per_minute_max) = (100, 100);
    })
    .await;
    for _ in 0..20 {
        send(&server, Some(("photos", "wrong")), &[OWN]).await;
        send(&server, Some(("nobody", "wrong")), &[OWN]).await;
    }
    server.restart().await;
    let failed = server.audit("/audit/records?type=client.authentication_failed").await.is(200);
    let counts: Vec<u64> =
        failed.records().iter().map(|record| record["data"]["count"].as_u64().unwrap()).collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (2, 20));
    assert!(failed.records().iter().all(|record| record["client"] == "photos"));
}
