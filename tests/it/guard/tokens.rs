//! Which JWT is an access token for this API, now (RFC 9068 section 4).

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use token_ledger::guard::options::{JwksOptions, SignatureAlgorithm};
use token_ledger::types::time::Timestamp;

use super::api::{Api, jwks, options};
use super::issuer::{ISSUER, Issuer, Key, NOW, RESOURCE, encode, issuer_with_key, with};

/// A JWS by HMAC with these bytes as its key.
fn hs256(secret: &[u8], header: &Value) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(with(json!({})).to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("{message}.{}", encode(hmac::sign(&key, message.as_bytes())))
}

#[actix_web::test]
async fn j4_each_algorithm_is_checked_by_its_own_key() {
    let keys = [Key::eddsa("ed"), Key::es256("ec"), Key::rs256("rsa")];
    let issuer = Issuer::publishing(&keys.iter().collect::<Vec<_>>());
    let api = Api::by_jwks(options(), jwks(&issuer));
    for key in &keys {
        let token = key.token(json!({}));
        assert_eq!(api.show(&token).await.status, 200, "{}", key.alg());
        // A signature by the key of another is none, whatever the header says.
        for other in keys.iter().filter(|other| other.kid != key.kid) {
            for header in [
                json!({ "typ": "at+jwt", "alg": key.alg(), "kid": other.kid }),
                json!({ "typ": "at+jwt", "alg": other.alg(), "kid": other.kid }),
                json!({ "typ": "at+jwt", "alg": other.alg(), "kid": key.kid }),
            ] {
                let token = key.sign(&header, &with(json!({})));
                api.show(&token).await.assert_refused(401, "invalid_token");
            }
        }
    }
    assert_eq!(issuer.questions(), 1);
}

#[actix_web::test]
async fn an_algorithm_that_is_not_allowed_is_refused() {
    let keys = [Key::eddsa("ed"), Key::es256("ec")];
    let issuer = Issuer::publishing(&keys.iter().collect::<Vec<_>>());
    let algorithms = vec![SignatureAlgorithm::Es256];
    let api = Api::by_jwks(options(), JwksOptions { algorithms, ..jwks(&issuer) });
    api.show(&keys[0].token(json!({}))).await.assert_refused(401, "invalid_token");
    assert_eq!(api.show(&keys[1].token(json!({}))).await.status, 200);
}

#[actix_web::test]
async fn j4_algorithm_confusion_is_refused() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    let jwk = key.jwk();
    let x = jwk["x"].as_str().unwrap();
    let none = json!({ "typ": "at+jwt", "alg": "none", "kid": "k1" });
    let unsigned = format!("{}.{}.", encode(none.to_string()), encode(with(json!({})).to_string()));
    let hmac = json!({ "typ": "at+jwt", "alg": "HS256", "kid": "k1" });
    let published = jwk.to_string();
    for token in [
        unsigned.clone(),
        unsigned.trim_end_matches('.').to_owned(),
        unsigned
            .replace(&encode(none.to_string()), &encode(none.to_string().replace("none", "NONE"))),
        hs256(x.as_bytes(), &hmac),
        hs256(published.as_bytes(), &hmac),
    ] {
        api.show(&token).await.assert_refused(401, "invalid_token");
    }
    // A key that the token brings along is not looked at.
    let own = Key::eddsa("k1");
    for header in [
        json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "k1", "jwk": own.jwk() }),
        json!({ "typ": "at+jwt", "alg": "EdDSA", "jwk": own.jwk(), "jku": "http://127.0.0.1:1/" }),
    ] {
        api.show(&own.sign(&header, &with(json!({})))).await.assert_refused(401, "invalid_token");
    }
}

