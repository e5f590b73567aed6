//! Refresh over HTTP: one successor whatever happens, reuse found out, policies of today
//! (RFC 6749 section 6, RFC 9700 section 4.14). Rows as in the conformance table.

use serde_json::{Value, json};

use crate::support::server::{API, Server, Tokens, photos};
use crate::support::wire::{Wire, together};

async fn trail(server: &Server, grant: &str) -> Vec<String> {
    server.audit(&format!("/audit/grants/{grant}/trail")).await.is(200).types()
}

async fn policy(server: &Server, change: Value) {
    server.administer("PATCH", "/admin/clients/photos", Some(change)).await.is(200);
}

async fn is_dead(server: &Server, tokens: &Tokens) -> bool {
    let answer = server.refresh(&server.photos, &tokens.refresh).await;
    answer.status == 400 && !server.is_active(&tokens.access).await
}

#[actix_web::test]
async fn r1_a_refresh_token_that_is_missing_or_useless_is_never_more_than_a_400() {
    let server = Server::start().await;
    let form = [("grant_type", "refresh_token")];
    server.token(&server.photos, &form).await.fails_with(400, "invalid_request");
    let tokens = server.tokens("alice").await;
    let forged = format!("{}{}", tokens.refresh.split_at(90).0, "A".repeat(6));
    for bad in ["x", "tlr_", &"a".repeat(8000), &forged, &tokens.access, "tlr_caf\u{e9}"] {
        server.refresh(&server.photos, bad).await.fails_with(400, "invalid_grant");
    }
    server.refreshed(&tokens).await;
}

#[actix_web::test]
async fn a_lost_response_and_its_retries_give_the_same_successor() {
    let mut server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let first = server.refreshed(&tokens).await;
    let again = server.refreshed(&tokens).await;
    assert_eq!(first.refresh, again.refresh);
    assert_ne!(first.access, again.access);
    server.restart().await;
    assert_eq!(server.refreshed(&tokens).await.refresh, first.refresh);
    server.refreshed(&first).await;
}

#[actix_web::test]
async fn thirty_two_at_once_get_one_successor() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let at_once = (0..32).map(|_| server.refresh(&server.photos, &tokens.refresh));
    let answers = together(at_once).await;
    let successors: std::collections::BTreeSet<String> =
        answers.into_iter().map(|answer| answer.is(200).text("refresh_token")).collect();
    assert_eq!(successors.len(), 1);
    let trail = trail(&server, &tokens.grant).await;
    let rotations = trail.iter().filter(|kind| *kind == "refresh_token.rotated").count();
    assert_eq!(rotations, 1);
}

#[actix_web::test]
async fn the_window_is_anchored_at_the_first_use_and_no_retry_extends_it() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let first = server.refreshed(&tokens).await;
    for _ in 0..2 {
        server.clock.advance_s(14);
        assert_eq!(server.refreshed(&tokens).await.refresh, first.refresh);
    }
    server.clock.advance_s(2);
    server.refresh(&server.photos, &tokens.refresh).await.fails_with(400, "invalid_grant");
    assert!(is_dead(&server, &first).await);
}

#[actix_web::test]
async fn the_use_of_the_successor_closes_the_window() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let first = server.refreshed(&tokens).await;
    let second = server.refreshed(&first).await;
    server.refresh(&server.photos, &tokens.refresh).await.fails_with(400, "invalid_grant");
    assert!(is_dead(&server, &second).await);
}

#[actix_web::test]
async fn r7_a_spent_token_ends_the_grant_with_its_access_tokens_even_after_a_restart() {
    let mut server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let mut newest = tokens.clone();
    for _ in 0..3 {
        newest = server.refreshed(&newest).await;
    }
    server.restart().await;
    server.refresh(&server.photos, &tokens.refresh).await.fails_with(400, "invalid_grant");
    assert!(is_dead(&server, &newest).await);
    assert!(!server.is_active(&tokens.access).await);
    let trail = trail(&server, &tokens.grant).await;
    let at = trail.iter().position(|kind| kind == "refresh_token.reused").unwrap();
    assert_eq!(trail[at + 1], "grant.revoked");
}

