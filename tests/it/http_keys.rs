//! Signing keys of the real service: which one signs, what is published, and the change from one to
//! the next (RFC 9068, RFC 7517), also where a crash cuts it short.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::{App, HttpServer, web};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};
use token_ledger::clock::Clock;
use token_ledger::crypto::keys::{KeyFile, KeyFileRefused};
use token_ledger::crypto::signing::SigningKey;
use token_ledger::domain::command::{Asked, Command};
use token_ledger::domain::record::Actor;
use token_ledger::entropy::OsEntropy;
use token_ledger::guard::Guard;
use token_ledger::guard::options::{GuardOptions, JwksOptions};
use token_ledger::types::id::RequestId;
use zeroize::Zeroizing;

use crate::support::server::{API, ISSUER, Server, config, photos};
use crate::support::wire::{Answer, Call};

/// For how long a key is published before it signs, unless configured.
const PERIOD_S: u64 = 600;
const DAY_S: u64 = 86_400;

async fn key_set(server: &Server) -> Answer {
    server.wire.send(Call::new("GET", server.public("/t/oauth/jwks"))).await.is(200)
}

async fn published(server: &Server) -> Vec<String> {
    let set: JwkSet = serde_json::from_value(key_set(server).await.json()).unwrap();
    set.keys.into_iter().map(|key| key.common.key_id.unwrap()).collect()
}

/// The key that a token names, by which it verifies.
async fn signer_of(server: &Server, token: &str) -> String {
    let header = decode_header(token).unwrap();
    let kid = header.kid.unwrap();
    let set: JwkSet = serde_json::from_value(key_set(server).await.json()).unwrap();
    let key = set.find(&kid).unwrap_or_else(|| panic!("{kid} is not published"));
    let mut validation = Validation::new(header.alg);
    (validation.validate_exp, validation.validate_aud) = (false, false);
    let key = DecodingKey::from_jwk(key).unwrap();
    decode::<Value>(token, &key, &validation).unwrap();
    kid
}

/// The key that signs at present.
async fn signer(server: &Server) -> String {
    let token = server.own_token(&server.administrator, &[]).await;
    signer_of(server, &token).await
}

async fn rotate(server: &Server, body: Option<Value>) -> Answer {
    server.administer("POST", "/admin/keys/rotate", body).await
}

/// Each key with its state, oldest first.
async fn states(server: &Server) -> Vec<(String, String)> {
    let keys = server.administer("GET", "/admin/keys", None).await.is(200).json();
    let text = |key: &Value, member: &str| key[member].as_str().unwrap().to_owned();
    let keys = keys["keys"].as_array().unwrap();
    keys.iter().map(|key| (text(key, "kid"), text(key, "state"))).collect()
}

fn state(of: &str, is: &str) -> (String, String) {
    (of.to_owned(), is.to_owned())
}

fn key_file(server: &Server) -> KeyFile {
    KeyFile::decode(&std::fs::read(server.data().join("keys.json")).unwrap()).unwrap()
}

fn private_halves(server: &Server) -> Vec<String> {
    key_file(server).signing_keys().iter().map(|key| key.kid().to_string()).collect()
}

async fn keep_keys(server: &Server) {
    server.running().edge.keep_keys().await.unwrap();
}

#[actix_web::test]
async fn j1_j5_each_client_has_tokens_of_the_algorithm_that_it_is_registered_for() {
    let server = Server::start().await;
    assert_eq!(published(&server).await.len(), 1);
    for (count, alg) in [(1, "EdDSA"), (2, "ES256"), (3, "RS256")] {
        let mut metadata = photos(&format!("for-{alg}"));
        metadata["access_token_signing_alg"] = json!(alg);
        let client = server.register(metadata).await;
        assert_eq!(published(&server).await.len(), count, "made with the first client");
        let tokens = server.tokens_of(&client, "alice").await;
        let header = decode_header(&tokens.access).unwrap();
        assert_eq!(
            (format!("{:?}", header.alg).as_str(), header.typ.as_deref()),
            (alg, Some("at+jwt"))
        );
        signer_of(&server, &tokens.access).await;
        assert!(server.is_active(&tokens.access).await);
        let path = format!("/admin/clients/{}", client.id);
        let shown = server.administer("GET", &path, None).await.is(200);
        assert_eq!(shown.text("access_token_signing_alg"), alg);
    }
    // A change applies to the next token, and makes no second key.
    let body = json!({ "access_token_signing_alg": "ES256" });
    server.administer("PATCH", "/admin/clients/photos", Some(body)).await.is(200);
    let tokens = server.tokens("bob").await;
    assert_eq!(format!("{:?}", decode_header(&tokens.access).unwrap().alg), "ES256");
    assert_eq!(published(&server).await.len(), 3);
    for alg in [json!("none"), json!("HS256"), json!(["RS256"])] {
        let body = json!({ "access_token_signing_alg": alg });
        let answer = server.administer("PATCH", "/admin/clients/photos", Some(body)).await;
        answer.fails_with(400, "invalid_client_metadata");
    }
}

