//! Identifiers and digests that follow from small names, so that tests read well and repeat.

use token_ledger::crypto::seal::Sealed;
use token_ledger::domain::client::AccessTokenFormat;
use token_ledger::domain::command::{Draft, Owner};
use token_ledger::types::digest::Digest;
use token_ledger::types::id::{BlacklistId, ClientId, GrantId, KeyId, OriginTag, SubjectId};
use token_ledger::types::resource::Resources;
use token_ledger::types::scope::Scope;
use token_ledger::types::time::Timestamp;

fn hash<const N: usize>(kind: &str, name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind.as_bytes()).update(b" ").update(name.as_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn digest(name: &str) -> Digest {
    Digest::from_bytes(hash("digest", name))
}

pub(crate) fn grant_id(name: &str) -> GrantId {
    GrantId::from_bytes(hash("grant", name))
}

pub(crate) fn subject_id(name: &str) -> SubjectId {
    SubjectId::from_bytes(hash("subject", name))
}

pub(crate) fn blacklist_id(name: &str) -> BlacklistId {
    BlacklistId::from_bytes(hash("blacklist", name))
}

pub(crate) fn tag(name: &str) -> OriginTag {
    OriginTag::from_bytes(hash("tag", name))
}

pub(crate) fn client_id(name: &str) -> ClientId {
    name.parse().unwrap()
}

pub(crate) fn key_id(name: &str) -> KeyId {
    name.parse().unwrap()
}

pub(crate) fn scope(text: &str) -> Scope {
    text.replace('+', " ").parse().unwrap()
}

pub(crate) fn resources(text: &str) -> Resources {
    let named = text.split('+').filter(|name| !name.is_empty());
    Resources::new(named.map(|name| format!("https://{name}.example").parse().unwrap()).collect())
        .unwrap()
}

/// Noise in the shape of a sealed field: nothing below the edge opens one.
pub(crate) fn sealed(name: &str) -> Sealed {
    use base64::Engine as _;
    let noise: [u8; 48] = hash("sealed", name);
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(noise);
    format!("x1.{text}").parse().unwrap()
}

pub(crate) fn owner(name: &str) -> Owner {
    Owner { subject: subject_id(name), sub: sealed(name) }
}

/// The code of a grant.
pub(crate) fn code(grant: &str) -> Digest {
    digest(&format!("code {grant}"))
}

/// The refresh token of a grant in a generation. `secret` is empty for the one that is derived.
pub(crate) fn refresh_digest(grant: &str, generation: u32, secret: &str) -> Digest {
    digest(&format!("{grant}.{generation}{secret}"))
}

pub(crate) fn draft(name: &str, scope: Scope, audience: Resources, expires_at: Timestamp) -> Draft {
    let (jti, format, key) = (None, AccessTokenFormat::Opaque, None);
    Draft { digest: digest(name), jti, format, key, scope, audience, expires_at }
}