#[actix_web::test]
async fn r2_another_clients_attempt_harms_nobody_and_is_recorded() {
    let server = Server::start().await;
    let other = server.register(photos("other")).await;
    let tokens = server.tokens("alice").await;
    let next = server.refreshed(&tokens).await;
    for stolen in [&tokens.refresh, &next.refresh] {
        server.refresh(&other, stolen).await.fails_with(400, "invalid_grant");
    }
    server.refreshed(&next).await;
    assert!(server.is_active(&next.access).await);
    assert!(trail(&server, &tokens.grant).await.contains(&"refresh.refused".to_owned()));
}

#[actix_web::test]
async fn a_forged_token_leaves_no_record() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let before = server.running().ledger().state().next_seq();
    let mut forged = tokens.refresh.clone().into_bytes();
    for place in [5, 20, 30, 60, 90] {
        forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
        let text = String::from_utf8(forged.clone()).unwrap();
        server.refresh(&server.photos, &text).await.fails_with(400, "invalid_grant");
    }
    assert_eq!(server.running().ledger().state().next_seq(), before);
}

#[actix_web::test]
async fn every_useless_token_is_answered_with_the_same_bytes() {
    let server = Server::start().await;
    let other = server.register(photos("other")).await;
    let (spent, foreign) = (server.tokens("alice").await, server.tokens("bob").await);
    let next = server.refreshed(&spent).await;
    server.refreshed(&next).await;
    let unknown = server.refresh(&server.photos, "tlr_unknown").await;
    let spent_again = server.refresh(&server.photos, &spent.refresh).await;
    let revoked = server.refresh(&server.photos, &next.refresh).await;
    let foreign = server.refresh(&other, &foreign.refresh).await;
    for answer in [spent_again, revoked, foreign] {
        assert_eq!((answer.status, &answer.body), (unknown.status, &unknown.body));
    }
}

#[actix_web::test]
async fn r3_a_disabled_client_gets_nothing_until_it_is_enabled() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let switch = |to| server.administer("POST", to, Some(json!({ "reason": "r" })));
    switch("/admin/clients/photos/disable").await.is(200);
    server.refresh(&server.photos, &tokens.refresh).await.fails_with(400, "invalid_grant");
    assert!(!server.is_active(&tokens.access).await);
    switch("/admin/clients/photos/enable").await.is(200);
    server.refreshed(&tokens).await;
    assert!(server.is_active(&tokens.access).await);
}

#[actix_web::test]
async fn r4_r5_a_scope_narrows_the_access_token_and_never_the_refresh_token() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let narrow = [("scope", "read")];
    let refresh = |token: String, more: [(&'static str, &'static str); 1]| {
        let server = &server;
        async move { server.refresh_from(&server.wire, &server.photos, &token, &more).await }
    };
    let answer = refresh(tokens.refresh.clone(), narrow).await.is(200);
    assert_eq!(answer.text("scope"), "read");
    let wide = refresh(answer.text("refresh_token"), [("scope", "read admin")]).await;
    wide.fails_with(400, "invalid_scope");
    let answer = server.refresh(&server.photos, &answer.text("refresh_token")).await.is(200);
    assert_eq!(answer.text("scope"), "read write");
}

#[actix_web::test]
async fn r9_r15_a_resource_outside_of_the_grant_is_an_invalid_target() {
    let server = Server::start().await;
    let mut body = crate::support::server::asking("photos", "alice");
    body["resource"] = json!([API]);
    let code = server.grant(body).await.is(201).text("code");
    let first = server.exchange(&server.photos, &code).await.is(200).text("refresh_token");
    let more = [("resource", crate::support::server::API2)];
    let answer = server.refresh_from(&server.wire, &server.photos, &first, &more).await;
    answer.fails_with(400, "invalid_target");
    server.refresh(&server.photos, &first).await.is(200);
}

