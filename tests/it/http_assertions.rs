//! `private_key_jwt` over HTTP (RFC 7523 sections 2.2 and 3) with keys that are registered inline,
//! by the rows of the conformance table.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use base64::Engine as _;
use serde_json::{Value, json};
use token_ledger::oauth::credentials::JWT_BEARER;

use crate::guard::issuer::{Key, encode};
use crate::support::server::{API, ISSUER, NOW_S, Server};
use crate::support::wire::{Answer, Call, together};

const OWN: (&str, &str) = ("grant_type", "client_credentials");

/// The claims of a good assertion of `robot`, with changes; null takes a claim away. Each has a
/// `jti` of its own.
pub(crate) fn claims(changes: Value) -> Value {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let jti = format!("jti-{}", NEXT.fetch_add(1, Ordering::SeqCst));
    let mut claims = json!({
        "iss": "robot", "sub": "robot", "aud": ISSUER, "jti": jti,
        "iat": NOW_S, "exp": NOW_S + 60,
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

pub(crate) fn header(key: &Key) -> Value {
    json!({ "alg": key.alg(), "kid": key.kid })
}

pub(crate) fn good(key: &Key) -> String {
    key.sign(&header(key), &claims(json!({})))
}

/// A client `robot` with these keys.
async fn robot(server: &Server, keys: &[&Key]) {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    register(server, "robot", json!({ "jwks": { "keys": keys } })).await;
}

pub(crate) async fn register(server: &Server, id: &str, keys: Value) {
    let mut metadata = json!({
        "client_id": id, "grant_types": ["client_credentials"], "resources": [API],
        "token_endpoint_auth_method": "private_key_jwt",
    });
    metadata.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let party = server.register(metadata).await;
    assert_eq!(party.secret, None, "there is no secret to keep");
}

/// Sends an assertion with a form to a public address.
async fn send(server: &Server, path: &str, assertion: &str, form: &[(&str, &str)]) -> Answer {
    let proof = [("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
    let call = Call::new("POST", server.public(path)).form(&[form, &proof].concat());
    server.wire.send(call).await
}

pub(crate) async fn prove(server: &Server, assertion: &str) -> Answer {
    send(server, "/t/oauth/token", assertion, &[OWN]).await
}

/// What can be seen of an answer, but for its date. The order of headers has no meaning.
fn seen(answer: &Answer) -> (u16, Vec<String>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| name.as_str() != "date");
    let mut headers: Vec<_> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort_unstable();
    (answer.status, headers, answer.body.clone())
}

/// Checks that `answer` is, to the byte, what a wrong secret of an unknown client gets.
pub(crate) async fn is_refused(server: &Server, answer: Answer, what: &str) {
    let form = [OWN, ("client_id", "nobody"), ("client_secret", "wrong")];
    let stranger = Call::new("POST", server.public("/t/oauth/token")).form(&form);
    let stranger = server.wire.send(stranger).await.fails_with(401, "invalid_client");
    assert_eq!(seen(&answer), seen(&stranger), "{what}");
}

#[actix_web::test]
async fn c8_a_signature_of_each_algorithm_proves_the_client_at_each_endpoint() {
    let server = Server::start().await;
    let keys = [Key::eddsa("ed"), Key::es256("es"), Key::rs256("rs")];
    robot(&server, &[&keys[0], &keys[1], &keys[2]]).await;
    for key in &keys {
        let token = prove(&server, &good(key)).await.is(200).uncached().text("access_token");
        // Without a name, the only key of its algorithm is meant.
        let unnamed = key.sign(&json!({ "alg": key.alg() }), &claims(json!({})));
        prove(&server, &unnamed).await.is(200);
        let form = [("token", token.as_str())];
        let answer = send(&server, "/t/oauth/introspect", &good(key), &form).await.is(200);
        assert_eq!(answer.json()["active"], true);
        send(&server, "/t/oauth/revoke", &good(key), &form).await.is(200);
        let answer = send(&server, "/t/oauth/introspect", &good(key), &form).await.is(200);
        assert_eq!(answer.json()["active"], false);
    }
    let full_name = json!({ "alg": "Ed25519", "kid": "ed", "typ": "client-authentication+jwt" });
    prove(&server, &keys[0].sign(&full_name, &claims(json!({})))).await.is(200);
    let named = [OWN, ("client_id", "robot")];
    send(&server, "/t/oauth/token", &good(&keys[0]), &named).await.is(200);
}

#[actix_web::test]
async fn c8_every_claim_is_checked_and_every_refusal_is_that_of_an_unknown_client() {
    // More failures than a caller may have.
    let server = Server::start_with(|raw| {
        (raw.auth_failures_per_minute_max, raw.client_auth_failures_per_minute_max) = (1000, 1000);
    })
    .await;
    let key = Key::eddsa("ed");
    robot(&server, &[&key]).await;
    for (changes, what) in [
        (json!({ "iss": "photos" }), "another issuer"),
        (json!({ "sub": "photos" }), "another subject"),
        (json!({ "iss": "photos", "sub": "photos" }), "a client of another method"),
        (json!({ "iss": "nobody", "sub": "nobody" }), "an unknown client"),
        (json!({ "sub": "a b" }), "no client_id at all"),
        (json!({ "iss": null }), "no issuer"),
        (json!({ "sub": null }), "no subject"),
        (json!({ "aud": null }), "no audience"),
        (json!({ "aud": "https://other.example" }), "another audience"),
        (json!({ "aud": [] }), "an empty audience"),
        (json!({ "aud": format!("{ISSUER}/") }), "nearly the issuer"),
        (json!({ "aud": format!("{ISSUER}/oauth/revoke") }), "an endpoint that was not called"),
        (json!({ "exp": null }), "no expiry"),
        (json!({ "exp": "soon" }), "an expiry that is no number"),
        (json!({ "exp": -1 }), "an expiry before all time"),
        (json!({ "exp": NOW_S - 10 }), "expired"),
        (json!({ "exp": NOW_S + 311 }), "too long"),
        (json!({ "exp": u64::MAX }), "for ever"),
        (json!({ "iat": NOW_S + 11 }), "made in the future"),
        (json!({ "nbf": NOW_S + 11 }), "not valid yet"),
        (json!({ "jti": null }), "no jti"),
        (json!({ "jti": "" }), "an empty jti"),
        (json!({ "jti": 7 }), "a jti that is no string"),
    ] {
        let answer = prove(&server, &key.sign(&header(&key), &claims(changes))).await;
        is_refused(&server, answer, what).await;
    }
    for changes in [
        json!({ "exp": NOW_S - 9 }),
        json!({ "exp": NOW_S + 310 }),
        json!({ "iat": NOW_S + 10, "nbf": NOW_S + 10 }),
        json!({ "iat": null }),
        json!({ "iat": 1.5, "exp": NOW_S as f64 + 60.5 }),
        json!({ "aud": format!("{ISSUER}/oauth/token") }),
        json!({ "aud": ["https://other.example", ISSUER] }),
    ] {
        prove(&server, &key.sign(&header(&key), &claims(changes))).await.is(200);
    }
    // The endpoint that is called, and the token endpoint, are good audiences everywhere.
    for aud in ["revoke", "token"] {
        let claims = claims(json!({ "aud": format!("{ISSUER}/oauth/{aud}") }));
        let assertion = key.sign(&header(&key), &claims);
        send(&server, "/t/oauth/revoke", &assertion, &[("token", "x")]).await.is(200);
    }
}

#[actix_web::test]
async fn c8_the_issuer_can_be_the_only_audience() {
    let server = Server::start_with(|raw| raw.assertion_audience = "issuer".to_owned()).await;
    let key = Key::eddsa("ed");
    robot(&server, &[&key]).await;
    prove(&server, &good(&key)).await.is(200);
    let endpoint = format!("{ISSUER}/oauth/token");
    for aud in [json!(endpoint), json!([ISSUER]), json!([ISSUER, endpoint])] {
        let claims = claims(json!({ "aud": aud }));
        let answer = prove(&server, &key.sign(&header(&key), &claims)).await;
        is_refused(&server, answer, &aud.to_string()).await;
    }
}

#[actix_web::test]
async fn c8_the_key_decides_the_algorithm_and_the_header_only_agrees() {
    // More failures than a caller may have.
    let server = Server::start_with(|raw| {
        (raw.auth_failures_per_minute_max, raw.client_auth_failures_per_minute_max) = (1000, 1000);
    })
    .await;
    let (ed, es, rs) = (Key::eddsa("ed"), Key::es256("es"), Key::rs256("rs"));
    robot(&server, &[&ed, &es, &rs]).await;
    let with = |header: Value, key: &Key| key.sign(&header, &claims(json!({})));
    let named = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid });
    let unsigned = |alg: &str| {
        let signed = with(named(alg, "ed"), &ed);
        format!("{}.", signed.rsplit_once('.').unwrap().0)
    };
    // The public key, which everybody has, as the secret of an HMAC: as JWK, and as its bytes.
    let hmac_with = |secret: &[u8]| {
        let signed = with(named("HS256", "rs"), &rs);
        let message = signed.rsplit_once('.').unwrap().0;
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", encode(tag))
    };
    let modulus = rs.jwk()["n"].as_str().unwrap().to_owned();
    let other = Key::eddsa("ed");
    let (head, payload) = (encode(header(&ed).to_string()), encode(claims(json!({})).to_string()));
    for (assertion, what) in [
        (unsigned("none"), "none"),
        (unsigned("None"), "None"),
        (unsigned("EdDSA"), "no signature"),
        (hmac_with(rs.jwk().to_string().as_bytes()), "HS256 with the JWK"),
        (hmac_with(modulus.as_bytes()), "HS256 with the modulus"),
        (with(named("RS256", "es"), &rs), "RS256 by the key for ES256"),
        (with(named("ES256", "rs"), &es), "ES256 by the key for RS256"),
        (with(named("ES256", "rs"), &rs), "RS256 that says ES256"),
        (with(named("RS256", "rs"), &es), "ES256 that says RS256"),
        (with(named("PS256", "rs"), &rs), "PS256"),
        (with(named("RS384", "rs"), &rs), "RS384"),
        (with(named("EdDSA", "who"), &ed), "an unknown kid"),
        (with(named("EdDSA", "a b"), &ed), "a kid that is none"),
        (with(header(&ed), &other), "the key of somebody else"),
        (with(json!({ "alg": "EdDSA", "kid": "ed", "crit": ["exp"] }), &ed), "crit"),
        (with(json!({ "alg": "EdDSA", "kid": "ed", "typ": "at+jwt" }), &ed), "an access token"),
        (with(json!({ "kid": "ed" }), &ed), "no alg"),
        (format!("{head}.{payload}.{payload}"), "no signature at all"),
        (format!("{head}.{payload}"), "two parts"),
        ("x".to_owned(), "no JWT"),
        ("...".to_owned(), "four parts"),
        ("a".repeat(8192), "as long as a parameter may be"),
    ] {
        is_refused(&server, prove(&server, &assertion).await, what).await;
    }
    let mut flipped = good(&ed).into_bytes();
    let last = flipped.len() - 10;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    is_refused(&server, prove(&server, &flipped).await, "a flipped bit").await;
}

#[actix_web::test]
async fn c8_without_a_name_there_must_be_one_key_of_the_algorithm() {
    let server = Server::start().await;
    let (one, two) = (Key::eddsa("one"), Key::eddsa("two"));
    robot(&server, &[&one, &two]).await;
    let unnamed = one.sign(&json!({ "alg": "EdDSA" }), &claims(json!({})));
    is_refused(&server, prove(&server, &unnamed).await, "a choice").await;
    prove(&server, &good(&two)).await.is(200);
}

#[actix_web::test]
async fn c4_an_assertion_is_the_only_proof_and_says_what_it_is() {
    let server = Server::start().await;
    let key = Key::eddsa("ed");
    robot(&server, &[&key]).await;
    let assertion = good(&key);
    let secret = server.administrator.secret.clone().unwrap();
    let token = server.public("/t/oauth/token");
    let proof = [OWN, ("client_assertion_type", JWT_BEARER), ("client_assertion", &assertion)];
    let basic = Call::new("POST", &token).form(&proof).basic(&server.administrator.id, &secret);
    server.wire.send(basic).await.fails_with(400, "invalid_request");
    let posted = [proof.as_slice(), &[("client_secret", &secret)]].concat();
    server
        .wire
        .send(Call::new("POST", &token).form(&posted))
        .await
        .fails_with(400, "invalid_request");
    let twice = [proof.as_slice(), &[("client_assertion", "x")]].concat();
    server
        .wire
        .send(Call::new("POST", &token).form(&twice))
        .await
        .fails_with(400, "invalid_request");
    for form in [
        vec![OWN, ("client_assertion", assertion.as_str())],
        vec![OWN, ("client_assertion_type", JWT_BEARER), ("client_id", "robot")],
        vec![proof[0], ("client_assertion_type", "urn:x"), proof[2]],
        vec![proof[0], proof[1], proof[2], ("client_id", "photos")],
        vec![proof[0], proof[1], proof[2], ("client_id", "a b")],
        vec![OWN, ("client_id", "robot")],
    ] {
        let answer = server.wire.send(Call::new("POST", &token).form(&form)).await;
        is_refused(&server, answer, &format!("{form:?}")).await;
    }
    // None of that has used it up.
    server.wire.send(Call::new("POST", &token).form(&proof)).await.is(200);
}

#[actix_web::test]
async fn c9_an_assertion_proves_once_also_after_a_restart() {
    let mut server = Server::start().await;
    let (key, other) = (Key::eddsa("ed"), Key::es256("es"));
    robot(&server, &[&key]).await;
    register(&server, "other", json!({ "jwks": { "keys": [other.jwk()] } })).await;
    let assertion = key.sign(&header(&key), &claims(json!({ "jti": "once" })));
    prove(&server, &assertion).await.is(200);
    is_refused(&server, prove(&server, &assertion).await, "again").await;
    let again = key.sign(&header(&key), &claims(json!({ "jti": "once", "exp": NOW_S + 90 })));
    is_refused(&server, prove(&server, &again).await, "the same jti").await;
    let theirs = json!({ "jti": "once", "iss": "other", "sub": "other" });
    let theirs = other.sign(&header(&other), &claims(theirs));
    prove(&server, &theirs).await.is(200);
    server.restart().await;
    for assertion in [&assertion, &again, &theirs] {
        is_refused(&server, prove(&server, assertion).await, "after a restart").await;
    }
    server.clock.advance_s(69);
    is_refused(&server, prove(&server, &assertion).await, "in the leeway").await;

    let used = server.audit("/audit/records?type=client.assertion_used").await.is(200);
    let used = used.records();
    let clients: Vec<_> = used.iter().map(|record| record["client"].as_str().unwrap()).collect();
    assert_eq!(clients, ["robot", "other"]);
    assert!(used.iter().all(|record| record["data"]["digest"].as_str().unwrap().len() == 43));
    server.restart().await;
    let failed = server.audit("/audit/records?type=client.authentication_failed").await.is(200);
    let failed = failed.records();
    let counts: u64 = failed.iter().map(|record| record["data"]["count"].as_u64().unwrap()).sum();
    assert_eq!(counts, 6);
    assert!(failed.iter().all(|record| record["data"]["method"] == "private_key_jwt"));
}

#[actix_web::test]
async fn c9_a_clock_that_was_put_forward_and_right_again_lets_nothing_prove_twice() {
    let mut server = Server::start().await;
    let key = Key::eddsa("ed");
    robot(&server, &[&key]).await;
    let used = good(&key);
    prove(&server, &used).await.is(200);
    server.clock.step_s(3600);
    server.renew().await;
    // What was used is forgotten by now, for it has expired long since.
    server.tokens("alice").await;
    is_refused(&server, prove(&server, &used).await, "it has expired").await;
    server.clock.step_s(-3600);
    is_refused(&server, prove(&server, &used).await, "it was used").await;
    server.restart().await;
    is_refused(&server, prove(&server, &used).await, "it was used before the restart").await;
    // Nor does a token come from the future.
    let access = server.tokens("bob").await.access;
    let payload = access.split('.').nth(1).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims["iat"], NOW_S);
}

#[actix_web::test]
async fn c9_of_many_uses_at_once_one_succeeds() {
    let server = Server::start().await;
    let key = Key::eddsa("ed");
    robot(&server, &[&key]).await;
    let assertion = good(&key);
    let answers = together((0..8).map(|_| prove(&server, &assertion))).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 7, "{statuses:?}");
}

