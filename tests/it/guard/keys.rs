//! How the issuer's keys are fetched, kept and replaced.

use serde_json::{Value, json};
use token_ledger::guard::options::GuardOptions;

use super::api::{Api, jwks, options};
use super::issuer::{Issuer, Key, Says, issuer_with_key, key_set};

#[actix_web::test]
async fn the_keys_are_fetched_once_for_many_first_requests() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    let tokens: Vec<String> = (0..32).map(|i| key.token(json!({ "jti": i.to_string() }))).collect();
    for answer in api.show_all(&tokens).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(issuer.questions(), 1);
}

#[actix_web::test]
async fn a_new_key_is_found_by_exactly_one_refetch() {
    let (old, issuer) = issuer_with_key();
    let new = Key::es256("k2");
    let api = Api::by_jwks(options(), jwks(&issuer));
    assert_eq!(api.show(&old.token(json!({}))).await.status, 200);
    issuer.now_says(key_set(&[&old, &new]));
    api.clock.advance_s(10);
    let tokens: Vec<String> = (0..16).map(|i| new.token(json!({ "jti": i.to_string() }))).collect();
    for answer in api.show_all(&tokens).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(issuer.questions(), 2);
    assert_eq!(api.show(&old.token(json!({}))).await.status, 200);
    assert_eq!(issuer.questions(), 2);
}

#[actix_web::test]
async fn a_flood_of_unknown_keys_does_not_hammer_the_issuer() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    assert_eq!(api.show(&key.token(json!({}))).await.status, 200);
    let stranger = Key::eddsa("k1");
    let flood: Vec<String> = (0..64)
        .map(|i| {
            let header = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": format!("x{i}") });
            stranger.sign(&header, &super::issuer::with(json!({})))
        })
        .collect();
    for seconds in [0, 9] {
        api.clock.advance_s(seconds);
        for answer in api.show_all(&flood).await {
            answer.assert_refused(401, "invalid_token");
        }
        assert_eq!(issuer.questions(), 1);
    }
    api.clock.advance_s(1);
    for answer in api.show_all(&flood).await {
        answer.assert_refused(401, "invalid_token");
    }
    assert_eq!(issuer.questions(), 2);
}

#[actix_web::test]
async fn a_withdrawn_key_is_gone_at_the_greatest_age() {
    let (old, issuer) = issuer_with_key();
    let new = Key::eddsa("k2");
    let api = Api::by_jwks(options(), jwks(&issuer));
    assert_eq!(api.show(&old.token(json!({}))).await.status, 200);
    issuer.now_says(key_set(&[&new]));
    api.clock.advance_s(299);
    assert_eq!(api.show(&old.token(json!({}))).await.status, 200);
    api.clock.advance_s(1);
    api.show(&old.token(json!({}))).await.assert_refused(401, "invalid_token");
    assert_eq!(api.show(&new.token(json!({}))).await.status, 200);
    assert_eq!(issuer.questions(), 2);
}

#[actix_web::test]
async fn a_clock_that_is_set_back_does_not_stop_the_refetch() {
    let (old, issuer) = issuer_with_key();
    let new = Key::eddsa("k2");
    let api = Api::by_jwks(options(), jwks(&issuer));
    assert_eq!(api.show(&old.token(json!({}))).await.status, 200);
    issuer.now_says(key_set(&[&new]));
    api.clock.set(token_ledger::types::time::Timestamp::from_seconds(super::issuer::NOW - 20));
    assert_eq!(api.show(&new.token(json!({}))).await.status, 200);
}

#[actix_web::test]
async fn old_keys_bridge_an_outage_for_a_while() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    let token = key.token(json!({ "exp": super::issuer::NOW + 100_000 }));
    assert_eq!(api.show(&token).await.status, 200);
    issuer.stop().await;
    api.clock.advance_s(3_599);
    assert_eq!(api.show(&token).await.status, 200);
    // Whether a new key is good cannot be told now; that is not the token's fault.
    api.show(&Key::eddsa("k2").token(json!({}))).await.assert_unavailable();
    api.clock.advance_s(1);
    let answer = api.show(&token).await;
    answer.assert_unavailable();
    assert_eq!(answer.header("retry-after"), Some("10"));
}

#[actix_web::test]
async fn without_any_keys_nothing_is_let_through() {
    let key = Key::eddsa("k1");
    let many: Vec<Value> = (0..33).map(|_| key.jwk()).collect();
    let mut oversize = json!({ "keys": [key.jwk()] }).to_string().into_bytes();
    oversize.resize(64 * 1024 + 1, b' ');
    let sound = json!({ "keys": [key.jwk()] });
    for says in [
        Says::Status(500, sound.clone()),
        Says::Status(404, sound.clone()),
        Says::Status(302, sound.clone()),
        Says::Status(203, sound),
        Says::Bytes(b"<html>".to_vec()),
        Says::Bytes(Vec::new()),
        Says::Json(json!({ "keys": [] })),
        Says::Json(json!({ "keys": many })),
        Says::Bytes(oversize.clone()),
        Says::Chunks(oversize),
    ] {
        let issuer = Issuer::saying(says);
        let api = Api::by_jwks(options(), jwks(&issuer));
        for _ in 0..2 {
            api.show(&key.token(json!({}))).await.assert_unavailable();
        }
        assert_eq!(issuer.questions(), 1);
        // It recovers by itself, once it may ask again.
        issuer.now_says(key_set(&[&key]));
        api.clock.advance_s(10);
        assert_eq!(api.show(&key.token(json!({}))).await.status, 200);
    }
}

#[actix_web::test]
async fn a_set_of_just_the_greatest_size_is_taken() {
    let key = Key::eddsa("k1");
    let mut bytes = json!({ "keys": [key.jwk()] }).to_string().into_bytes();
    bytes.resize(64 * 1024, b' ');
    let issuer = Issuer::saying(Says::Chunks(bytes));
    let api = Api::by_jwks(options(), jwks(&issuer));
    assert_eq!(api.show(&key.token(json!({}))).await.status, 200);
}

#[actix_web::test]
async fn a_bad_document_does_not_replace_good_keys() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    assert_eq!(api.show(&key.token(json!({}))).await.status, 200);
    issuer.now_says(Says::Bytes(b"{\"keys\":7}".to_vec()));
    api.clock.advance_s(300);
    assert_eq!(api.show(&key.token(json!({}))).await.status, 200);
    assert_eq!(issuer.questions(), 2);
    // An issuer that withdraws every key means it.
    issuer.now_says(Says::Json(json!({ "keys": [] })));
    api.clock.advance_s(10);
    api.show(&key.token(json!({}))).await.assert_unavailable();
}

#[actix_web::test]
async fn an_issuer_that_never_answers_is_not_waited_for() {
    let issuer = Issuer::saying(Says::Nothing);
    let impatient = GuardOptions { answer_timeout_ms: 100, ..options() };
    let api = Api::by_jwks(impatient, jwks(&issuer));
    let tokens: Vec<String> = (0..8).map(|_| Key::eddsa("k1").token(json!({}))).collect();
    for answer in api.show_all(&tokens).await {
        answer.assert_unavailable();
    }
    assert_eq!(issuer.questions(), 1);
}
