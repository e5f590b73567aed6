//! Proof Key for Code Exchange (RFC 7636), method S256 only: `plain` proves nothing to someone who
//! has seen the authorization request (RFC 9700 section 2.1.1).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::oauth::error::{ErrorCode, ErrorResponse};
use crate::types::secret::Secret;

/// The SHA-256 of a verifier, 43 characters of base64url. Equality takes constant time.
#[derive(Clone, Copy, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CodeChallenge([u8; 32]);

/// Why a text is not a code challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code_challenge is 43 characters of base64url")]
pub struct NotAChallenge;

impl CodeChallenge {
    /// Reads `code_challenge` and `code_challenge_method` of an authorization request.
    ///
    /// # Errors
    /// `invalid_request` when the challenge is malformed or the method is not `S256`; a method
    /// that is not sent is `plain` (RFC 7636 section 4.3). The caller uses `S256`.
    pub fn parse(code_challenge: &str, method: Option<&str>) -> Result<Self, ErrorResponse> {
        let fault = |what| ErrorResponse::new(ErrorCode::InvalidRequest, what);
        if method != Some("S256") {
            return Err(fault("code_challenge_method must be S256"));
        }
        let malformed = |_| fault("code_challenge must be 43 characters of base64url");
        code_challenge.parse().map_err(malformed)
    }

    /// The challenge that `verifier` answers: `BASE64URL(SHA256(ASCII(code_verifier)))` (RFC 7636
    /// section 4.6).
    pub fn of(verifier: &Secret) -> Self {
        Self(Sha256::digest(verifier.expose()).into())
    }

    /// The 32 bytes that the text encodes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Reads a `code_verifier`: 43 to 128 unreserved characters (RFC 7636 section 4.1).
///
/// # Errors
/// `invalid_request` for anything else; no verifier of that form was ever challenged.
pub fn parse_verifier(code_verifier: Secret) -> Result<Secret, ErrorResponse> {
    let text = code_verifier.expose();
    let unreserved = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
    if (43..=128).contains(&text.len()) && text.bytes().all(unreserved) {
        return Ok(code_verifier);
    }
    let what = "code_verifier must be 43 to 128 letters, digits, '-', '.', '_' or '~'";
    Err(ErrorResponse::new(ErrorCode::InvalidRequest, what))
}

impl PartialEq for CodeChallenge {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl FromStr for CodeChallenge {
    type Err = NotAChallenge;

    fn from_str(text: &str) -> Result<Self, NotAChallenge> {
        let mut digest = [0; 32];
        // A strict length first, because what is shorter would decode as well.
        if text.len() != 43 {
            return Err(NotAChallenge);
        }
        match URL_SAFE_NO_PAD.decode_slice(text, &mut digest) {
            Ok(32) => Ok(Self(digest)),
            Ok(_) | Err(_) => Err(NotAChallenge),
        }
    }
}

impl TryFrom<String> for CodeChallenge {
    type Error = NotAChallenge;

    fn try_from(text: String) -> Result<Self, NotAChallenge> {
        text.parse()
    }
}

impl From<CodeChallenge> for String {
    fn from(challenge: CodeChallenge) -> Self {
        challenge.to_string()
    }
}

impl fmt::Display for CodeChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for CodeChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a6_the_example_of_rfc_7636_appendix_b_matches() {
        let challenge = CodeChallenge::parse(CHALLENGE, Some("S256")).unwrap();
        assert_eq!(challenge, CodeChallenge::of(&secret(VERIFIER)));
        assert_ne!(challenge, CodeChallenge::of(&secret(&VERIFIER.replace('d', "e"))));
        assert_ne!(challenge, CodeChallenge::of(&secret(CHALLENGE)));
        assert_eq!(challenge.to_string(), CHALLENGE);
        let json = serde_json::to_string(&challenge).unwrap();
        assert_eq!(json, format!("\"{CHALLENGE}\""));
        assert_eq!(serde_json::from_str::<CodeChallenge>(&json).unwrap(), challenge);
    }

    #[test]
    fn a6_a_verifier_is_43_to_128_unreserved_characters() {
        for length in [43, 128] {
            assert!(parse_verifier(secret(&"a".repeat(length))).is_ok());
        }
        assert!(parse_verifier(secret(&format!("{}-._~Z9", "a".repeat(43)))).is_ok());
        let with = |c: &str| format!("{}{c}", "a".repeat(43));
        let texts =
            ["a".repeat(42), "a".repeat(129), with("+"), with("="), with(" "), with("\u{e9}")];
        for text in texts {
            let fault = parse_verifier(secret(&text)).err().map(|fault| fault.error());
            assert_eq!(fault, Some(ErrorCode::InvalidRequest), "{text}");
        }
    }

    #[test]
    fn a7_a_challenge_says_s256() {
        for method in [None, Some("plain"), Some("s256"), Some("")] {
            let fault = CodeChallenge::parse(CHALLENGE, method).err().map(|fault| fault.error());
            assert_eq!(fault, Some(ErrorCode::InvalidRequest), "{method:?}");
        }
    }

    #[test]
    fn a_challenge_has_one_spelling() {
        let padded = format!("{CHALLENGE}=");
        let loose = CHALLENGE.replace("cM", "cN"); // bits after the last byte
        for text in ["", &CHALLENGE[1..], &padded, &loose, &CHALLENGE.replace('-', "+"), VERIFIER] {
            let canonical = text == VERIFIER; // it happens to be 43 characters of base64url
            assert_eq!(CodeChallenge::parse(text, Some("S256")).is_ok(), canonical, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", near in "[A-Za-z0-9_=-]{43}") {
            for text in [text, near] {
                let parsed = text.parse::<CodeChallenge>();
                prop_assert!(parsed.is_err() || parsed.is_ok_and(|it| it.to_string() == text));
                let _ = parse_verifier(secret(&text));
            }
        }
    }
}