#[actix_web::test]
async fn e31_a_key_signs_once_it_was_published_for_the_whole_period() {
    let mut server = Server::start().await;
    let old = signer(&server).await;
    let rotated = rotate(&server, None).await.is(201).json();
    let new = rotated["kid"].as_str().unwrap().to_owned();
    assert_eq!(published(&server).await, [old.clone(), new.clone()]);
    assert_eq!(states(&server).await, [state(&old, "signs"), state(&new, "published")]);
    // A second request finds the key that waits.
    let again = rotate(&server, None).await.is(200).json();
    assert_eq!((&again["kid"], &again["signs_from"]), (&rotated["kid"], &rotated["signs_from"]));
    server.clock.advance_s(PERIOD_S - 1);
    keep_keys(&server).await;
    assert_eq!(signer(&server).await, old);
    server.clock.advance_s(1);
    // The time alone makes the change; its record follows.
    assert_eq!(signer(&server).await, new);
    assert_eq!(states(&server).await, [state(&old, "retired"), state(&new, "signs")]);
    keep_keys(&server).await;
    assert_eq!(signer(&server).await, new);
    assert_eq!(published(&server).await, [old.clone(), new.clone()]);
    server.renew().await;
    let kinds = server.audit("/audit/records?type=key.retired").await.is(200).types();
    assert_eq!(kinds, ["key.retired"]);
    server.clock.advance_s(DAY_S - 1);
    assert_eq!(published(&server).await, [old.clone(), new.clone()]);
    keep_keys(&server).await;
    assert_eq!(private_halves(&server), [old.clone(), new.clone()]);
    server.clock.advance_s(1);
    assert_eq!(published(&server).await, std::slice::from_ref(&new));
    keep_keys(&server).await;
    assert_eq!(private_halves(&server), std::slice::from_ref(&new));
    server.restart().await;
    assert_eq!(signer(&server).await, new);
}

#[actix_web::test]
async fn e31_the_key_set_is_kept_for_less_than_the_period() {
    for (period_s, age) in [(600, "public, max-age=300"), (60, "public, max-age=30")] {
        let server = Server::start_with(|raw| raw.key_published_before_use_s = period_s).await;
        assert_eq!(key_set(&server).await.header("cache-control"), age);
    }
}

/// An API behind a guard that knows the published keys only: its address.
fn guarded(server: &Server) -> String {
    let options = GuardOptions::new(ISSUER, API.parse().unwrap());
    let jwks = JwksOptions::new(server.public("/t/oauth/jwks").parse().unwrap());
    let clock: Arc<dyn Clock> = server.clock.clone();
    let guard = Guard::by_jwks(options, jwks, clock).unwrap();
    let api = HttpServer::new(move || {
        let show = web::to(|| async { "shown" });
        App::new().service(web::resource("/photos").wrap(guard.clone()).route(show))
    });
    let api = api.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/photos", api.addrs()[0]);
    actix_web::rt::spawn(api.run());
    url
}

