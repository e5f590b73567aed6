//! Auditors and investigators over HTTP: what was valid then, trails, records, leaked tokens.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use token_ledger::crypto::digest;
use token_ledger::entropy::OsEntropy;
use token_ledger::ledger::open::{open_log, read_keys};
use token_ledger::ledger::vault::Vault;
use token_ledger::ledger::vault_files::VaultFiles;
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::tree::TreeHead;

use crate::merkle::mth;
use crate::support::server::{CACHE_BYTES, NOW_S, Server, asking};
use crate::support::wire::{Answer, Call};

/// What was valid at second `at` after the start: `kind:scope` of each token.
async fn valid(server: &Server, whose: &str, at_s: u64) -> Vec<String> {
    let at = token_ledger::types::time::Timestamp::from_seconds(NOW_S + at_s);
    let answer = server.audit(&format!("/audit/valid?{whose}&at={at}")).await.is(200);
    let body = answer.uncached().json();
    assert_eq!(body["at"], json!(at));
    assert!(body["as_of"]["seq"].is_u64() && body["as_of"]["at"].is_string());
    assert_eq!(body["as_of"]["root"], json!(root_of(server, body["as_of"]["seq"].as_u64()).await));
    let tokens = body["tokens"].as_array().unwrap().iter();
    let mut kinds: Vec<String> = tokens
        .map(|token| {
            let generation = token["generation"].as_u64().unwrap();
            format!("{}:{generation}", token["kind"].as_str().unwrap())
        })
        .collect();
    kinds.sort();
    kinds
}

/// The root over the records up to `last`, by the definition and from their exact bytes.
async fn root_of(server: &Server, last: Option<u64>) -> String {
    let last = last.unwrap();
    let export = server.audit(&format!("/audit/records?to={last}&limit=1000")).await.is(200);
    let leaves: Vec<_> = export.body.lines().map(|line| leaf_hash(line.as_bytes())).collect();
    assert_eq!(leaves.len() as u64, last + 1);
    TreeHead { size: last + 1, root: mth(&leaves) }.root_text()
}

fn is(kinds: &[&str]) -> Vec<String> {
    kinds.iter().map(|kind| (*kind).to_owned()).collect()
}

#[actix_web::test]
async fn e45_what_was_valid_is_as_it_was_before_and_after_each_event() {
    let server = Server::start().await;
    server.clock.advance_s(10);
    let tokens = server.tokens("alice").await;
    server.clock.advance_s(10);
    let next = server.refreshed(&tokens).await;
    server.clock.advance_s(10);
    server.revoke(&server.photos, &tokens.access).await.is(200);
    server.clock.advance_s(10);
    server.blacklist(json!({ "type": "client", "id": "photos" })).await.is(201);
    server.clock.advance_s(10);
    let (first, second) = ("access_token:0", "refresh_token:0");
    let (third, fourth) = ("access_token:0", "refresh_token:1");
    let grant = format!("grant={}", next.grant);
    for whose in ["subject=alice", "client=photos", grant.as_str()] {
        let nothing: [&str; 0] = [];
        assert_eq!(valid(&server, whose, 9).await, is(&nothing), "{whose}");
        assert_eq!(valid(&server, whose, 10).await, is(&[first, second]), "{whose}");
        assert_eq!(valid(&server, whose, 19).await, is(&[first, second]), "{whose}");
        assert_eq!(valid(&server, whose, 20).await, is(&[first, third, fourth]), "{whose}");
        assert_eq!(valid(&server, whose, 29).await, is(&[first, third, fourth]), "{whose}");
        assert_eq!(valid(&server, whose, 30).await, is(&[third, fourth]), "{whose}");
        assert_eq!(valid(&server, whose, 39).await, is(&[third, fourth]), "{whose}");
        assert_eq!(valid(&server, whose, 40).await, is(&nothing), "{whose}");
        assert_eq!(valid(&server, whose, 50).await, is(&nothing), "{whose}");
    }
}

#[actix_web::test]
async fn a_valid_token_is_told_with_the_record_that_issued_it() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    server.clock.advance_s(5);
    let answer = server.audit("/audit/valid?subject=alice").await.is(200).json();
    for token in answer["tokens"].as_array().unwrap() {
        assert_eq!(token["scope"], json!("read write"));
        assert_eq!(token["client_id"], json!("photos"));
        assert_eq!(token["grant_id"], json!(tokens.grant));
        let path = format!("/audit/records?from={0}&to={0}", token["seq"]);
        let records = server.audit(&path).await.is(200).records();
        let kind = format!("{}.issued", token["kind"].as_str().unwrap());
        assert_eq!(records[0]["type"], json!(kind));
    }
}

