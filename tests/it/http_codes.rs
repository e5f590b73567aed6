//! Codes over HTTP (RFC 6749 section 4.1.3, RFC 7636), by the rows of the conformance table.

use serde_json::json;

use crate::support::server::{CALLBACK, Party, Server, VERIFIER, asking, challenge, photos};
use crate::support::wire::{Answer, together};

async fn redeem(server: &Server, client: &Party, code: &str, more: &[(&str, &str)]) -> Answer {
    let form = [&[("grant_type", "authorization_code"), ("code", code)], more].concat();
    server.token(client, &form).await
}

const PROOF: (&str, &str) = ("code_verifier", VERIFIER);

#[actix_web::test]
async fn a1_a_code_expires() {
    let server = Server::start().await;
    let answer = server.grant(asking("photos", "alice")).await.is(201).uncached();
    assert_eq!(answer.json()["expires_in"], json!(60));
    server.clock.advance_s(60);
    let answer = server.exchange(&server.photos, &answer.text("code")).await;
    answer.fails_with(400, "invalid_grant");
}

#[actix_web::test]
async fn a2_a3_a_code_that_comes_again_with_its_proof_ends_the_grant() {
    let server = Server::start().await;
    let (_, code) = server.code(&server.photos, "alice").await;
    let first = server.exchange(&server.photos, &code).await.is(200);
    server.exchange(&server.photos, &code).await.fails_with(400, "invalid_grant");
    assert!(!server.is_active(&first.text("access_token")).await);
    let answer = server.refresh(&server.photos, &first.text("refresh_token")).await;
    answer.fails_with(400, "invalid_grant");
}

#[actix_web::test]
async fn a3_a4_e12_a_replay_that_proves_nothing_ends_nothing() {
    let server = Server::start().await;
    let other = server.register(photos("other")).await;
    let (_, code) = server.code(&server.photos, "alice").await;
    // A4: another client's code, before and after it was exchanged.
    server.exchange(&other, &code).await.fails_with(400, "invalid_grant");
    let first = server.exchange(&server.photos, &code).await.is(200);
    server.exchange(&other, &code).await.fails_with(400, "invalid_grant");
    let wrong = [("code_verifier", "wrong-wrong-wrong-wrong-wrong-wrong-wrong-wrong")];
    redeem(&server, &server.photos, &code, &wrong).await.fails_with(400, "invalid_grant");
    assert!(server.is_active(&first.text("access_token")).await);
    server.refresh(&server.photos, &first.text("refresh_token")).await.is(200);
}

#[actix_web::test]
async fn a5_the_redirect_uri_is_the_same_again() {
    let server = Server::start().await;
    for (redirect_uri, status) in
        [(Some(CALLBACK), 200), (Some("https://photos.example/other"), 400), (None, 200)]
    {
        let (_, code) = server.code(&server.photos, "alice").await;
        let more: Vec<_> = redirect_uri.map(|uri| ("redirect_uri", uri)).into_iter().collect();
        let more = [&[PROOF], more.as_slice()].concat();
        redeem(&server, &server.photos, &code, &more).await.is(status);
    }
    // Without PKCE nothing else binds the code, so it must be there.
    let body = json!({ "client_id": "photos", "subject": "alice", "redirect_uri": CALLBACK });
    let code = server.grant(body).await.is(201).text("code");
    redeem(&server, &server.photos, &code, &[]).await.fails_with(400, "invalid_grant");
    redeem(&server, &server.photos, &code, &[("redirect_uri", CALLBACK)]).await.is(200);
}

#[actix_web::test]
async fn a6_a_verifier_answers_its_challenge() {
    let server = Server::start().await;
    let (short, long) = ("a".repeat(42), "a".repeat(129));
    let plus = "a".repeat(42) + "+";
    for bad in [short.as_str(), &long, &plus] {
        let (_, code) = server.code(&server.photos, "alice").await;
        let answer = redeem(&server, &server.photos, &code, &[("code_verifier", bad)]).await;
        answer.fails_with(400, "invalid_request");
    }
    for good in ["b".repeat(43), "c".repeat(128)] {
        let mut body = asking("photos", "alice");
        body["code_challenge"] = json!(challenge(&good));
        let code = server.grant(body).await.is(201).text("code");
        redeem(&server, &server.photos, &code, &[PROOF]).await.fails_with(400, "invalid_grant");
        redeem(&server, &server.photos, &code, &[("code_verifier", &good)]).await.is(200);
    }
}

