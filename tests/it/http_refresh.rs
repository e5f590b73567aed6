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
async fn e03_e06_e10_a_lost_response_and_its_retries_give_the_same_successor() {
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
async fn e01_e38_thirty_two_at_once_get_one_successor() {
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
async fn e02_the_window_is_anchored_at_the_first_use_and_no_retry_extends_it() {
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
async fn e04_e08_the_use_of_the_successor_closes_the_window_within_the_same_instant_too() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let first = server.refreshed(&tokens).await;
    let second = server.refreshed(&first).await;
    server.refresh(&server.photos, &tokens.refresh).await.fails_with(400, "invalid_grant");
    assert!(is_dead(&server, &second).await);
}

#[actix_web::test]
async fn r7_e07_e09_a_spent_token_ends_the_grant_with_its_access_tokens_even_after_a_restart() {
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
async fn r2_e11_another_clients_attempt_harms_nobody_and_is_recorded() {
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
async fn r10_a_forged_token_leaves_no_record() {
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
async fn r1_every_useless_token_is_answered_with_the_same_bytes() {
    let server = Server::start().await;
    let other = server.register(photos("other")).await;
    let (spent, foreign) = (server.tokens("alice").await, server.tokens("bob").await);
    let next = server.refreshed(&spent).await;
    server.refreshed(&next).await;
    let unknown = server.refresh(&server.photos, "tlr_unknown").await;
    let spent_again = server.refresh(&server.photos, &spent.refresh).await;
    let revoked = server.refresh(&server.photos, &next.refresh).await;
    let theirs = server.refresh(&other, &foreign.refresh).await;
    policy(&server, json!({ "refresh_idle_s": 100 })).await;
    server.clock.advance_s(100);
    let expired = server.refresh(&server.photos, &foreign.refresh).await;
    for answer in [spent_again, revoked, theirs, expired] {
        assert_eq!((answer.status, &answer.body), (unknown.status, &unknown.body));
    }
}

#[actix_web::test]
async fn r3_e14_a_disabled_client_gets_nothing_until_it_is_enabled() {
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
async fn r4_r5_e17_a_scope_narrows_the_access_token_and_never_the_refresh_token() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let narrow = [("scope", "read")];
    let refresh = |token: String, more: [(&'static str, &'static str); 1]| {
        let server = &server;
        async move { server.refresh_from(&server.wire, &server.photos, &token, &more).await }
    };
    let answer = refresh(tokens.refresh.clone(), narrow).await.is(200);
    assert_eq!(answer.text("scope"), "read");
    let own = server.introspect(&server.photos, &answer.text("refresh_token")).await.is(200);
    assert_eq!(own.text("scope"), "read write", "the successor is as wide as the grant");
    let wide = refresh(answer.text("refresh_token"), [("scope", "read admin")]).await;
    wide.fails_with(400, "invalid_scope");
    let answer = server.refresh(&server.photos, &answer.text("refresh_token")).await.is(200);
    assert_eq!(answer.text("scope"), "read write");
}

#[actix_web::test]
async fn r9_r15_e19_a_resource_outside_of_the_grant_is_an_invalid_target() {
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
async fn r8_e13_e16_idle_and_absolute_expiry_are_judged_by_the_policy_of_today() {
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
async fn e15_an_expired_access_token_is_not_active_any_more_whatever_the_clock_does() {
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
async fn e18_a_scope_that_the_client_has_lost_is_not_handed_out_again() {
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

#[actix_web::test]
async fn r6_the_refresh_token_of_a_public_client_rotates_whatever_is_asked() {
    let server = Server::start().await;
    let mut native = photos("native");
    native["token_endpoint_auth_method"] = json!("none");
    let native = server.register(native).await;
    let never = json!({ "rotation": "never" });
    let answer = server.administer("PATCH", "/admin/clients/native", Some(never)).await;
    answer.fails_with(400, "invalid_client_metadata");
    let tokens = server.tokens_of(&native, "alice").await;
    let next = server.refresh(&native, &tokens.refresh).await.is(200).text("refresh_token");
    assert_ne!(next, tokens.refresh);
    server.refresh(&native, &next).await.is(200);
    server.refresh(&native, &tokens.refresh).await.fails_with(400, "invalid_grant");
}

#[actix_web::test]
async fn e05_a_retry_that_asks_for_something_else_gets_the_same_successor_and_no_more() {
    let server = Server::start().await;
    let mut body = crate::support::server::asking("photos", "alice");
    body["resource"] = json!([API]);
    body["scope"] = json!("read");
    let code = server.grant(body).await.is(201).text("code");
    let spent = server.exchange(&server.photos, &code).await.is(200).text("refresh_token");
    let first = server.refresh(&server.photos, &spent).await.is(200).text("refresh_token");
    let more = [("scope", "read"), ("resource", API)];
    let retry = server.refresh_from(&server.wire, &server.photos, &spent, &more).await.is(200);
    assert_eq!(retry.text("refresh_token"), first);
    for (more, error) in [
        ([("scope", "read write")], "invalid_scope"),
        ([("resource", crate::support::server::API2)], "invalid_target"),
    ] {
        let answer = server.refresh_from(&server.wire, &server.photos, &spent, &more).await;
        answer.fails_with(400, error);
    }
    // Another client's retry is none, and harms nobody.
    let other = server.register(photos("other")).await;
    server.refresh(&other, &spent).await.fails_with(400, "invalid_grant");
    server.refresh(&server.photos, &first).await.is(200);
}

#[actix_web::test]
async fn e37_a_refresh_writes_about_its_own_grant_and_no_other() {
    let server = Server::start().await;
    let (tokens, other) = (server.tokens("alice").await, server.tokens("alice").await);
    let before = server.running().ledger().state().next_seq();
    let length = trail(&server, &other.grant).await.len();
    server.refreshed(&tokens).await;
    let records = server.audit(&format!("/audit/records?from={before}")).await.is(200).records();
    let about = records.iter().filter(|record| record["type"] != "audit.read");
    let about: Vec<_> = about.map(|record| record["grant"].as_str().unwrap()).collect();
    assert_eq!(about, [tokens.grant.as_str(), &tokens.grant], "a rotation and an issuance");
    // Its own reading is the only record more.
    assert_eq!(trail(&server, &other.grant).await.len(), length + 1);
}