#[actix_web::test]
async fn an_expired_token_was_valid_until_then() {
    let server = Server::start().await;
    server.tokens("alice").await;
    server.clock.advance_s(4000);
    assert_eq!(valid(&server, "subject=alice", 3599).await.len(), 2);
    assert_eq!(valid(&server, "subject=alice", 3600).await, ["refresh_token:0"]);
}

#[actix_web::test]
async fn the_future_and_the_unknown_are_not_answered() {
    let server = Server::start().await;
    let future = "/audit/valid?client=photos&at=2999-01-01T00:00:00Z";
    server.audit(future).await.fails_with(400, "invalid_request");
    for query in ["", "client=photos&subject=alice", "client=photos&at=noon", "client=a%20b"] {
        let answer = server.audit(&format!("/audit/valid?{query}")).await;
        answer.fails_with(400, "invalid_request");
    }
    for query in ["client=nobody", "subject=nobody", "grant=g_AAAAAAAAAAAAAAAAAAAAAA"] {
        let answer = server.audit(&format!("/audit/valid?{query}")).await;
        answer.fails_with(404, "not_found");
    }
    assert_eq!(valid_at_the_beginning_of_time(&server).await, json!([]));
}

async fn valid_at_the_beginning_of_time(server: &Server) -> Value {
    let answer = server.audit("/audit/valid?client=photos&at=1970-01-01T00:00:00Z").await.is(200);
    answer.json()["tokens"].clone()
}

#[actix_web::test]
async fn a_trail_begins_with_the_first_record_and_ends_with_its_own_reading() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    server.refreshed(&tokens).await;
    server.revoke(&server.photos, &tokens.refresh).await.is(200);
    let grant = format!("/audit/grants/{}/trail", tokens.grant);
    for (path, first) in [
        (grant.as_str(), "grant.created"),
        ("/audit/subjects/trail?subject=alice", "subject.registered"),
        ("/audit/clients/photos/trail", "client.registered"),
    ] {
        let answer = server.audit(path).await.is(200).uncached();
        assert_eq!(answer.header("content-type"), "application/jsonl");
        let types = answer.types();
        assert_eq!((types[0].as_str(), types.last().unwrap().as_str()), (first, "audit.read"));
        let rest = ["refresh_token.rotated", "grant.revoked", "code.redeemed"];
        assert!(rest.iter().all(|kind| types.contains(&(*kind).to_owned())), "{types:?}");
        let records = answer.records();
        let last = records.last().unwrap();
        assert_eq!(answer.header("as-of-seq"), last["seq"].to_string());
        assert_eq!(answer.header("as-of-at"), last["at"].as_str().unwrap());
        assert_eq!(answer.header("as-of-root").len(), 44);
        assert_eq!(last["actor"], json!("audit:auditor"));
        assert_eq!(last["data"]["what"], json!("trail"));
        let seqs: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
        assert!(seqs.is_sorted());
    }
    let unknown = "/audit/grants/g_AAAAAAAAAAAAAAAAAAAAAA/trail";
    server.audit(unknown).await.fails_with(404, "not_found");
    server.audit("/audit/grants/photos/trail").await.fails_with(404, "not_found");
}

fn seqs(answer: &Answer) -> Vec<u64> {
    answer.records().iter().map(|record| record["seq"].as_u64().unwrap()).collect()
}

#[actix_web::test]
async fn records_are_filtered_and_come_in_pages_that_end() {
    let server = Server::start().await;
    server.clock.advance_s(10);
    let tokens = server.tokens("alice").await;
    for limit in [1, 2, 5, 1000] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        let end = loop {
            let answer = server.audit(&format!("/audit/records?limit={limit}{cursor}")).await;
            let answer = answer.is(200);
            assert!(answer.records().len() <= limit);
            seen.extend(seqs(&answer));
            assert!(seen.len() < 500, "a reader of small pages follows its own records");
            match answer.header("next-cursor") {
                "" => break answer.header("as-of-seq").parse::<u64>().unwrap(),
                next => cursor = format!("&cursor={next}"),
            }
        };
        let whole: Vec<u64> = (0..seen.len() as u64).collect();
        assert_eq!(seen, whole, "limit {limit}");
        assert!(seen.len() as u64 <= end + 1);
    }
    let grant = format!("grant={}", tokens.grant);
    for (query, holds) in [
        ("type=code.redeemed", 1),
        ("client=photos&type=client.registered", 1),
        ("subject=alice&type=refresh_token.issued", 1),
        ("subject=alice&type=ledger.created", 0),
        ("from=3&to=5", 3),
        ("from=5&to=3", 0),
        ("from=18446744073709551615", 0),
        ("until=2027-01-15T07:59:59Z", 0),
        (&format!("{grant}&type=grant.created"), 1),
    ] {
        let answer = server.audit(&format!("/audit/records?{query}")).await.is(200);
        assert_eq!(answer.records().len(), holds, "{query}");
    }
    let backwards = "/audit/records?since=2027-01-15T08:00:10Z&until=2027-01-15T08:00:09Z";
    let told = server.audit(backwards).await.fails_with(400, "invalid_request");
    assert!(told.text("error_description").contains("since lies after until"));
    let since = "since=2027-01-15T08:00:10Z&type=subject.registered";
    let answer = server.audit(&format!("/audit/records?{since}")).await.is(200);
    assert_eq!(answer.types(), ["subject.registered"]);
}