#[actix_web::test]
async fn c9_none_is_accepted_that_cannot_be_remembered() {
    let mut server = Server::start_with(|raw| raw.assertions_kept_max = 1).await;
    let key = Key::eddsa("ed");
    robot(&server, &[&key]).await;
    prove(&server, &good(&key)).await.is(200);
    let second = good(&key);
    let answer = prove(&server, &second).await.fails_with(503, "temporarily_unavailable");
    assert_ne!(answer.header("retry-after"), "");
    // A minute of life and a minute of leeway later there is room again.
    server.clock.advance_s(121);
    server.renew().await;
    let later = claims(json!({ "iat": NOW_S + 121, "exp": NOW_S + 180 }));
    prove(&server, &key.sign(&header(&key), &later)).await.is(200);
}

#[actix_web::test]
async fn c8_keys_are_registered_and_shown_without_anything_private() {
    let server = Server::start().await;
    let key = Key::es256("es");
    let register = async |keys: Value| {
        let mut metadata = json!({
            "grant_types": ["client_credentials"],
            "token_endpoint_auth_method": "private_key_jwt",
        });
        metadata.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        server.administer("POST", "/admin/clients", Some(metadata)).await
    };
    let mut private = key.jwk();
    private["d"] = json!("canary-of-a-private-key");
    for (keys, member) in [
        (json!({}), "jwks"),
        (json!({ "jwks": { "keys": [private] } }), "jwks"),
        (json!({ "jwks": { "keys": [] } }), "jwks"),
        (json!({ "jwks": [key.jwk()] }), "jwks"),
        (json!({ "jwks": { "keys": [key.jwk(), key.jwk()] } }), "jwks"),
        (json!({ "jwks_uri": "http://app.example/jwks" }), "jwks_uri"),
        (
            json!({ "jwks": { "keys": [key.jwk()] }, "jwks_uri": "https://app.example/jwks" }),
            "jwks_uri",
        ),
        (
            json!({ "jwks": { "keys": [key.jwk()] },
                    "token_endpoint_auth_method": "client_secret_basic" }),
            "jwks",
        ),
    ] {
        let answer = register(keys).await.fails_with(400, "invalid_client_metadata");
        let described = answer.text("error_description");
        assert!(described.starts_with(&format!("{member}: ")), "{described}");
        assert!(!answer.body.contains("canary"), "{}", answer.body);
    }
    let answer = register(json!({ "jwks": { "keys": [key.jwk()] } })).await.is(201);
    assert_eq!(answer.json()["jwks"], json!({ "keys": [key.jwk()] }));
    assert_eq!(answer.json().get("client_secret"), None);
    let path = format!("/admin/clients/{}", answer.text("client_id"));
    let secret = format!("{path}/secret");
    server.administer("POST", &secret, None).await.fails_with(409, "conflict");
    // Another way to publish them, and then a secret instead.
    let uri = json!({ "jwks": null, "jwks_uri": "https://app.example/jwks" });
    let answer = server.administer("PATCH", &path, Some(uri)).await.is(200);
    assert_eq!(answer.json()["jwks_uri"], "https://app.example/jwks");
    assert_eq!(answer.json().get("jwks"), None);
    let basic = json!({ "jwks_uri": null, "token_endpoint_auth_method": "client_secret_basic" });
    server.administer("PATCH", &path, Some(basic)).await.is(200);
    server.administer("POST", &secret, None).await.is(200);
}
