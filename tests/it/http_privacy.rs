//! The log cannot forget, so it must not know: who looks for people or secrets in the files, the
//! exports and the errors finds none, and after an erasure not even the key.

use std::path::Path;

use serde_json::json;
use token_ledger::ledger::open::open_log;
use token_ledger::log::store::records_from;
use token_ledger::types::id::Seq;

use crate::support::server::{CACHE_BYTES, Server, Tokens, VERIFIER, asking, photos};
use crate::support::wire::{Call, Wire};

const SUB: &str = "canary-sub@example.com";
const ADDRESS: &str = "127.0.0.77";
const AGENT: &str = "canary-agent/7";

/// Every file below `path` that holds one of the needles.
fn holding(path: &Path, needles: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, needles));
            continue;
        }
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            // A ledger that serves renames and removes files meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => panic!("{}: {error}", path.display()),
        };
        for needle in needles {
            if bytes.windows(needle.len()).any(|window| window == needle.as_slice()) {
                let needle = String::from_utf8_lossy(needle);
                found.push(format!("{} holds {needle}", path.display()));
            }
        }
    }
    found
}

fn needles(server: &Server) -> Vec<Vec<u8>> {
    let people = [SUB, ADDRESS, AGENT, "canary"].map(|text| text.as_bytes().to_vec());
    let secrets = server.secrets().into_iter().map(String::into_bytes);
    people.into_iter().chain(secrets).collect()
}

/// What a person does from a device of their own, with every failure there is.
async fn live(server: &Server) -> Tokens {
    let device = Wire::new(ADDRESS, AGENT);
    let (grant, code) = server.code(&server.photos, SUB).await;
    let redeem = |code: &str, verifier: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", verifier),
            ("redirect_uri", crate::support::server::CALLBACK),
        ];
        server.ask("/oauth/token", &server.photos, &form)
    };
    let wrong = "canary-wrong-verifier-0123456789-0123456789-0";
    device.send(redeem(&code, wrong)).await.fails_with(400, "invalid_grant");
    let first = device.send(redeem(&code, VERIFIER)).await.is(200);
    let (access, refresh) = (first.text("access_token"), first.text("refresh_token"));
    [&access, &refresh].into_iter().for_each(|token| server.keep(token));
    let next = server.refresh_from(&device, &server.photos, &refresh, &[]).await.is(200);
    server.refresh_from(&device, &server.photos, &refresh, &[]).await.is(200);
    let more = [("scope", "canary-scope")];
    let newest = next.text("refresh_token");
    server.refresh_from(&device, &server.photos, &newest, &more).await.is(400);
    let form = [("token", access.as_str())];
    device.send(server.ask("/oauth/revoke", &server.photos, &form)).await.is(200);
    let other = server.register(photos("other")).await;
    server.refresh_from(&device, &other, &newest, &[]).await.is(400);
    device.send(server.ask("/oauth/revoke", &other, &[("token", &newest)])).await.is(400);
    let mut native = photos("native");
    native["token_endpoint_auth_method"] = json!("none");
    let native = server.register(native).await;
    let call = Call::new("POST", server.public("/t/oauth/token"));
    let call = call.form(&[("grant_type", "refresh_token")]).basic(&native.id, "canary-secret");
    device.send(call).await.is(401);
    let tokens = Tokens { access: next.text("access_token"), refresh: newest, grant };
    for answer in device.errors() {
        for needle in server.secrets().iter().map(String::as_str).chain(["canary", ADDRESS]) {
            assert!(!answer.contains(needle), "{answer}");
        }
    }
    tokens
}

#[actix_web::test]
async fn r11_e28_e29_no_file_no_export_and_no_error_holds_a_person_or_a_secret() {
    let mut server = Server::start().await;
    let tokens = live(&server).await;
    server.blacklist(json!({ "type": "subject", "id": SUB })).await.is(201);
    server.blacklist(json!({ "type": "token", "token": tokens.refresh })).await.is(201);
    server.audit(&format!("/audit/subjects/trail?subject={SUB}")).await.is(200);
    server.audit(&format!("/audit/valid?subject={SUB}")).await.is(200);
    server.audit(&format!("/audit/records?subject={SUB}")).await.is(200);
    let call = Call::new("POST", server.admin("/audit/token")).bearer(&server.audit_token);
    server.wire.send(call.json(&json!({ "token": tokens.refresh }))).await.is(200);
    server.audit("/audit/valid?subject=canary-nobody").await.is(404);
    server.audit("/audit/records?type=canary-type").await.is(400);
    server.stop().await;
    assert_eq!(holding(&server.data(), &needles(&server)), Vec::<String>::new());
    let replayed = open_log(&server.data(), CACHE_BYTES, 0, |_| {}).unwrap();
    for block in records_from(replayed.store.as_ref(), Seq(0)) {
        for (seq, record) in block.unwrap().iter() {
            let record = String::from_utf8_lossy(record);
            for needle in needles(&server) {
                let needle = String::from_utf8_lossy(&needle).into_owned();
                assert!(!record.contains(&needle), "record {seq} holds {needle}");
            }
        }
    }
    for answer in server.wire.errors() {
        for needle in server.secrets().iter().map(String::as_str).chain(["canary", ADDRESS]) {
            assert!(!answer.contains(needle), "{answer}");
        }
    }
}

