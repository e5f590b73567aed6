//! The blacklist over HTTP: each kind of target, lifting, and the way back.

use serde_json::{Value, json};

use crate::support::server::{Server, Tokens};

async fn entry(server: &Server, target: Value) -> String {
    let before = server.running().ledger().state().next_seq();
    let answer = server.blacklist(target.clone()).await.is(201).uncached().json();
    assert!(answer["id"].as_str().unwrap().starts_with("b_"));
    assert!(before.0 <= answer["seq"].as_u64().unwrap());
    assert_eq!(answer["target"]["type"], target["type"]);
    answer["id"].as_str().unwrap().to_owned()
}

async fn lift(server: &Server, id: &str) {
    let path = format!("/admin/blacklist/{id}");
    let reason = json!({ "reason": "over" });
    let lifted = server.administer("DELETE", &path, Some(reason)).await.is(200).json();
    assert!(lifted["lifted"].is_u64());
    server.administer("DELETE", &path, None).await.fails_with(404, "not_found");
}

async fn is_dead(server: &Server, tokens: &Tokens) -> bool {
    let answer = server.refresh(&server.photos, &tokens.refresh).await;
    answer.status == 400 && !server.is_active(&tokens.access).await
}

#[actix_web::test]
async fn an_access_token_alone() {
    let server = Server::start().await;
    for by_digest in [false, true] {
        let tokens = server.tokens("alice").await;
        let digest = token_ledger::crypto::digest::access_token(&tokens.access).to_string();
        let target = match by_digest {
            true => json!({ "type": "token", "id": digest }),
            false => json!({ "type": "token", "token": tokens.access }),
        };
        let id = entry(&server, target).await;
        assert!(!server.is_active(&tokens.access).await);
        lift(&server, &id).await;
        assert!(!server.is_active(&tokens.access).await, "lifting revives nothing");
        server.refreshed(&tokens).await;
    }
}

#[actix_web::test]
async fn a_refresh_token_takes_its_grant_along_spent_or_not() {
    let server = Server::start().await;
    for spent in [false, true] {
        let tokens = server.tokens("alice").await;
        let newest = if spent { server.refreshed(&tokens).await } else { tokens.clone() };
        let id = entry(&server, json!({ "type": "token", "token": tokens.refresh })).await;
        assert!(is_dead(&server, &newest).await);
        lift(&server, &id).await;
        assert!(is_dead(&server, &newest).await);
    }
}

#[actix_web::test]
async fn a_refresh_token_by_the_digest_that_only_the_log_remembers() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let newest = server.refreshed(&server.refreshed(&tokens).await).await;
    let digest = token_ledger::crypto::digest::refresh_token(&tokens.refresh).to_string();
    entry(&server, json!({ "type": "token", "id": digest })).await;
    assert!(is_dead(&server, &newest).await);
}

#[actix_web::test]
async fn a_grant() {
    let server = Server::start().await;
    let (tokens, other) = (server.tokens("alice").await, server.tokens("alice").await);
    let id = entry(&server, json!({ "type": "grant", "id": tokens.grant })).await;
    assert!(is_dead(&server, &tokens).await && !is_dead(&server, &other).await);
    lift(&server, &id).await;
    assert!(is_dead(&server, &tokens).await);
}

#[actix_web::test]
async fn r3_r12_a_subject_even_one_that_was_never_seen() {
    let server = Server::start().await;
    let (tokens, other) = (server.tokens("alice").await, server.tokens("bob").await);
    let id = entry(&server, json!({ "type": "subject", "id": "alice" })).await;
    assert!(is_dead(&server, &tokens).await && !is_dead(&server, &other).await);
    let asking = crate::support::server::asking;
    server.grant(asking("photos", "alice")).await.fails_with(400, "unauthorized_client");
    lift(&server, &id).await;
    assert!(is_dead(&server, &tokens).await);
    assert!(!is_dead(&server, &server.tokens("alice").await).await);
    // By pseudonym, too, as it stands in the records; nobody else has that for a name.
    let bob = server.running().edge.vault.find("bob").unwrap().unwrap().subject.to_string();
    let by_pseudonym =
        server.blacklist(json!({ "type": "subject", "id": bob })).await.is(201).json();
    assert_eq!(by_pseudonym["target"]["id"], bob);
    assert!(is_dead(&server, &other).await);
    let nobody = json!({ "type": "subject", "id": "s_AAAAAAAAAAAAAAAAAAAAAA" });
    server.blacklist(nobody).await.fails_with(400, "invalid_request");
    for first_seen in [true, false] {
        let target = json!({ "type": "subject", "id": "mallory" });
        let answer = server.blacklist(target).await.is(201).json();
        assert_eq!(answer["first_seen"], first_seen, "a name that is misspelt shows");
    }
    server.grant(asking("photos", "mallory")).await.fails_with(400, "unauthorized_client");
}