#[actix_web::test]
async fn r8_idle_and_absolute_expiry_are_judged_by_the_policy_of_today() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    policy(&server, json!({ "refresh_idle_s": 100, "refresh_absolute_s": 150 })).await;
    server.clock.advance_s(99);
    let next = server.refreshed(&tokens).await;
    server.clock.advance_s(51);
    server.refresh(&server.photos, &next.refresh).await.fails_with(400, "invalid_grant");
    policy(&server, json!({ "refresh_absolute_s": null })).await;
    let next = server.refreshed(&next).await;
    server.clock.advance_s(100);
    server.refresh(&server.photos, &next.refresh).await.fails_with(400, "invalid_grant");
    policy(&server, json!({ "refresh_idle_s": null })).await;
    server.clock.advance_s(3_000_000_000);
    server.refreshed(&next).await;
}

#[actix_web::test]
async fn the_policy_may_keep_the_token() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    policy(&server, json!({ "rotation": "never" })).await;
    let same = server.refreshed(&tokens).await;
    assert_eq!(same.refresh, tokens.refresh);
    policy(&server, json!({ "rotation": "always" })).await;
    assert_ne!(server.refreshed(&tokens).await.refresh, tokens.refresh);
}

#[actix_web::test]
async fn without_grace_the_second_use_is_reuse() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    policy(&server, json!({ "grace_s": 0 })).await;
    let next = server.refreshed(&tokens).await;
    server.refresh(&server.photos, &tokens.refresh).await.fails_with(400, "invalid_grant");
    assert!(is_dead(&server, &next).await);
}

#[actix_web::test]
async fn a_shadow_who_follows_from_elsewhere_is_found_out() {
    let server = Server::start().await;
    let thief = Wire::new("127.0.0.9", "thief/1");
    let mut tokens = server.tokens("alice").await;
    for _ in 0..2 {
        let next = server.refreshed(&tokens).await;
        let stolen = server.refresh_from(&thief, &server.photos, &tokens.refresh, &[]).await;
        assert_eq!(stolen.is(200).text("refresh_token"), next.refresh);
        tokens = next;
    }
    let next = server.refreshed(&tokens).await;
    let stolen = server.refresh_from(&thief, &server.photos, &tokens.refresh, &[]).await;
    stolen.fails_with(400, "invalid_grant");
    assert!(is_dead(&server, &next).await);
}

#[actix_web::test]
async fn an_expired_access_token_is_not_active_any_more() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    server.clock.advance_s(3599);
    assert!(server.is_active(&tokens.access).await);
    server.clock.advance_s(1);
    assert!(!server.is_active(&tokens.access).await);
    // A clock that steps back revives nothing: the log's time never decreases.
    server.refreshed(&tokens).await;
    server
        .clock
        .set(token_ledger::types::time::Timestamp::from_seconds(crate::support::server::NOW_S));
    assert!(!server.is_active(&tokens.access).await);
}

#[actix_web::test]
async fn e2_18_a_scope_that_the_client_has_lost_is_not_handed_out_again() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let whole = server.refresh(&server.photos, &tokens.refresh).await.is(200);
    let (had, next) = (whole.text("scope"), whole.text("refresh_token"));
    let (kept, lost) = had.split_once(' ').unwrap();
    policy(&server, json!({ "scope": kept })).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", next.as_str()), ("scope", lost)];
    server.token(&server.photos, &form).await.fails_with(400, "invalid_scope");
    let narrowed = server.refresh(&server.photos, &next).await.is(200);
    assert_eq!(narrowed.text("scope"), kept);
    policy(&server, json!({ "scope": had })).await;
    let next = narrowed.text("refresh_token");
    assert_eq!(server.refresh(&server.photos, &next).await.is(200).text("scope"), had);
}
