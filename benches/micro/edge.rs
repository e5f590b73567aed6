//! What the edge does for a request before the writer sees it, and what comes off the answer.

use std::collections::BTreeMap;
use std::hint::black_box;

use token_ledger::crypto::digest;
use token_ledger::crypto::jwt::{AccessTokenClaims, new_jti};
use token_ledger::crypto::presented::Presented;
use token_ledger::crypto::seal::{SubjectKey, open, origin_tag, seal};
use token_ledger::crypto::signing::{SigningAlgorithm, SigningKey};
use token_ledger::crypto::token::{TokenKey, TokenKeys};
use token_ledger::entropy::{OsEntropy, SeededEntropy};
use token_ledger::oauth::form::Form;
use token_ledger::types::id::GrantId;
use token_ledger::types::resource::Resources;
use token_ledger::types::time::Timestamp;

use super::timing::{cost, heading};

const RUNS: usize = 100;

fn each(name: &str, mut run: impl FnMut()) {
    cost(name, "request", RUNS, || (0..RUNS).for_each(|_| run()));
}

pub fn rows() {
    heading("the edge");
    let seeded = SeededEntropy::new(1);
    let grant = GrantId::from_bytes([7; 16]);
    let keys = BTreeMap::from([(1, TokenKey::generate(&seeded))]);
    let keys = TokenKeys::new(1, keys).unwrap();
    let minted = keys.mint_refresh(grant, &seeded);
    let text = minted.token.expose();
    let form = format!("grant_type=refresh_token&refresh_token={text}");
    each("parse a form", || {
        let kind = Some("application/x-www-form-urlencoded");
        black_box(Form::parse(kind, form.as_bytes()).unwrap());
    });
    each("digest of a client secret (BLAKE3)", || {
        black_box(digest::client_secret("tls_Nc3fkN8qAf5Q1xYw6vQm2bT9hZr4uE7sPdXoLgJiCkA"));
    });
    each("recognise a refresh token: tag and digest", || {
        black_box(keys.parse(text));
    });
    let Presented::Refresh(presented) = keys.parse(text) else { return };
    each("derive its successor, with digest", || {
        black_box(keys.successor(&presented).unwrap());
    });
    let key = SubjectKey::from_bytes(&[7; 32]);
    let origin = br#"{"address":"192.0.2.44","user_agent":"photos/4.2 (linux)"}"#;
    let sealed = seal(&key, b"origin", origin, &OsEntropy).unwrap();
    each("seal an origin (XChaCha20-Poly1305)", || {
        black_box(seal(&key, b"origin", origin, &OsEntropy).unwrap());
    });
    each("open a sealed field", || {
        black_box(open(&key, b"origin", &sealed).unwrap());
    });
    each("tag of an origin", || {
        black_box(origin_tag(&key, "192.0.2.44", "photos/4.2 (linux)"));
    });
    tokens(grant);
}

fn tokens(grant: GrantId) {
    let claims = AccessTokenClaims {
        iss: "https://as.example".into(),
        sub: "alice@example.com".into(),
        aud: Resources::new(vec!["https://photos.example".parse().unwrap()]).unwrap(),
        client_id: "c_9aB8cD7eF6gH5iJ4kL3mN2".parse().unwrap(),
        scope: "photos.read photos.write".parse().unwrap(),
        iat: Timestamp::from_seconds(1_790_000_000),
        exp: Timestamp::from_seconds(1_790_003_600),
        jti: new_jti(grant, &OsEntropy),
    };
    for algorithm in SigningAlgorithm::ALL {
        let key = SigningKey::generate(algorithm, &OsEntropy).unwrap();
        each(&format!("access token: claims, base64url, sign ({algorithm})"), || {
            black_box(key.sign_access_token(&claims).unwrap());
        });
        if algorithm == SigningAlgorithm::EdDSA {
            let token = key.sign_access_token(&claims).unwrap();
            each("digest of an access token (BLAKE3)", || {
                black_box(digest::access_token(token.expose()));
            });
        }
    }
}