#[actix_web::test]
async fn a7_a_plain_challenge_is_refused() {
    let server = Server::start().await;
    for method in [Some("plain"), Some("s256"), None] {
        let mut body = asking("photos", "alice");
        body["code_challenge_method"] = json!(method);
        server.grant(body).await.fails_with(400, "invalid_request");
    }
    let mut body = asking("photos", "alice");
    body.as_object_mut().unwrap().remove("code_challenge");
    server.grant(body).await.fails_with(400, "invalid_request");
}

#[actix_web::test]
async fn a8_a_verifier_and_a_challenge_come_together() {
    let server = Server::start().await;
    let body = json!({ "client_id": "photos", "subject": "alice", "redirect_uri": CALLBACK });
    let code = server.grant(body).await.is(201).text("code");
    let more = [("redirect_uri", CALLBACK), PROOF];
    redeem(&server, &server.photos, &code, &more).await.fails_with(400, "invalid_request");
    let (_, code) = server.code(&server.photos, "alice").await;
    let more = [("redirect_uri", CALLBACK)];
    redeem(&server, &server.photos, &code, &more).await.fails_with(400, "invalid_grant");
}

#[actix_web::test]
async fn a9_a_public_client_needs_a_challenge() {
    let server = Server::start().await;
    let mut metadata = photos("native");
    metadata["token_endpoint_auth_method"] = json!("none");
    let native = server.register(metadata).await;
    let body = json!({ "client_id": "native", "subject": "alice", "redirect_uri": CALLBACK });
    server.grant(body).await.fails_with(400, "invalid_request");
    let tokens = server.tokens_of(&native, "alice").await;
    server.refresh(&native, &tokens.refresh).await.is(200);
}

#[actix_web::test]
async fn a11_of_many_at_once_one_gets_the_tokens() {
    let server = Server::start().await;
    let (_, code) = server.code(&server.photos, "alice").await;
    let at_once = (0..16).map(|_| server.exchange(&server.photos, &code));
    let answers = together(at_once).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, 1);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 400)));
}

#[actix_web::test]
async fn a_code_that_was_made_up_leaves_no_record() {
    let server = Server::start().await;
    let before = server.running().ledger().state().next_seq();
    for code in ["x", "tlc_AAAA", &format!("tlc_{}", "A".repeat(88))] {
        server.exchange(&server.photos, code).await.fails_with(400, "invalid_grant");
    }
    assert_eq!(server.running().ledger().state().next_seq(), before);
}

#[actix_web::test]
async fn a_grant_is_within_what_the_client_is_registered_for() {
    let server = Server::start().await;
    let bare = json!({ "client_id": "bare", "redirect_uris": [CALLBACK], "scope": "read" });
    server.register(bare).await;
    for (client, member, value, error) in [
        ("photos", "scope", json!("read admin"), "invalid_scope"),
        ("photos", "resource", json!(["https://other.example"]), "invalid_target"),
        ("bare", "resource", json!(["https://other.example"]), "invalid_target"),
        ("photos", "redirect_uri", json!("https://evil.example/cb"), "invalid_request"),
        ("photos", "subject", json!(""), "invalid_request"),
        ("photos", "subject", json!("a".repeat(256)), "invalid_request"),
        ("photos", "subject", json!("a\nb"), "invalid_request"),
    ] {
        let mut body = asking(client, "alice");
        body[member] = value;
        server.grant(body).await.fails_with(400, error);
    }
    server.grant(asking("nobody", "alice")).await.fails_with(404, "not_found");
    server.grant(asking("login", "alice")).await.fails_with(400, "unauthorized_client");
}
