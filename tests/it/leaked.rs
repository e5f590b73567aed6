//! What is said of a token that was found: the record that ended it and no later one, as of one
//! record, and in agreement with what is valid.

use serde_json::{Value, json};
use token_ledger::audit::leak::{Above, Kind, Known, Status, judge};
use token_ledger::audit::records::decode;
use token_ledger::audit::trail::{Trail, walk};
use token_ledger::crypto::digest;
use token_ledger::domain::record::Record;
use token_ledger::domain::state::State;
use token_ledger::ledger::open::open_log;
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::store::{Store, records_from};
use token_ledger::types::digest::Digest;
use token_ledger::types::id::{GrantId, Seq};

use crate::support::server::{CACHE_BYTES, Server, photos};
use crate::support::wire::Call;

/// The status of a token, and the positions of the records that made it so.
async fn found(server: &Server, token: &str) -> (String, Vec<u64>, Value) {
    let call = Call::new("POST", server.admin("/audit/token")).bearer(&server.audit_token);
    let body = server.wire.send(call.json(&json!({ "token": token }))).await.is(200).json();
    let why = body["why"].as_array().unwrap().iter();
    let seqs: Vec<u64> = why.map(|record| record["seq"].as_u64().unwrap()).collect();
    assert!(seqs.iter().all(|seq| *seq <= body["as_of"]["seq"].as_u64().unwrap()), "{body}");
    (body["status"].as_str().unwrap().to_owned(), seqs, body["why"].clone())
}

/// The status, and the type and position of the record that made it so.
async fn cause(server: &Server, token: &str) -> (String, String, u64) {
    let (status, seqs, why) = found(server, token).await;
    assert_eq!(seqs.len(), 2, "{why}");
    (status, why[1]["type"].as_str().unwrap().to_owned(), seqs[1])
}

/// The position of the newest record of a type.
async fn newest(server: &Server, kind: &str) -> u64 {
    let read = server.audit(&format!("/audit/records?type={kind}&limit=1000")).await.is(200);
    read.records().last().unwrap()["seq"].as_u64().unwrap()
}

fn is(status: &str, kind: &str, seq: u64) -> (String, String, u64) {
    (status.to_owned(), kind.to_owned(), seq)
}

#[actix_web::test]
async fn a_disabled_client_is_told_by_the_record_that_disabled_it() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    server.administer("POST", "/admin/clients/photos/disable", None).await.is(200);
    let disabled = newest(&server, "client.disabled").await;
    server.audit("/audit/clients/photos/trail").await.is(200);
    for token in [&tokens.access, &tokens.refresh] {
        assert_eq!(cause(&server, token).await, is("disabled", "client.disabled", disabled));
    }
    server.administer("POST", "/admin/clients/photos/enable", None).await.is(200);
    assert_eq!(found(&server, &tokens.access).await.0, "valid");
    server.administer("POST", "/admin/clients/photos/disable", None).await.is(200);
    let again = newest(&server, "client.disabled").await;
    assert_eq!(cause(&server, &tokens.refresh).await, is("disabled", "client.disabled", again));
}

#[actix_web::test]
async fn a_refresh_token_whose_client_may_no_longer_refresh_is_not_called_valid() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let change = async |body: Value| {
        server.administer("PATCH", "/admin/clients/photos", Some(body)).await.is(200);
        newest(&server, "client.updated").await
    };
    let lost = change(json!({ "grant_types": ["authorization_code"] })).await;
    change(json!({ "client_name": "Photos" })).await;
    let told = cause(&server, &tokens.refresh).await;
    assert_eq!(told, is("disabled", "client.updated", lost), "the change that took it away");
    assert_eq!(found(&server, &tokens.access).await.0, "valid", "no refresh is needed for it");
    let valid = server.audit("/audit/valid?subject=alice").await.is(200).json();
    assert_eq!(valid["tokens"].as_array().unwrap().len(), 1, "{valid}");
    server.refresh(&server.photos, &tokens.refresh).await.fails_with(400, "unauthorized_client");
    change(json!({ "grant_types": ["authorization_code", "refresh_token"] })).await;
    assert_eq!(found(&server, &tokens.refresh).await.0, "valid");
}

#[actix_web::test]
async fn the_entry_that_killed_is_told_and_not_a_later_one() {
    let server = Server::start().await;
    for target in
        [json!({ "type": "client", "id": "photos" }), json!({ "type": "subject", "id": "alice" })]
    {
        let tokens = server.tokens("alice").await;
        let first = server.blacklist(target.clone()).await.is(201).json();
        let path = format!("/admin/blacklist/{}", first["id"].as_str().unwrap());
        server.administer("DELETE", &path, None).await.is(200);
        let later = server.tokens("alice").await;
        let second = server.blacklist(target).await.is(201).json();
        let told =
            |entry: &Value| is("blacklisted", "blacklist.added", entry["seq"].as_u64().unwrap());
        for (tokens, entry) in [(&tokens, &first), (&later, &second)] {
            assert_eq!(cause(&server, &tokens.access).await, told(entry));
            assert_eq!(cause(&server, &tokens.refresh).await, told(entry));
        }
        // What comes after its end does not change how a token ended.
        let path = format!("/admin/grants/{}", tokens.grant);
        server.administer("DELETE", &path, None).await.is(204);
        assert_eq!(cause(&server, &tokens.refresh).await, told(&first));
        let path = format!("/admin/blacklist/{}", second["id"].as_str().unwrap());
        server.administer("DELETE", &path, None).await.is(200);
    }
}

