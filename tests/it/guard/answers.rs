//! The answers of RFC 6750 section 3, whichever way the token is judged.

use serde_json::json;

use super::api::{Api, jwks, options};
use super::issuer::{NOW, issuer_with_key};

#[actix_web::test]
async fn a_valid_token_opens_the_route_and_names_its_bearer() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    let token = key.token(json!({}));
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = api.ask("/photos", &[&format!("{scheme} {token}")]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = json!({
            "sub": "alice", "client_id": "photos", "jti": "j1", "scope": "photos.read",
            "exp": NOW + 3600,
        });
        assert_eq!(answer.json(), seen);
    }
}

#[actix_web::test]
async fn without_credentials_the_challenge_is_bare() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    let in_query = format!("/photos?access_token={}", key.token(json!({})));
    for (path, headers) in
        [("/photos", vec![]), ("/photos", vec!["Basic YTpi"]), (&in_query, vec![])]
    {
        let answer = api.ask(path, &headers).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"photos\""));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.body, "");
    }
    assert_eq!(issuer.questions(), 0);
}

#[actix_web::test]
async fn a_token_in_the_query_string_changes_nothing() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    let token = format!("Bearer {}", key.token(json!({})));
    assert_eq!(api.ask("/photos?access_token=x", &[&token]).await.status, 200);
}

#[actix_web::test]
async fn a_malformed_header_is_an_invalid_request() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    let token = format!("Bearer {}", key.token(json!({})));
    let twice = format!("{token}, {token}");
    for headers in [
        vec!["Bearer"],
        vec!["Bearer a b"],
        vec!["Bearer {\"a\"}"],
        vec![token.as_str(), token.as_str()],
        vec![token.as_str(), "Basic YTpi"],
        vec![twice.as_str()],
    ] {
        api.ask("/photos", &headers).await.assert_refused(400, "invalid_request");
    }
    assert_eq!(issuer.questions(), 0);
}

#[actix_web::test]
async fn a_token_of_too_narrow_a_scope_is_told_what_is_needed() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    let narrow = format!("Bearer {}", key.token(json!({})));
    let none = format!("Bearer {}", key.token(json!({ "scope": null })));
    for (path, token, scope) in [
        ("/photos/write", &narrow, "photos.write"),
        ("/photos/write", &none, "photos.write"),
        ("/photos/both", &narrow, "photos.read photos.write"),
        ("/photos/admin", &narrow, "photos.admin photos.write"),
    ] {
        let answer = api.ask(path, &[token]).await;
        answer.assert_refused(403, "insufficient_scope");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.ends_with(&format!(", scope=\"{scope}\"")), "{challenge}");
    }
    let wide = key.token(json!({ "scope": "photos.read photos.write photos.admin" }));
    let wide = format!("Bearer {wide}");
    for path in ["/photos", "/photos/write", "/photos/both", "/photos/admin"] {
        assert_eq!(api.ask(path, &[&wide]).await.status, 200, "{path}");
    }
}

#[actix_web::test]
async fn a_requirement_that_is_no_scope_closes_the_route() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    let token = format!("Bearer {}", key.token(json!({})));
    let answer = api.ask("/photos/confused", &[&token]).await;
    answer.assert_refused(403, "insufficient_scope");
    assert!(!answer.header("www-authenticate").unwrap().contains(" scope="));
}

#[actix_web::test]
async fn a_route_without_guard_is_closed_to_its_own_extractor() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    let answer = api.ask("/open", &[&format!("Bearer {}", key.token(json!({})))]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"api\""));
    assert_eq!(issuer.questions(), 0);
}

#[actix_web::test]
async fn no_answer_repeats_what_was_sent() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    for token in ["c2VjcmV0.c2VjcmV0.c2VjcmV0", &key.token(json!({ "aud": "c2VjcmV0" }))] {
        let answer = api.show(token).await;
        answer.assert_refused(401, "invalid_token");
        let text = format!("{:?}{}", answer.headers, answer.body);
        assert!(!text.contains("c2VjcmV0") && !text.contains(token), "{text}");
    }
}
