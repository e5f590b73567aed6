//! Tokens of the ledger, and the JWTs by which clients and bearers prove something.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey as Ed25519};
use serde_json::{Value, json};
use token_ledger::crypto::assertion::{Assertion, AudienceRule, ExpectedAssertion};
use token_ledger::crypto::jwk_set::PublicJwkSet;
use token_ledger::crypto::leak::{abbreviate, kind_and_digest, looks_like_jwt};
use token_ledger::crypto::presented::Presented;
use token_ledger::crypto::signing::SigningKey;
use token_ledger::crypto::token::{TokenKey, TokenKeys};
use token_ledger::crypto::verify::{Expected, VerifyingKey, verify_access_token};
use token_ledger::entropy::SeededEntropy;
use token_ledger::types::id::GrantId;
use token_ledger::types::secret::Secret;
use token_ledger::types::time::Timestamp;

use crate::edits;

const ISSUER: &str = "https://ledger.example/t";
const ENDPOINT: &str = "https://ledger.example/t/oauth/token";
const NOW_S: u64 = 1_800_000_000;

struct Minted {
    keys: TokenKeys,
    texts: Vec<Vec<u8>>,
}

fn minted() -> &'static Minted {
    static MINTED: OnceLock<Minted> = OnceLock::new();
    MINTED.get_or_init(|| {
        let entropy = SeededEntropy::new(1);
        let both = [(1, TokenKey::generate(&entropy)), (2, TokenKey::generate(&entropy))];
        let keys = TokenKeys::new(2, both.into()).expect("the current one is there");
        let grant = GrantId::from_bytes([7; 16]);
        let texts = [
            keys.mint_refresh(grant, &entropy).token,
            keys.mint_code(grant, &entropy).token,
            keys.mint_access(grant, &entropy).token,
        ];
        Minted { texts: texts.iter().map(|text| text.expose().as_bytes().to_vec()).collect(), keys }
    })
}

/// Nothing is authentic but what was minted, to the byte; and no abbreviation tells a token.
pub(crate) fn token(data: &[u8]) {
    let Minted { keys, texts } = minted();
    let text = edits::text(data, texts);
    let is_minted = texts.iter().any(|minted| minted == text.as_bytes());
    let is_known = !matches!(keys.parse(&text), Presented::Unknown);
    assert_eq!(is_known, is_minted, "{text}");
    let _ = kind_and_digest(&text);
    let short = abbreviate(&text);
    let told = short.rsplit_once('\u{2026}').expect("an abbreviation says so").1;
    assert!(told.chars().count() <= 4 && text.ends_with(told));
    assert!(text.chars().count() >= 32 || told.is_empty());
}

fn ed25519() -> Ed25519 {
    Ed25519::from_bytes(&[9; 32])
}

/// A JWT of the parts that stand in the lines of `data`, signed or with a signature out of the data.
struct Made {
    text: String,
    header: Vec<u8>,
    payload: Vec<u8>,
    is_signed: bool,
}

fn made(data: &[u8], header: &Value, payload: &Value) -> Made {
    let (mode, rest) = data.split_first().map_or((0, data), |(mode, rest)| (*mode, rest));
    let mut lines = rest.splitn(3, |c| *c == b'\n');
    let mut line = || lines.next().unwrap_or_default().to_vec();
    let or_right = |line: Vec<u8>, right: &Value| match line.is_empty() {
        true => right.to_string().into_bytes(),
        false => merged(&line, right),
    };
    let (header, payload) = (or_right(line(), header), or_right(line(), payload));
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&payload));
    let is_signed = mode & 3 != 3;
    let signature = match is_signed {
        true => URL_SAFE_NO_PAD.encode(ed25519().sign(message.as_bytes()).to_bytes()),
        false => String::from_utf8_lossy(&line()).into_owned(),
    };
    Made { text: format!("{message}.{signature}"), header, payload, is_signed }
}

/// An object in `line` changes the right one; anything else takes its place.
fn merged(line: &[u8], right: &Value) -> Vec<u8> {
    let Ok(Value::Object(changes)) = serde_json::from_slice(line) else { return line.to_vec() };
    let mut right = right.clone();
    for (name, value) in changes {
        right[&name] = value;
    }
    right.to_string().into_bytes()
}

/// JSON in UTF-8, to the last member that has no meaning (RFC 7519 section 7.2).
fn is_text(made: &Made) {
    let is_text = |part: &[u8]| std::str::from_utf8(part).is_ok();
    assert!(is_text(&made.header) && is_text(&made.payload), "{}", made.text);
}