/// The records up to `end`, folded.
fn fold(records: &[(Record, Vec<u8>)], end: usize) -> State {
    let mut state = State::default();
    for (record, bytes) in &records[..end] {
        state.apply(record, leaf_hash(bytes));
    }
    state
}

/// What is known of a token as of the record `seq`, by a state that may be further.
fn known(
    store: &dyn Store,
    state: &State,
    then: &State,
    (grant, digest): &(GrantId, Digest),
) -> Option<Known> {
    let head = then.head().unwrap();
    let above = Above::look(state, grant, *digest, head.seq)?;
    let (steps, _) = walk(store, &Trail::Grant(*grant), then.grant(grant)?.head, 1000).unwrap();
    judge(store, &above, &steps, head.at).unwrap()
}

/// At each record of a life with everything in it: a look at a state that has gone on says the same as
/// one at the state of then, and calls valid what is valid.
#[actix_web::test]
async fn what_is_said_as_of_a_record_does_not_depend_on_what_came_after() {
    let mut server = Server::start().await;
    server.register(photos("prints")).await;
    let mut issued: Vec<(GrantId, Digest)> = Vec::new();
    let mut keep = |tokens: &crate::support::server::Tokens| {
        let grant = tokens.grant.parse().unwrap();
        issued.push((grant, digest::access_token(&tokens.access)));
        issued.push((grant, digest::refresh_token(&tokens.refresh)));
    };
    let post = async |path: &str| {
        server.administer("POST", path, None).await.is(200);
        server.clock.advance_s(1);
    };
    let lift = async |entry: crate::support::wire::Answer| {
        let path = format!("/admin/blacklist/{}", entry.is(201).text("id"));
        server.administer("DELETE", &path, None).await.is(200);
    };
    let alice = server.tokens("alice").await;
    let bob = server.tokens("bob").await;
    let next = server.refreshed(&alice).await;
    [&alice, &bob, &next].into_iter().for_each(&mut keep);
    post("/admin/clients/photos/disable").await;
    post("/admin/clients/photos/enable").await;
    for grant_types in [&["authorization_code"][..], &["authorization_code", "refresh_token"]] {
        let body = json!({ "grant_types": grant_types });
        server.administer("PATCH", "/admin/clients/photos", Some(body)).await.is(200);
        server.clock.advance_s(1);
    }
    lift(server.blacklist(json!({ "type": "client", "id": "prints" })).await).await;
    lift(server.blacklist(json!({ "type": "subject", "id": "bob" })).await).await;
    server.blacklist(json!({ "type": "subject", "id": "bob" })).await.is(201);
    let carol = server.tokens("carol").await;
    keep(&carol);
    server.revoke(&server.photos, &carol.access).await.is(200);
    server.revoke(&server.photos, &carol.refresh).await.is(200);
    let dora = server.tokens("dora").await;
    keep(&dora);
    let body = json!({ "subject": "dora", "reason": "asked", "legal_basis": "GDPR 17" });
    server.administer("POST", "/admin/subjects/erase", Some(body)).await.is(200);
    server.clock.advance_s(4000);
    let last = server.tokens("alice").await;
    keep(&last);
    server.blacklist(json!({ "type": "client", "id": "photos" })).await.is(201);
    server.clock.advance_s(4000);
    server.stop().await;

    let replayed = open_log(&server.data(), CACHE_BYTES, 0, |_| {}).unwrap();
    let store = replayed.store.as_ref();
    let mut records = Vec::new();
    for block in records_from(store, Seq(0)) {
        for (seq, bytes) in block.unwrap().iter() {
            records.push((decode(seq, bytes).unwrap(), bytes.to_vec()));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for end in 1..=records.len() {
        let (then, head) = (fold(&records, end), records[end - 1].0.clone());
        for token in &issued {
            let told = known(store, &then, &then, token);
            let later = known(store, &replayed.state, &then, token);
            assert_eq!(later, told, "{token:?} as of {}", head.seq);
            let Some(told) = told else { continue };
            assert!(told.why.iter().all(|seq| *seq <= head.seq));
            let live = match told.kind {
                Kind::AccessToken => {
                    let kept = then.token(&token.1.short());
                    kept.is_some_and(|kept| then.is_active(kept, head.at))
                }
                Kind::RefreshToken => {
                    let grant = then.grant(&token.0).unwrap();
                    let current = grant.refresh_token().map(|refresh| refresh.digest);
                    current == Some(token.1) && then.is_refreshable(grant, head.at)
                }
                Kind::AuthorizationCode => unreachable!("none was kept"),
            };
            assert_eq!(told.status == Status::Valid, live, "{told:?} as of {}", head.seq);
            seen.insert(format!("{:?}", told.status));
        }
    }
    let all = ["Blacklisted", "Disabled", "Expired", "Revoked", "Spent", "Valid"];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}