#[actix_web::test]
async fn e31_tokens_of_both_keys_are_good_across_a_rotation_until_they_expire() {
    let server = Server::start().await;
    let api = guarded(&server);
    let ask = async |token: &str| {
        server.wire.send(Call::new("GET", api.as_str()).bearer(token)).await.status
    };
    let old = server.tokens("alice").await;
    assert_eq!(ask(&old.access).await, 200);
    rotate(&server, None).await.is(201);
    // Fetched before the next key was there, and good for half of the period.
    assert_eq!(ask(&old.access).await, 200);
    server.clock.advance_s(PERIOD_S);
    keep_keys(&server).await;
    let new = server.refreshed(&old).await;
    assert_ne!(signer_of(&server, &new.access).await, signer_of(&server, &old.access).await);
    assert_eq!((ask(&old.access).await, ask(&new.access).await), (200, 200));
    server.clock.advance_s(3600 - PERIOD_S - 1);
    assert_eq!((ask(&old.access).await, ask(&new.access).await), (200, 200));
    server.clock.advance_s(301);
    assert_eq!((ask(&old.access).await, ask(&new.access).await), (401, 200));
    // In an emergency the guard fetches the key that it has never seen.
    rotate(&server, Some(json!({ "now": true }))).await.is(201);
    server.clock.advance_s(100);
    let newest = server.refreshed(&new).await;
    assert_eq!((ask(&new.access).await, ask(&newest.access).await), (200, 200));
}

#[actix_web::test]
async fn e31_the_schedule_makes_the_next_key_and_no_token_names_a_key_before_its_time() {
    let server = Server::start_with(|raw| raw.key_rotation_s = DAY_S).await;
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut signers = vec![signer(&server).await];
    seen.insert(signers[0].clone(), 0);
    for _ in 0..150 {
        server.clock.advance_s(1_250);
        let now_s = server.clock.now().seconds();
        keep_keys(&server).await;
        for kid in published(&server).await {
            seen.entry(kid).or_insert(now_s);
        }
        let kid = signer(&server).await;
        assert!(seen[&kid] + PERIOD_S <= now_s, "{kid} was published at {}", seen[&kid]);
        if signers.last() != Some(&kid) {
            signers.push(kid);
        }
    }
    // Two days and some hours.
    assert_eq!((signers.len(), seen.len()), (3, 3));
    assert!(private_halves(&server).len() <= 3);
}

#[actix_web::test]
async fn e31_an_emergency_changes_the_key_at_once_and_blacklisting_it_takes_it_away() {
    let server = Server::start().await;
    let first = signer(&server).await;
    rotate(&server, None).await.is(201);
    let rotated = rotate(&server, Some(json!({ "now": true }))).await.is(201);
    let second = rotated.text("kid");
    assert_eq!(signer(&server).await, second);
    let shown: Vec<String> = states(&server).await.into_iter().map(|(_, state)| state).collect();
    assert_eq!(shown, ["retired", "retired", "signs"]);
    let keys = server.administer("GET", "/admin/keys", None).await.is(200).json();
    let signs =
        keys["keys"].as_array().unwrap().iter().find(|key| key["state"] == "signs").unwrap();
    assert_eq!(signs["since"], rotated.json()["signs_from"], "at once, and not when it was due");
    server.blacklist(json!({ "type": "key", "id": second })).await.is(201);
    // The administrator's own token may have been signed by it.
    let third = signer(&server).await;
    assert!(![&first, &second].contains(&&third));
    assert!(!published(&server).await.contains(&second));
    server.clock.advance_s(PERIOD_S);
    keep_keys(&server).await;
    assert_eq!(signer(&server).await, third);
    for body in [json!({ "alg": "none" }), json!({ "at": 1 }), json!({ "now": 1 })] {
        rotate(&server, Some(body)).await.fails_with(400, "invalid_request");
    }
}

#[actix_web::test]
async fn e31_a_lifted_entry_does_not_bring_a_key_back() {
    let server = Server::start().await;
    let old = signer(&server).await;
    let entry = server.blacklist(json!({ "type": "key", "id": old })).await.is(201).text("id");
    let server = {
        let mut server = server;
        server.renew_admin().await;
        server
    };
    server.administer("DELETE", &format!("/admin/blacklist/{entry}"), None).await.is(200);
    let new = signer(&server).await;
    assert_ne!(new, old);
    assert_eq!(published(&server).await, std::slice::from_ref(&new));
    assert_eq!(states(&server).await, [state(&old, "blacklisted"), state(&new, "signs")]);
}

