//! The digests that stand for bearer secrets in the log and in memory. One context per kind, so
//! that a secret of one kind never matches a secret of another.

use std::sync::LazyLock;

use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

use crate::types::digest::Digest;
use crate::types::id::ClientId;

/// The context, hashed once: a digest then costs two compressions and no allocation.
static REFRESH_TOKEN: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("token-ledger 2026 refresh token v1"));
static AUTHORIZATION_CODE: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("token-ledger 2026 authorization code v1"));
static ACCESS_TOKEN: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("token-ledger 2026 access token v1"));
static CLIENT_SECRET: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("token-ledger 2026 client secret v1"));
static ASSERTION: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("token-ledger 2026 client assertion v1"));

/// The digest of a refresh token, over its whole text.
pub fn refresh_token(text: &str) -> Digest {
    digest(&REFRESH_TOKEN, text)
}

/// The digest of an authorization code, over its whole text.
pub fn authorization_code(text: &str) -> Digest {
    digest(&AUTHORIZATION_CODE, text)
}

/// The digest of an access token, opaque or JWT, over its whole text.
pub fn access_token(text: &str) -> Digest {
    digest(&ACCESS_TOKEN, text)
}

/// The digest of a client secret. Plain hashing is enough: the server made it of 256 random bits.
pub fn client_secret(text: &str) -> Digest {
    digest(&CLIENT_SECRET, text)
}

/// The digest of the `jti` of a client's assertion. One client's `jti` never hits another's; no
/// identifier holds the byte between them.
pub fn assertion(client: &ClientId, jti: &str) -> Digest {
    let mut hasher = Hasher::new_from_context_key(&ASSERTION);
    hasher.update(client.as_str().as_bytes()).update(&[0]).update(jti.as_bytes());
    Digest::from_bytes(*hasher.finalize().as_bytes())
}

fn digest(context: &ContextKey, text: &str) -> Digest {
    let hash = Hasher::new_from_context_key(context).update(text.as_bytes()).finalize();
    Digest::from_bytes(*hash.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_secret_has_its_own_digest() {
        let all = [refresh_token, authorization_code, access_token, client_secret];
        let mut digests: Vec<Digest> = all.iter().map(|digest| digest("same text")).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), all.len());
    }

    #[test]
    fn c9_a_jti_is_that_of_its_client() {
        let of = |client: &str, jti| assertion(&client.parse().expect("a client id"), jti);
        assert_ne!(of("a", "1"), of("b", "1"));
        assert_ne!(of("a", "b1"), of("ab", "1"));
        let expected = blake3::derive_key("token-ledger 2026 client assertion v1", b"a\x001");
        assert_eq!(of("a", "1"), Digest::from_bytes(expected));
    }

    #[test]
    fn a_digest_is_what_any_blake3_computes() {
        let expected = blake3::derive_key("token-ledger 2026 refresh token v1", b"tlr_x");
        assert_eq!(refresh_token("tlr_x"), Digest::from_bytes(expected));
        let expected = blake3::derive_key("token-ledger 2026 client secret v1", b"tls_x");
        assert_eq!(client_secret("tls_x"), Digest::from_bytes(expected));
    }
}