/// What is proven is signed, names itself and this server, and is in its time.
pub(crate) fn assertion(data: &[u8]) {
    static KEYS: OnceLock<PublicJwkSet> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let x = URL_SAFE_NO_PAD.encode(ed25519().verifying_key().as_bytes());
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": x }] });
        serde_json::from_value(set).expect("a set of one key")
    });
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    let claims = json!({
        "iss": "robot", "sub": "robot", "aud": ISSUER, "jti": "1", "iat": NOW_S, "exp": NOW_S + 60,
    });
    let raw = String::from_utf8_lossy(data).into_owned();
    let _ = Assertion::parse(Secret::new(raw));
    let made = made(data, &header, &claims);
    let Ok(assertion) = Assertion::parse(Secret::new(made.text.clone())) else { return };
    let expected = ExpectedAssertion {
        issuer: ISSUER,
        endpoints: [ENDPOINT, ENDPOINT],
        audience: AudienceRule::Rfc7523,
        lifetime_s_max: 300,
        leeway_s: 10,
    };
    let now = Timestamp::from_seconds(NOW_S);
    let Ok(proven) = assertion.prove(keys, &expected, now) else { return };
    assert!(made.is_signed, "not signed: {}", made.text);
    is_text(&made);
    let header: Value = serde_json::from_slice(&made.header).expect("JSON");
    let claims: Value = serde_json::from_slice(&made.payload).expect("JSON");
    assert!(matches!(header["alg"].as_str(), Some("EdDSA" | "Ed25519")), "{header}");
    assert!(header.get("crit").is_none_or(Value::is_null), "{header}");
    let client = assertion.client().as_str();
    assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some(client), Some(client)));
    let audience = match &claims["aud"] {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    };
    assert!(
        audience.iter().any(|aud| [ISSUER, ENDPOINT].contains(&aud.as_str().unwrap_or_default()))
    );
    let exp = claims["exp"].as_f64().expect("a number");
    assert!(NOW_S as f64 - 10.0 < exp && exp < NOW_S as f64 + 311.0, "{exp}");
    assert!(!claims["jti"].as_str().expect("a string").is_empty());
    assert!(proven.expires_at.seconds() as f64 <= exp);
    // Any other signature proves nothing.
    let mut flipped = made.text.into_bytes();
    let last = flipped.len() - 5;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let flipped = Assertion::parse(Secret::new(String::from_utf8(flipped).expect("ASCII")));
    assert!(flipped.is_ok_and(|flipped| flipped.prove(keys, &expected, now).is_err()));
}

/// What is accepted is signed, of this issuer, for this resource, an access token, and in its time.
pub(crate) fn access_token(data: &[u8]) {
    static KEY: OnceLock<(VerifyingKey, String)> = OnceLock::new();
    let (key, kid) = KEY.get_or_init(|| {
        let key = SigningKey::from_ed25519_seed(&[9; 32]).expect("a seed makes a key");
        let verifying = VerifyingKey::from_jwk(key.public_jwk()).expect("its public half");
        (verifying, key.kid().to_string())
    });
    let header = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": kid });
    let claims = json!({
        "iss": ISSUER, "sub": "alice", "aud": "https://api.example", "client_id": "photos",
        "scope": "read", "jti": "1", "iat": NOW_S, "exp": NOW_S + 60,
    });
    let audience = "https://api.example".parse().expect("a resource");
    let expected = Expected { issuer: ISSUER, audience: Some(&audience) };
    let now = Timestamp::from_seconds(NOW_S);
    let verify =
        |text: &str| verify_access_token(text, std::slice::from_ref(key), expected, now, 10);
    let raw = String::from_utf8_lossy(data);
    assert!(verify(&raw).is_err(), "made up: {raw}");
    let made = made(data, &header, &claims);
    let Ok(accepted) = verify(&made.text) else { return };
    assert!(made.is_signed && looks_like_jwt(&made.text), "{}", made.text);
    is_text(&made);
    let header: Value = serde_json::from_slice(&made.header).expect("JSON");
    let claims: Value = serde_json::from_slice(&made.payload).expect("JSON");
    let typ = header["typ"].as_str().expect("a type").to_ascii_lowercase();
    assert!(typ == "at+jwt" || typ == "application/at+jwt");
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(
        (claims["iss"].as_str(), &*accepted.sub),
        (Some(ISSUER), claims["sub"].as_str().expect("sub"))
    );
    assert!(NOW_S - 10 < accepted.exp.seconds() && accepted.iat.seconds() <= NOW_S + 10);
    assert!(accepted.aud.contains(&audience));
    let mut flipped = made.text.into_bytes();
    let last = flipped.len() - 5;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    assert!(verify(std::str::from_utf8(&flipped).expect("ASCII")).is_err());
}