#[actix_web::test]
async fn e31_a_key_whose_record_was_never_written_is_published_at_the_start_and_waits() {
    let mut server = Server::start().await;
    let old = signer(&server).await;
    server.stop().await;
    // Where a crash between the file and the record leaves it.
    let mut file = key_file(&server);
    let key = SigningKey::from_ed25519_seed(&[7; 32]).unwrap();
    let new = key.kid().to_string();
    file.add_signing_key(key).unwrap();
    std::fs::write(server.data().join("keys.json"), file.encode().as_slice()).unwrap();
    server.resume().await;
    assert_eq!(published(&server).await, [old.clone(), new.clone()]);
    assert_eq!(signer(&server).await, old);
    server.restart().await;
    server.clock.advance_s(PERIOD_S);
    assert_eq!(signer(&server).await, new);
    assert_eq!(published(&server).await.len(), 2);
}

#[actix_web::test]
async fn e31_a_change_that_falls_due_while_nothing_runs_is_made_at_the_start() {
    let mut server = Server::start().await;
    let old = signer(&server).await;
    let new = rotate(&server, None).await.is(201).text("kid");
    server.restart().await;
    assert_eq!(signer(&server).await, old, "a restart shortens nothing");
    server.stop().await;
    server.clock.advance_s(PERIOD_S);
    server.resume().await;
    assert_eq!(signer(&server).await, new);
    server.renew().await;
    let kinds = server.audit("/audit/records?type=key.retired").await.is(200).types();
    assert_eq!(kinds, ["key.retired"]);
}

#[actix_web::test]
async fn a_key_whose_private_half_is_lost_does_not_stop_the_service() {
    let mut server = Server::start().await;
    let old = signer(&server).await;
    let new = rotate(&server, None).await.is(201).text("kid");
    server.clock.advance_s(PERIOD_S);
    assert_eq!(signer(&server).await, new);
    server.stop().await;
    // An old copy of the file, without the key that signs by now.
    let mut file = key_file(&server);
    file.remove_signing_key(&new.parse().unwrap()).unwrap();
    std::fs::write(server.data().join("keys.json"), file.encode().as_slice()).unwrap();
    server.resume().await;
    assert_eq!(signer(&server).await, old);
}

#[actix_web::test]
async fn e31_an_emergency_that_a_crash_cut_short_leaves_one_signer_and_can_be_repeated() {
    // What the crash left: the private half in the file, its record in the log; the retirement of
    // the old key always comes after both.
    for (in_file, in_log) in [(false, false), (true, false), (true, true)] {
        let mut server = Server::start().await;
        let old = signer(&server).await;
        let before = server.tokens("alice").await;
        let key = SigningKey::from_ed25519_seed(&[7; 32]).unwrap();
        let half_made = key.kid().to_string();
        if in_log {
            let command = Command::AddKey {
                kid: key.kid().clone(),
                purpose: "access_token".to_owned(),
                alg: key.algorithm().as_str().to_owned(),
                public: serde_json::to_value(key.public_jwk()).unwrap(),
            };
            let request = RequestId::from_bytes([7; 8]);
            let asked = Asked { request, actor: Actor::Ledger, origin: None, command };
            assert!(server.running().ledger().submit(asked).await.unwrap().outcome.is_ok());
        }
        server.stop().await;
        if in_file {
            let mut file = key_file(&server);
            file.add_signing_key(key).unwrap();
            std::fs::write(server.data().join("keys.json"), file.encode().as_slice()).unwrap();
        }
        server.resume().await;
        // Nobody was told of the new key, so the old one signs on; both are published.
        assert_eq!(signer(&server).await, old);
        assert_eq!(published(&server).await.contains(&half_made), in_file);
        assert!(server.is_active(&before.access).await);
        // The operator, who got no answer, asks again.
        let newest = rotate(&server, Some(json!({ "now": true }))).await.is(201).text("kid");
        assert_eq!(signer(&server).await, newest);
        let signing = states(&server).await.into_iter().filter(|(_, state)| state == "signs");
        assert_eq!(signing.map(|(kid, _)| kid).collect::<Vec<_>>(), std::slice::from_ref(&newest));
        signer_of(&server, &before.access).await;
        server.blacklist(json!({ "type": "key", "id": old })).await.is(201);
        assert!(!published(&server).await.contains(&old));
        server.restart().await;
        assert_eq!(signer(&server).await, newest);
        assert!(!server.is_active(&before.access).await);
        // What was half made never takes over from what came after it.
        server.clock.advance_s(2 * PERIOD_S);
        keep_keys(&server).await;
        assert_eq!(signer(&server).await, newest);
    }
}