#[actix_web::test]
async fn j4_only_an_access_token_is_one() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    for (header, status) in [
        (json!({ "typ": "at+jwt" }), 200),
        (json!({ "typ": "AT+JWT" }), 200),
        (json!({ "typ": "application/at+jwt" }), 200),
        (json!({ "typ": "JWT" }), 401),
        (json!({ "typ": "dpop+jwt" }), 401),
        (json!({}), 401),
        (json!({ "typ": "at+jwt", "crit": ["exp"] }), 401),
        (json!({ "typ": "at+jwt", "crit": ["b64"], "b64": false }), 401),
        (json!({ "typ": "at+jwt", "kid": "no such" }), 401),
        (json!({ "typ": "at+jwt", "kid": 1 }), 401),
    ] {
        let mut whole = json!({ "alg": "EdDSA", "kid": "k1" });
        whole.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
        let answer = api.show(&key.sign(&whole, &with(json!({})))).await;
        assert_eq!(answer.status, status, "{whole}");
    }
    assert_eq!(issuer.questions(), 1);
}

#[actix_web::test]
async fn j4_a_token_is_for_this_resource_and_from_this_issuer() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    for (claims, status) in [
        (json!({ "aud": [RESOURCE] }), 200),
        (json!({ "aud": ["https://other.example.com", RESOURCE] }), 200),
        (json!({ "aud": "https://other.example.com" }), 401),
        (json!({ "aud": ["https://other.example.com"] }), 401),
        (json!({ "aud": format!("{RESOURCE}/") }), 401),
        (json!({ "aud": [] }), 401),
        (json!({ "aud": null }), 401),
        (json!({ "aud": 7 }), 401),
        (json!({ "iss": format!("{ISSUER}/") }), 401),
        (json!({ "iss": ISSUER.to_uppercase() }), 401),
        (json!({ "iss": [ISSUER] }), 401),
        (json!({ "iss": null }), 401),
        (json!({ "sub": null }), 401),
        (json!({ "client_id": null }), 401),
        (json!({ "jti": null }), 401),
        (json!({ "iat": null }), 401),
        (json!({ "exp": null }), 401),
        (json!({ "exp": "soon" }), 401),
        (json!({ "scope": "a\"b" }), 401),
        (json!({ "scope": ["photos.read"] }), 401),
        (json!({ "cnf": { "jkt": "x" } }), 401),
    ] {
        let answer = api.show(&key.token(claims.clone())).await;
        assert_eq!(answer.status, status, "{claims}");
        if status == 401 {
            answer.assert_refused(401, "invalid_token");
        }
    }
}

#[actix_web::test]
async fn j4_a_token_expires_exactly_at_its_expiry_and_leeway() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    let token = key.token(json!({ "exp": NOW + 60 }));
    api.clock.set(Timestamp::from_micros((NOW + 60 + 30) * 1_000_000 - 1));
    assert_eq!(api.show(&token).await.status, 200);
    api.clock.set(Timestamp::from_seconds(NOW + 60 + 30));
    let answer = api.show(&token).await;
    answer.assert_refused(401, "invalid_token");
    assert!(answer.body.contains("expired"));
}

#[actix_web::test]
async fn a_token_from_the_future_waits_for_its_time() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    for claim in ["iat", "nbf"] {
        api.clock.set(Timestamp::from_seconds(NOW));
        let token = key.token(json!({ claim: NOW + 31 }));
        api.show(&token).await.assert_refused(401, "invalid_token");
        api.clock.advance_s(1);
        assert_eq!(api.show(&token).await.status, 200, "{claim}");
    }
}

#[actix_web::test]
async fn a_token_that_was_tampered_with_is_refused() {
    let (key, issuer) = issuer_with_key();
    let api = Api::by_jwks(options(), jwks(&issuer));
    let token = key.token(json!({}));
    let parts: Vec<&str> = token.split('.').collect();
    let wider = encode(with(json!({ "scope": "photos.write" })).to_string());
    for forged in [
        format!("{}.{wider}.{}", parts[0], parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], encode([0; 64])),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.{}", parts[2]),
        format!("{token}="),
        "..".to_owned(),
        "a".to_owned(),
    ] {
        api.show(&forged).await.assert_refused(401, "invalid_token");
    }
}