#[actix_web::test]
async fn a_client_and_two_entries_are_two_locks() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let target = json!({ "type": "client", "id": "photos" });
    let (first, second) = (entry(&server, target.clone()).await, entry(&server, target).await);
    assert!(is_dead(&server, &tokens).await);
    let asking = crate::support::server::asking("photos", "alice");
    server.grant(asking.clone()).await.fails_with(400, "unauthorized_client");
    lift(&server, &first).await;
    server.grant(asking).await.fails_with(400, "unauthorized_client");
    lift(&server, &second).await;
    assert!(is_dead(&server, &tokens).await);
    assert!(!is_dead(&server, &server.tokens("alice").await).await);
}

#[actix_web::test]
async fn the_key_that_signs_is_replaced_first() {
    let mut server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let keys = server.administer("GET", "/admin/keys", None).await.is(200).json();
    let kid = keys["keys"][0]["kid"].as_str().unwrap().to_owned();
    entry(&server, json!({ "type": "key", "id": kid })).await;
    assert!(!server.is_active(&tokens.access).await);
    // The administrator's own token died with the key; its secret still opens the door.
    server.administer("GET", "/admin/keys", None).await.fails_with(401, "invalid_token");
    server.renew().await;
    let keys = server.administer("GET", "/admin/keys", None).await.is(200).json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    assert_eq!(keys["keys"][0]["blacklisted"], json!(true));
    assert_eq!(keys["keys"][1]["signs"], json!(true));
    let url = server.public("/t/oauth/jwks");
    let published = server.wire.send(crate::support::wire::Call::new("GET", url)).await.json();
    assert_eq!(published["keys"].as_array().unwrap().len(), 1);
    assert!(server.is_active(&server.refreshed(&tokens).await.access).await);
    server.restart().await;
    assert!(server.is_active(&server.tokens("bob").await.access).await);
}

#[actix_web::test]
async fn everything_and_the_way_back() {
    let mut server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let id = entry(&server, json!({ "type": "all" })).await;
    assert!(is_dead(&server, &tokens).await);
    server.administer("GET", "/admin/blacklist", None).await.fails_with(401, "invalid_token");
    // Tokens for the ledger itself are still issued, or nobody could lift it.
    server.renew().await;
    let asking = crate::support::server::asking("photos", "alice");
    server.grant(asking.clone()).await.fails_with(400, "unauthorized_client");
    let entries = server.administer("GET", "/admin/blacklist", None).await.is(200).json();
    assert_eq!(entries["entries"][0]["id"], json!(id));
    server.restart().await;
    lift(&server, &id).await;
    assert!(is_dead(&server, &tokens).await);
    assert!(!is_dead(&server, &server.tokens("alice").await).await);
}

#[actix_web::test]
async fn entries_in_force_come_in_pages() {
    let server = Server::start().await;
    let mut made = Vec::new();
    for sub in ["a", "b", "c"] {
        made.push(entry(&server, json!({ "type": "subject", "id": sub })).await);
    }
    lift(&server, &made.remove(1)).await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/admin/blacklist?limit=1{cursor}");
        let page = server.administer("GET", &path, None).await.is(200).json();
        assert!(!page.to_string().contains("\"a\""), "a sub is shown in clear: {page}");
        seen.push(page["entries"][0]["id"].as_str().unwrap().to_owned());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, made);
}

#[actix_web::test]
async fn a_target_that_is_unknown_or_malformed_changes_nothing() {
    let server = Server::start().await;
    let before = server.running().ledger().state().next_seq();
    let digest = "A".repeat(43);
    for (target, status, error) in [
        (json!({ "type": "client", "id": "nobody" }), 404, "not_found"),
        (json!({ "type": "client", "id": "a b" }), 400, "invalid_request"),
        (json!({ "type": "key", "id": "nokey" }), 404, "not_found"),
        (json!({ "type": "grant", "id": "g_AAAAAAAAAAAAAAAAAAAAAA" }), 404, "not_found"),
        (json!({ "type": "grant", "id": "photos" }), 400, "invalid_request"),
        (json!({ "type": "token", "id": digest }), 404, "not_found"),
        (json!({ "type": "token", "id": "short" }), 400, "invalid_request"),
        (json!({ "type": "token", "token": "garbage" }), 404, "not_found"),
        (json!({ "type": "token" }), 400, "invalid_request"),
        (json!({ "type": "token", "id": digest, "token": "x" }), 400, "invalid_request"),
        (json!({ "type": "subject" }), 400, "invalid_request"),
        (json!({ "type": "subject", "id": "" }), 400, "invalid_request"),
        (json!({ "type": "all", "id": "x" }), 400, "invalid_request"),
        (json!({ "type": "everything" }), 400, "invalid_request"),
        (json!({ "id": "x" }), 400, "invalid_request"),
    ] {
        server.blacklist(target).await.fails_with(status, error);
    }
    for reason in [json!(" "), json!("a".repeat(1001)), json!(null)] {
        let body = json!({ "target": { "type": "client", "id": "photos" }, "reason": reason });
        let answer = server.administer("POST", "/admin/blacklist", Some(body)).await;
        answer.fails_with(400, "invalid_request");
    }
    assert_eq!(server.running().ledger().state().next_seq(), before);
}