async fn rotate_checkpoint(server: &Server, compromised: bool) -> Answer {
    let body = json!({ "compromised": compromised });
    server.administer("POST", "/admin/keys/checkpoint/rotate", Some(body)).await
}

#[actix_web::test]
async fn e31_rotations_that_the_full_disk_refuses_leave_no_keys_behind() {
    let mut server = Server::start().await;
    let signs = signer(&server).await;
    server.stop().await;
    let full = config(|raw| raw.disk_free_bytes_min = 1 << 44);
    let roomy = std::mem::replace(&mut server.config, full);
    server.resume().await;
    for _ in 0..40 {
        let refused = rotate(&server, Some(json!({ "now": true }))).await;
        refused.fails_with(503, "temporarily_unavailable");
        let refused = rotate_checkpoint(&server, true).await;
        refused.fails_with(503, "temporarily_unavailable");
    }
    assert_eq!(private_halves(&server), std::slice::from_ref(&signs));
    assert_eq!(key_file(&server).checkpoint_seeds().count(), 1);
    server.stop().await;
    server.config = roomy;
    server.resume().await;
    assert_eq!(published(&server).await, std::slice::from_ref(&signs));
    rotate(&server, Some(json!({ "now": true }))).await.is(201);
    rotate_checkpoint(&server, true).await.is(201);
}

#[actix_web::test]
async fn e31_keys_of_which_the_log_never_spoke_give_way_to_the_next_one() {
    let server = Server::start().await;
    let first = signer(&server).await;
    // What rotations leave whose records the writer never took.
    let leave = |file: &mut KeyFile| {
        for number in 1..4 {
            file.add_signing_key(SigningKey::from_ed25519_seed(&[number; 32]).unwrap())?;
            file.add_checkpoint_seed(Zeroizing::new([number; 32]))?;
        }
        Ok(())
    };
    server.running().edge.keyring.change::<KeyFileRefused>(leave, |_| Ok(())).unwrap();
    let next = rotate(&server, None).await.is(201).text("kid");
    assert_eq!(private_halves(&server), [first, next]);
    rotate_checkpoint(&server, false).await.is(201);
    let file = key_file(&server);
    assert_eq!(file.checkpoint_seeds().count(), 2);
    assert!(file.checkpoint_seeds().all(|seed| (1..4).all(|number| *seed != [number; 32])));
}

#[actix_web::test]
async fn e32_after_the_keys_of_opaque_tokens_were_replaced_old_tokens_live_on() {
    let mut server = Server::start().await;
    let mut opaque = photos("opaque");
    opaque["access_token_format"] = json!("opaque");
    let opaque = server.register(opaque).await;
    let old = server.tokens_of(&opaque, "alice").await;
    let (_, code) = server.code(&opaque, "bob").await;
    let first = server.refresh(&opaque, &old.refresh).await.is(200).text("refresh_token");
    server.stop().await;
    let mut file = key_file(&server);
    file.add_token_key(&OsEntropy).unwrap();
    std::fs::write(server.data().join("keys.json"), file.encode().as_slice()).unwrap();
    server.resume().await;
    assert!(server.is_active(&old.access).await);
    server.exchange(&opaque, &code).await.is(200);
    // A retry gets the successor that it would have got before.
    let retry = server.refresh(&opaque, &old.refresh).await.is(200);
    assert_eq!(retry.text("refresh_token"), first);
    let next = server.refresh(&opaque, &first).await.is(200).text("refresh_token");
    server.refresh(&opaque, &next).await.is(200);
    server.refresh(&opaque, &old.refresh).await.fails_with(400, "invalid_grant");
}
