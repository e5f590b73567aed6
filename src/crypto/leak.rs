//! What an investigator who holds a leaked text can learn from it alone: which kind it looks like,
//! and the digest to search the ledger for. Says nothing about whether it is genuine.

use std::fmt;

use super::digest;
use super::token::{
    ACCESS_TOKEN_PREFIX, AUTHORIZATION_CODE_PREFIX, CLIENT_SECRET_PREFIX, REFRESH_TOKEN_PREFIX,
};
use crate::types::digest::Digest;

/// The kinds of bearer secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenKind {
    /// A refresh token.
    RefreshToken,
    /// An authorization code.
    AuthorizationCode,
    /// An access token, opaque or JWT.
    AccessToken,
    /// A client secret.
    ClientSecret,
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RefreshToken => "refresh_token",
            Self::AuthorizationCode => "authorization_code",
            Self::AccessToken => "access_token",
            Self::ClientSecret => "client_secret",
        })
    }
}

/// The kind that `text` looks like, and its digest as that kind. Needs no key, so that a token of
/// a lost key can still be found in the log. Three parts with dots between are taken for a JWT.
pub fn kind_and_digest(text: &str) -> Option<(TokenKind, Digest)> {
    let known = match text.split_at_checked(4) {
        Some((REFRESH_TOKEN_PREFIX, _)) => Some(TokenKind::RefreshToken),
        Some((AUTHORIZATION_CODE_PREFIX, _)) => Some(TokenKind::AuthorizationCode),
        Some((ACCESS_TOKEN_PREFIX, _)) => Some(TokenKind::AccessToken),
        Some((CLIENT_SECRET_PREFIX, _)) => Some(TokenKind::ClientSecret),
        Some(_) | None => looks_like_jwt(text).then_some(TokenKind::AccessToken),
    };
    known.map(|kind| (kind, digest_as(kind, text)))
}

/// Whether `text` has the three parts of a signed JWT (RFC 7515 section 7.1).
pub fn looks_like_jwt(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    text.split('.').count() == 3 && text.split('.').all(part)
}

fn digest_as(kind: TokenKind, text: &str) -> Digest {
    match kind {
        TokenKind::RefreshToken => digest::refresh_token(text),
        TokenKind::AuthorizationCode => digest::authorization_code(text),
        TokenKind::AccessToken => digest::access_token(text),
        TokenKind::ClientSecret => digest::client_secret(text),
    }
}

/// A form of a secret that may be shown to people: its kind and its last four characters.
/// Of what is too short to hide the rest, nothing.
pub fn abbreviate(text: &str) -> String {
    let prefix = match text.split_at_checked(4) {
        Some((prefix, _)) if prefix.starts_with("tl") && prefix.ends_with('_') => prefix,
        Some(_) | None if looks_like_jwt(text) => "jwt ",
        Some(_) | None => "",
    };
    // Fewer than 32 characters may be a secret that somebody chose; four of them would tell much.
    let characters = text.chars().count();
    let shown = if characters < 32 { 0 } else { 4 };
    let last: String = text.chars().skip(characters - shown).collect();
    format!("{prefix}\u{2026}{last}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::token::{TokenKey, TokenKeys, new_client_secret};
    use crate::entropy::SeededEntropy;
    use crate::types::id::GrantId;

    #[test]
    fn e28_a_leaked_token_is_found_without_any_key() {
        let entropy = SeededEntropy::new(1);
        let keys = TokenKeys::new(1, [(1, TokenKey::generate(&entropy))].into()).expect("a key");
        let grant = GrantId::from_bytes([7; 16]);
        let refresh = keys.mint_refresh(grant, &entropy);
        let code = keys.mint_code(grant, &entropy);
        let access = keys.mint_access(grant, &entropy);
        let secret = new_client_secret(&entropy);
        for (minted, kind) in [
            (refresh, TokenKind::RefreshToken),
            (code, TokenKind::AuthorizationCode),
            (access, TokenKind::AccessToken),
            (secret, TokenKind::ClientSecret),
        ] {
            assert_eq!(kind_and_digest(minted.token.expose()), Some((kind, minted.digest)));
        }
        let jwt = "eyJh.eyJp.c2ln";
        let expected = (TokenKind::AccessToken, digest::access_token(jwt));
        assert_eq!(kind_and_digest(jwt), Some(expected));
        for text in ["", "hunter2", "a.b", "a.b.c.d", "a..c", "a.b.c d", "tl\u{20ac}_"] {
            assert_eq!(kind_and_digest(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_abbreviation_hides_all_but_the_end() {
        let refresh = format!("tlr_{}wxyz", "A".repeat(88));
        assert_eq!(abbreviate(&refresh), "tlr_\u{2026}wxyz");
        let jwt = format!("{}.{}.{}wxyz", "a".repeat(20), "b".repeat(20), "c".repeat(20));
        assert_eq!(abbreviate(&jwt), "jwt \u{2026}wxyz");
        assert_eq!(abbreviate("hunter2"), "\u{2026}");
        assert_eq!(abbreviate(""), "\u{2026}");
        assert_eq!(abbreviate("tlr_short"), "tlr_\u{2026}");
        assert_eq!(abbreviate(&"\u{20ac}".repeat(40)), format!("\u{2026}{}", "\u{20ac}".repeat(4)));
    }
}