fn key_of(server: &Server, sub: &str) -> (String, Vec<u8>) {
    let person = server.running().edge.vault.find(sub).unwrap().unwrap();
    (person.subject.to_string(), person.key.as_bytes().to_vec())
}

async fn erase(server: &Server, now: bool) -> crate::support::wire::Answer {
    let body = json!({
        "subject": SUB, "reason": "asked", "legal_basis": "GDPR Art. 17", "rewrite_now": now,
    });
    server.administer("POST", "/admin/subjects/erase", Some(body)).await
}

#[actix_web::test]
async fn e29_after_an_erasure_the_key_stands_in_no_file_and_the_trail_still_verifies() {
    let mut server = Server::start().await;
    let tokens = live(&server).await;
    let bystander = server.tokens("bob").await;
    let (pseudonym, key) = key_of(&server, SUB);
    assert_ne!(
        holding(&server.data(), std::slice::from_ref(&key)),
        Vec::<String>::new(),
        "the search works"
    );
    let answer = erase(&server, true).await.is(200).json();
    assert_eq!((&answer["subject"], &answer["rewritten"]), (&json!(pseudonym), &json!(true)));
    assert_eq!(holding(&server.data(), std::slice::from_ref(&key)), Vec::<String>::new());
    let refused = server.refresh(&server.photos, &tokens.refresh).await;
    refused.fails_with(400, "invalid_grant");
    assert!(!server.is_active(&tokens.access).await);
    server.refreshed(&bystander).await;
    erase(&server, true).await.fails_with(404, "not_found");
    let by_sub = server.audit(&format!("/audit/subjects/trail?subject={SUB}")).await;
    by_sub.fails_with(404, "not_found");
    let path = format!("/audit/subjects/trail?subject={pseudonym}");
    assert!(server.audit(&path).await.is(200).types().contains(&"subject.erased".to_owned()));
    server.restart().await;
    assert!(server.audit(&path).await.is(200).types().contains(&"subject.erased".to_owned()));
    let fresh = server.tokens(SUB).await;
    assert!(server.is_active(&fresh.access).await);
    assert_ne!(key_of(&server, SUB).0, pseudonym, "the same person is somebody new");
    server.stop().await;
    assert_eq!(holding(&server.data(), &[key]), Vec::<String>::new());
}

#[actix_web::test]
async fn without_haste_the_key_is_gone_within_the_configured_time() {
    let server = Server::start_with(|raw| raw.vault_rewrite_s_max = 1).await;
    server.tokens(SUB).await;
    let (_, key) = key_of(&server, SUB);
    erase(&server, false).await.is(200);
    let vault = std::sync::Arc::clone(&server.running().edge.vault);
    while vault.needs_rewrite().unwrap() {
        tokio::task::yield_now().await;
    }
    assert_eq!(holding(&server.data(), &[key]), Vec::<String>::new());
}

#[actix_web::test]
async fn an_erasure_beside_refreshes_and_new_grants_leaves_nobody_half_erased() {
    let server = Server::start().await;
    let bystander = server.tokens("bob").await;
    for _ in 0..3 {
        server.tokens(SUB).await;
        let erasing = async { erase(&server, true).await.status };
        let refreshing = async { server.refresh(&server.photos, &bystander.refresh).await.status };
        let granting = async { server.grant(asking("photos", SUB)).await.status };
        let all: [std::pin::Pin<Box<dyn Future<Output = u16>>>; 3] =
            [Box::pin(erasing), Box::pin(refreshing), Box::pin(granting)];
        let statuses = crate::support::wire::together(all.into_iter()).await;
        assert_eq!(statuses[..2], [200, 200]);
        assert!(matches!(statuses[2], 201 | 409), "{statuses:?}");
        server.tokens(SUB).await;
    }
}