#[actix_web::test]
async fn a_reading_records_only_names_that_the_log_knows() {
    let server = Server::start().await;
    let before = server.running().ledger().state().next_seq();
    for (query, status, error) in [
        ("type=alice@example.com", 400, "invalid_request"),
        ("client=alice@example.com", 404, "not_found"),
        ("grant=g_AAAAAAAAAAAAAAAAAAAAAA", 404, "not_found"),
        ("subject=alice@example.com", 404, "not_found"),
        ("alice@example.com=1", 400, "invalid_request"),
        ("limit=alice@example.com", 400, "invalid_request"),
        ("cursor=alice@example.com", 400, "invalid_request"),
        ("from=1&from=2", 400, "invalid_request"),
    ] {
        let answer = server.audit(&format!("/audit/records?{query}")).await;
        assert!(!answer.body.contains("alice"), "{answer:?}");
        answer.fails_with(status, error);
    }
    assert_eq!(server.running().ledger().state().next_seq(), before);
}

#[actix_web::test]
async fn every_reading_is_recorded() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    server.audit("/audit/records?limit=1").await.is(200);
    server.audit("/audit/clients/photos/trail").await.is(200);
    server.audit("/audit/valid?subject=alice").await.is(200);
    look_up(&server, json!({ "token": tokens.access })).await;
    let read = server.audit("/audit/records?type=audit.read").await.is(200).records();
    let what: Vec<&str> = read.iter().map(|r| r["data"]["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["records", "trail", "valid", "token", "records"]);
    let digest = digest::access_token(&tokens.access).to_string();
    assert_eq!(read[3]["data"]["parameters"]["digest"], json!(digest));
}

async fn look_up(server: &Server, body: Value) -> Answer {
    let call = Call::new("POST", server.admin("/audit/token")).bearer(&server.audit_token);
    server.wire.send(call.json(&body)).await
}

/// How a token stands, asked for by itself and by its digest.
async fn status(
    server: &Server,
    token: &str,
    digest: token_ledger::types::digest::Digest,
) -> String {
    let mut found = BTreeSet::new();
    for body in [json!({ "token": token }), json!({ "digest": digest })] {
        let answer = look_up(server, body).await.is(200).uncached();
        assert!(!answer.body.contains(token));
        let body = answer.json();
        assert!(body["as_of"]["seq"].is_u64());
        assert_eq!((&body["known"], &body["digest"]), (&json!(true), &json!(digest)), "{body}");
        assert_eq!(body["client_id"], json!("photos"));
        let why: Vec<_> = body["why"].as_array().unwrap().iter().collect();
        let types: Vec<_> = why.iter().map(|record| record["type"].as_str().unwrap()).collect();
        found.insert(format!("{} {types:?}", body["status"].as_str().unwrap()));
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.pop_first().unwrap()
}

#[actix_web::test]
async fn a_leaked_token_is_explained_alive_and_long_dead() {
    let mut server = Server::start().await;
    let (_, code) = server.code(&server.photos, "alice").await;
    let code_digest = digest::authorization_code(&code);
    let created = "[\"grant.created\"]";
    assert_eq!(status(&server, &code, code_digest).await, format!("valid {created}"));
    let tokens = server.tokens("alice").await;
    let access = digest::access_token(&tokens.access);
    let refresh = digest::refresh_token(&tokens.refresh);
    let (issued, first) = ("\"access_token.issued\"", "\"refresh_token.issued\"");
    assert_eq!(status(&server, &tokens.access, access).await, format!("valid [{issued}]"));
    assert_eq!(status(&server, &tokens.refresh, refresh).await, format!("valid [{first}]"));
    let next = server.refreshed(&tokens).await;
    let spent = format!("spent [{first}, \"refresh_token.rotated\"]");
    assert_eq!(status(&server, &tokens.refresh, refresh).await, spent);
    let next_digest = digest::refresh_token(&next.refresh);
    server.administer("POST", "/admin/clients/photos/disable", None).await.is(200);
    let found = status(&server, &next.refresh, next_digest).await;
    assert!(found.starts_with("disabled"), "{found}");
    server.administer("POST", "/admin/clients/photos/enable", None).await.is(200);
    server.clock.advance_s(4000);
    assert_eq!(status(&server, &tokens.access, access).await, format!("expired [{issued}]"));
    server.revoke(&server.photos, &next.refresh).await.is(200);
    let found = status(&server, &next.refresh, next_digest).await;
    assert_eq!(found, "revoked [\"refresh_token.rotated\", \"grant.revoked\"]");
    server.restart().await;
    let found = status(&server, &tokens.access, access).await;
    assert!(found.starts_with("expired") || found.starts_with("revoked"), "{found}");
    let other = server.tokens("bob").await;
    server.blacklist(json!({ "type": "subject", "id": "bob" })).await.is(201);
    let found = status(&server, &other.access, digest::access_token(&other.access)).await;
    assert_eq!(found, format!("blacklisted [{issued}, \"blacklist.added\"]"));
}

#[actix_web::test]
async fn what_was_never_issued_is_not_known() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let (head, rest) = tokens.access.split_once('.').unwrap();
    let forged = format!("{head}.{}.AAAA", rest.split_once('.').unwrap().0);
    for body in [json!({ "token": forged }), json!({ "digest": "A".repeat(43) })] {
        let answer = look_up(&server, body).await.is(200).json();
        assert_eq!(answer["known"], json!(false));
    }
    for body in [
        json!({ "token": "garbage" }),
        json!({ "digest": "short" }),
        json!({}),
        json!({ "token": tokens.access, "digest": "A".repeat(43) }),
        json!({ "token": ["x"] }),
        json!({ "tokens": "x" }),
    ] {
        look_up(&server, body).await.fails_with(400, "invalid_request");
    }
}

/// The pseudonym of whoever the tokens are of.
async fn pseudonym(server: &Server, grant: &str) -> String {
    let trail = server.audit(&format!("/audit/grants/{grant}/trail")).await.is(200).records();
    trail[0]["subject"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn nobody_is_registered_under_a_name_that_passes_for_a_pseudonym() {
    let server = Server::start().await;
    let alice = pseudonym(&server, &server.tokens("alice").await.grant).await;
    let unknown = token_ledger::types::id::SubjectId::from_bytes([7; 16]).to_string();
    for name in [&alice, &unknown] {
        let refused = server.grant(asking("photos", name)).await.fails_with(400, "invalid_request");
        assert!(refused.text("error_description").contains("by their sub"));
    }
    // Text that only begins like one is a name like any other.
    server.grant(asking("photos", "s_alice")).await.is(201);
    let path = format!("/audit/subjects/trail?subject={alice}");
    let trail = server.audit(&path).await.is(200).records();
    assert!(trail.iter().all(|record| record["subject"] == json!(alice)), "{trail:?}");
}

#[actix_web::test]
async fn a_pseudonym_that_the_log_knows_is_never_taken_for_anybodys_sub() {
    let mut server = Server::start().await;
    let alice = pseudonym(&server, &server.tokens("alice").await.grant).await;
    server.stop().await;
    // As an earlier version registered whoever was named so.
    let replayed = open_log(&server.data(), CACHE_BYTES, 0, |_| {}).unwrap();
    let rows = VaultFiles::open(replayed.directory.clone(), CACHE_BYTES).unwrap();
    let key = zeroize::Zeroizing::new(*read_keys(&replayed.directory).unwrap().vault_key());
    let vault = Vault::new(Box::new(rows), key);
    let shadow = vault.ensure(&alice, &OsEntropy).unwrap().subject;
    assert_ne!(shadow.to_string(), alice);
    drop((vault, replayed));
    server.resume().await;
    let body = json!({ "subject": "alice", "reason": "asked", "legal_basis": "GDPR 17" });
    server.administer("POST", "/admin/subjects/erase", Some(body)).await.is(200);
    for path in ["/audit/subjects/trail?", "/audit/records?"] {
        let read = server.audit(&format!("{path}subject={alice}")).await.is(200).records();
        assert!(read.iter().all(|record| record["subject"] == json!(alice)), "{read:?}");
        assert!(read.iter().any(|record| record["type"] == "subject.erased"), "{read:?}");
    }
}
