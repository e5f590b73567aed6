//! Revocation over HTTP (RFC 7009), by the rows of the conformance table.

use serde_json::json;

use crate::support::server::{Server, photos};
use crate::support::wire::Call;

#[actix_web::test]
async fn v1_v6_v7_e20_e24_e40_each_kind_of_token_can_be_revoked_at_once() {
    let server = Server::start().await;
    let mut opaque = photos("opaque");
    opaque["access_token_format"] = json!("opaque");
    let opaque = server.register(opaque).await;
    for client in [&server.photos, &opaque] {
        let tokens = server.tokens_of(client, "alice").await;
        assert!(server.is_active(&tokens.access).await);
        let answer = server.revoke(client, &tokens.access).await.is(200).uncached();
        assert_eq!(answer.body, "");
        assert!(!server.is_active(&tokens.access).await);
        // V7: an access token takes nothing along.
        let next = server.refresh(client, &tokens.refresh).await.is(200);
        let (access, refresh) = (next.text("access_token"), next.text("refresh_token"));
        // V7: a refresh token takes all of its grant along.
        server.revoke(client, &refresh).await.is(200);
        assert!(!server.is_active(&access).await);
        server.refresh(client, &refresh).await.fails_with(400, "invalid_grant");
    }
}

#[actix_web::test]
async fn a_spent_refresh_token_and_a_code_revoke_their_grant_too() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let next = server.refreshed(&tokens).await;
    server.revoke(&server.photos, &tokens.refresh).await.is(200);
    assert!(!server.is_active(&next.access).await);
    let (_, code) = server.code(&server.photos, "alice").await;
    server.revoke(&server.photos, &code).await.is(200);
    server.exchange(&server.photos, &code).await.fails_with(400, "invalid_grant");
}

#[actix_web::test]
async fn a3_e12_whoever_saw_a_code_pass_by_ends_no_session_with_it() {
    let server = Server::start().await;
    let mut native = photos("native");
    native["token_endpoint_auth_method"] = json!("none");
    let native = server.register(native).await;
    for (client, is_exchanged) in [(&native, false), (&native, true), (&server.photos, true)] {
        let (_, code) = server.code(client, "alice").await;
        let before = match is_exchanged {
            true => Some(server.exchange(client, &code).await.is(200).text("refresh_token")),
            false => None,
        };
        // For a public client its name is all that this takes.
        server.revoke(client, &code).await.is(200);
        match before {
            Some(refresh) => server.refresh(client, &refresh).await.is(200),
            None => server.exchange(client, &code).await.is(200),
        };
    }
}

#[actix_web::test]
async fn v2_a_client_proves_itself_and_names_a_token() {
    let server = Server::start().await;
    let form = [("token_type_hint", "access_token")];
    let answer = server.wire.send(server.ask("/oauth/revoke", &server.photos, &form)).await;
    answer.fails_with(400, "invalid_request");
    let url = server.public("/t/oauth/revoke");
    let call = Call::new("POST", &url).form(&[("token", "x")]).basic("photos", "wrong");
    let answer = server.wire.send(call).await;
    assert_eq!(answer.header("www-authenticate"), "Basic realm=\"token-ledger\"");
    answer.fails_with(401, "invalid_client");
    let call = Call::new("POST", &url).form(&[("token", "x"), ("client_id", "photos")]);
    server.wire.send(call).await.fails_with(401, "invalid_client");
    let mut native = photos("native");
    native["token_endpoint_auth_method"] = json!("none");
    let native = server.register(native).await;
    let tokens = server.tokens_of(&native, "alice").await;
    server.revoke(&native, &tokens.refresh).await.is(200);
    assert!(!server.is_active(&tokens.access).await);
}

#[actix_web::test]
async fn v3_e21_what_is_unknown_expired_or_revoked_is_fine_and_leaves_no_record() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    server.revoke(&server.photos, &tokens.refresh).await.is(200);
    let other = server.tokens("bob").await;
    server.clock.advance_s(3600);
    let before = server.running().ledger().state().next_seq();
    let forged = format!("{}AAAA", tokens.refresh.split_at(92).0);
    for token in [&tokens.refresh, &tokens.access, &forged, "garbage", "a.b.c", &other.access] {
        let answer = server.revoke(&server.photos, token).await.is(200);
        assert_eq!(answer.body, "");
    }
    // The expired access token may still be in memory; revoking it once is a record.
    let after = server.running().ledger().state().next_seq();
    assert!(after.0 <= before.0 + 1, "{before} {after}");
}

#[actix_web::test]
async fn v4_e21_a_wrong_hint_changes_nothing() {
    let server = Server::start().await;
    for hint in ["access_token", "refresh_token", "nonsense"] {
        let tokens = server.tokens("alice").await;
        for token in [&tokens.access, &tokens.refresh] {
            let form = [("token", token.as_str()), ("token_type_hint", hint)];
            server.wire.send(server.ask("/oauth/revoke", &server.photos, &form)).await.is(200);
        }
        assert!(!server.is_active(&tokens.access).await);
        server.refresh(&server.photos, &tokens.refresh).await.fails_with(400, "invalid_grant");
    }
}

#[actix_web::test]
async fn v5_e21_another_clients_token_stays_as_it_is() {
    let server = Server::start().await;
    let other = server.register(photos("other")).await;
    let tokens = server.tokens("alice").await;
    for token in [&tokens.access, &tokens.refresh] {
        server.revoke(&other, token).await.fails_with(400, "unauthorized_client");
    }
    assert!(server.is_active(&tokens.access).await);
    server.refreshed(&tokens).await;
}

#[actix_web::test]
async fn v6_a_revocation_survives_a_restart() {
    let mut server = Server::start().await;
    let tokens = server.tokens("alice").await;
    server.revoke(&server.photos, &tokens.access).await.is(200);
    server.restart().await;
    assert!(!server.is_active(&tokens.access).await);
    server.refreshed(&tokens).await;
}

#[actix_web::test]
async fn e26_everything_of_a_person_or_a_client_dies_by_one_record() {
    let mut server = Server::start().await;
    for (target, id) in [("subject", "alice"), ("client", "photos")] {
        let mut living = Vec::new();
        for _ in 0..20 {
            living.push(server.tokens("alice").await);
        }
        let before = server.running().ledger().state().next_seq();
        let target = json!({ "type": target, "id": id });
        let entry = server.blacklist(target).await.is(201).text("id");
        assert_eq!(server.running().ledger().state().next_seq().0, before.0 + 1);
        for tokens in &living {
            assert!(!server.is_active(&tokens.access).await);
        }
        server.restart().await;
        assert!(!server.is_active(&living[0].access).await);
        let lift = format!("/admin/blacklist/{entry}");
        server.administer("DELETE", &lift, Some(json!({ "reason": "r" }))).await.is(200);
        let spent = &living[7].refresh;
        server.refresh(&server.photos, spent).await.fails_with(400, "invalid_grant");
    }
}

#[actix_web::test]
async fn e27_who_is_blacklisted_before_being_seen_is_blacklisted_when_seen() {
    let mut server = Server::start().await;
    server.blacklist(json!({ "type": "subject", "id": "mallory" })).await.is(201);
    server.restart().await;
    let asking = crate::support::server::asking("photos", "mallory");
    server.grant(asking).await.fails_with(400, "unauthorized_client");
}
