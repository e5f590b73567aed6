//! Tokens that the issuer is asked about (RFC 7662).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use token_ledger::guard::options::{GuardOptions, IntrospectionOptions};
use token_ledger::types::time::Timestamp;

use super::api::{Api, introspection, options};
use super::issuer::{Issuer, NOW, Says, with};

/// The answer about an active token, with these changes.
fn active(changes: Value) -> Says {
    let mut answer = with(changes);
    answer["active"] = true.into();
    if answer.get("token_type").is_none() {
        answer["token_type"] = "Bearer".into();
    }
    Says::Json(answer)
}

#[actix_web::test]
async fn the_issuer_is_asked_about_each_token() {
    let issuer = Issuer::saying(active(json!({})));
    let api = Api::by_introspection(options(), introspection(&issuer));
    let answer = api.show("tla_a+b/c==").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["sub"], "alice");
    let (authorization, body) = issuer.last_question();
    let expected = format!("Basic {}", STANDARD.encode("photos%3Aapi:p%25ss"));
    assert_eq!(authorization, expected);
    assert_eq!(body, "token=tla_a%2Bb%2Fc%3D%3D&token_type_hint=access_token");
    assert_eq!(api.show("tla_a+b/c==").await.status, 200);
    assert_eq!(issuer.questions(), 2);
    // A revocation shows at once.
    issuer.now_says(Says::Json(json!({ "active": false })));
    api.show("tla_a+b/c==").await.assert_refused(401, "invalid_token");
}

#[actix_web::test]
async fn what_an_introspection_may_leave_out_is_not_required() {
    let changes =
        json!({ "sub": null, "client_id": null, "jti": null, "iat": null, "scope": null });
    let issuer = Issuer::saying(active(changes));
    let api = Api::by_introspection(options(), introspection(&issuer));
    let answer = api.show("tla_x").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["sub"], Value::Null);
    assert_eq!(answer.json()["scope"], "");
}

#[actix_web::test]
async fn a_token_that_is_not_good_here_is_invalid() {
    let issuer = Issuer::saying(Says::Nothing);
    let api = Api::by_introspection(options(), introspection(&issuer));
    for says in [
        Says::Json(json!({ "active": false })),
        Says::Json(json!({ "active": false, "exp": "garbage" })),
        active(json!({ "aud": "https://other.example.com" })),
        active(json!({ "aud": ["https://other.example.com"] })),
        active(json!({ "aud": null })),
        active(json!({ "iss": "https://other.example.com" })),
        active(json!({ "iss": null })),
        active(json!({ "exp": null })),
        active(json!({ "exp": NOW - 30 })),
        active(json!({ "nbf": NOW + 31 })),
        active(json!({ "token_type": "DPoP" })),
        active(json!({ "token_type": "refresh_token" })),
        active(json!({ "cnf": { "x5t#S256": "x" } })),
        {
            let mut refresh = with(json!({}));
            refresh["active"] = true.into();
            Says::Json(refresh)
        },
    ] {
        issuer.now_says(says);
        api.show("tla_x").await.assert_refused(401, "invalid_token");
    }
}

#[actix_web::test]
async fn an_answer_that_is_not_understood_lets_nothing_through() {
    let issuer = Issuer::saying(Says::Nothing);
    let api = Api::by_introspection(options(), introspection(&issuer));
    let sound = with(json!({ "active": true, "token_type": "Bearer" }));
    let mut oversize = sound.to_string();
    oversize.push_str(&" ".repeat(64 * 1024));
    for says in [
        Says::Status(401, sound.clone()),
        Says::Status(500, sound.clone()),
        Says::Status(302, sound),
        Says::Bytes(b"garbage".to_vec()),
        Says::Bytes(Vec::new()),
        Says::Json(json!({})),
        Says::Json(json!({ "active": "true" })),
        Says::Json(json!({ "active": 1 })),
        Says::Json(json!([true])),
        active(json!({ "exp": "tomorrow" })),
        active(json!({ "aud": { "a": 1 } })),
        Says::Bytes(oversize.clone().into_bytes()),
        Says::Chunks(oversize.into_bytes()),
    ] {
        issuer.now_says(says);
        api.show("tla_x").await.assert_unavailable();
    }
    issuer.stop().await;
    api.show("tla_x").await.assert_unavailable();
}

#[actix_web::test]
async fn an_issuer_that_never_answers_is_not_waited_for() {
    let issuer = Issuer::saying(Says::Nothing);
    let impatient = GuardOptions { answer_timeout_ms: 100, ..options() };
    let api = Api::by_introspection(impatient, introspection(&issuer));
    api.show("tla_x").await.assert_unavailable();
}

#[actix_web::test]
async fn only_so_many_questions_are_under_way_at_once() {
    let issuer = Issuer::saying(Says::Nothing);
    let impatient = GuardOptions { answer_timeout_ms: 500, ..options() };
    let few = IntrospectionOptions { calls_max: 2, ..introspection(&issuer) };
    let api = Api::by_introspection(impatient, few);
    let tokens: Vec<String> = (0..8).map(|i| format!("tla_{i}")).collect();
    for answer in api.show_all(&tokens).await {
        answer.assert_unavailable();
    }
    assert_eq!(issuer.questions(), 2);
}

#[actix_web::test]
async fn a_nested_guard_does_not_ask_again() {
    let issuer = Issuer::saying(active(json!({ "scope": "photos.write" })));
    let api = Api::by_introspection(options(), introspection(&issuer));
    assert_eq!(api.ask("/photos/write", &["Bearer tla_x"]).await.status, 200);
    assert_eq!(issuer.questions(), 1);
    issuer.now_says(active(json!({})));
    let answer = api.ask("/photos/write", &["Bearer tla_x"]).await;
    answer.assert_refused(403, "insufficient_scope");
}

#[actix_web::test]
async fn a_cached_answer_outlives_neither_its_age_nor_its_token() {
    let issuer = Issuer::saying(active(json!({ "exp": NOW + 90 })));
    let cached = IntrospectionOptions { cache_s_max: 60, ..introspection(&issuer) };
    let api = Api::by_introspection(options(), cached);
    for (at, questions) in [(0, 1), (59, 1), (60, 2), (89, 2), (90, 3)] {
        api.clock.set(Timestamp::from_seconds(NOW + at));
        assert_eq!(api.show("tla_x").await.status, 200);
        assert_eq!(issuer.questions(), questions, "at {at}");
    }
    // Each token is asked about for itself, and a bad answer is never kept.
    issuer.now_says(Says::Json(json!({ "active": false })));
    api.show("tla_y").await.assert_refused(401, "invalid_token");
    api.show("tla_y").await.assert_refused(401, "invalid_token");
    assert_eq!(issuer.questions(), 5);
}
