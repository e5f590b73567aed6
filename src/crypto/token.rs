//! The opaque tokens: how they are made, and how what a client presents is told from garbage
//! without a look-up. Never keeps a token; what parsed is authentic, not necessarily valid.

use std::collections::BTreeMap;
use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::presented::{Presented, PresentedAccess, PresentedCode, PresentedRefresh};
use super::{base64url, digest};
use crate::entropy::{Entropy, bytes};
use crate::types::digest::Digest;
use crate::types::id::GrantId;
use crate::types::secret::Secret;

/// How every refresh token begins.
pub const REFRESH_TOKEN_PREFIX: &str = "tlr_";
/// How every authorization code begins.
pub const AUTHORIZATION_CODE_PREFIX: &str = "tlc_";
/// How every opaque access token begins.
pub const ACCESS_TOKEN_PREFIX: &str = "tla_";
/// How every client secret begins.
pub const CLIENT_SECRET_PREFIX: &str = "tls_";

/// Key id, grant id, generation, secret, tag.
pub(super) const REFRESH_BYTES: usize = 1 + 16 + 4 + 32 + 16;
/// Key id, grant id, secret, tag.
const OTHER_BYTES: usize = 1 + 16 + 32 + 16;

/// A fresh token and the digest that the ledger keeps of it.
pub struct Minted {
    /// The token, for the one answer that shows it.
    pub token: Secret,
    /// What is stored.
    pub digest: Digest,
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").finish_non_exhaustive()
    }
}

/// The two secrets behind one key id: `tag` makes tokens recognisable, `rotation` derives
/// successors. Neither is in the log.
pub struct TokenKey {
    tag: Zeroizing<[u8; 32]>,
    rotation: Zeroizing<[u8; 32]>,
}

impl TokenKey {
    /// A new key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self::from_bytes(&bytes(entropy), &bytes(entropy))
    }

    /// The key of these bytes.
    pub fn from_bytes(tag: &[u8; 32], rotation: &[u8; 32]) -> Self {
        Self { tag: Zeroizing::new(*tag), rotation: Zeroizing::new(*rotation) }
    }

    pub(super) fn tag_key(&self) -> &[u8; 32] {
        &self.tag
    }

    pub(super) fn rotation_key(&self) -> &[u8; 32] {
        &self.rotation
    }

    /// The tag over a token's prefix and all bytes before the tag.
    fn tag(&self, prefix: &str, body: &[u8]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.tag);
        let mut tag = [0; 16];
        hasher.update(prefix.as_bytes()).update(body).finalize_xof().fill(&mut tag);
        tag
    }

    /// The text of the token with this prefix and these parts.
    fn write(&self, prefix: &str, parts: [&[u8]; 4]) -> Secret {
        let mut raw = Zeroizing::new(Vec::with_capacity(REFRESH_BYTES));
        for part in parts {
            raw.extend_from_slice(part);
        }
        let tag = self.tag(prefix, &raw);
        raw.extend_from_slice(&tag);
        // Reserved whole: growing would leave a copy behind that nobody wipes.
        let mut text = String::with_capacity(prefix.len() + base64url::text_len(REFRESH_BYTES));
        text.push_str(prefix);
        base64url::encode_to(&raw, &mut text);
        Secret::new(text)
    }
}

/// All token keys by key id; one of them makes new tokens, the others recognise old ones.
pub struct TokenKeys {
    current: u8,
    keys: BTreeMap<u8, TokenKey>,
}

/// A set of token keys whose current key is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the current token key {0} is not among the token keys")]
pub struct NoCurrentKey(pub u8);

/// Why a refresh token has no successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSuccessor {
    /// All 2^32 generations of the grant are used up: a new authorization is needed.
    #[error("the grant has no further generation of refresh tokens")]
    LastGeneration,
    /// It was parsed under other keys than these.
    #[error("the token key {0} is not known")]
    UnknownKey(u8),
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").field("current", &self.current).finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// These keys, of which `current` makes new tokens.
    ///
    /// # Errors
    /// [`NoCurrentKey`] when `current` is not one of `keys`: choose one that is.
    pub fn new(current: u8, keys: BTreeMap<u8, TokenKey>) -> Result<Self, NoCurrentKey> {
        if !keys.contains_key(&current) {
            return Err(NoCurrentKey(current));
        }
        Ok(Self { current, keys })
    }

    pub(super) fn current(&self) -> u8 {
        self.current
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, &TokenKey)> {
        self.keys.iter().map(|(id, key)| (*id, key))
    }

    /// The first refresh token of `grant`: generation 0.
    pub fn mint_refresh(&self, grant: GrantId, entropy: &dyn Entropy) -> Minted {
        let secret = Zeroizing::new(bytes::<32>(entropy));
        let (key, current) = self.current_key();
        refresh(key, current, grant, 0, &secret)
    }

    /// The refresh token after `presented`. Derived, not drawn: the same token has the same
    /// successor, after a crash, on another node and after a change of the current key, because a
    /// grant's tokens keep the key id that they began with.
    ///
    /// # Errors
    /// [`NoSuccessor`] for the last generation, or under keys that `presented` was not parsed with.
    pub fn successor(&self, presented: &PresentedRefresh) -> Result<Minted, NoSuccessor> {
        let generation = presented.generation.checked_add(1).ok_or(NoSuccessor::LastGeneration)?;
        let key = self.keys.get(&presented.key).ok_or(NoSuccessor::UnknownKey(presented.key))?;
        let mut hasher = blake3::Hasher::new_keyed(&key.rotation);
        hasher.update(REFRESH_TOKEN_PREFIX.as_bytes()).update(presented.raw.as_slice());
        let secret = hasher.update(&generation.to_be_bytes()).finalize();
        let secret = Zeroizing::new(*secret.as_bytes());
        Ok(refresh(presented.key, key, presented.grant, generation, &secret))
    }

    /// An authorization code for `grant`.
    pub fn mint_code(&self, grant: GrantId, entropy: &dyn Entropy) -> Minted {
        let token = self.mint(AUTHORIZATION_CODE_PREFIX, grant, entropy);
        let digest = digest::authorization_code(token.expose());
        Minted { token, digest }
    }

    /// An opaque access token for `grant`.
    pub fn mint_access(&self, grant: GrantId, entropy: &dyn Entropy) -> Minted {
        let token = self.mint(ACCESS_TOKEN_PREFIX, grant, entropy);
        let digest = digest::access_token(token.expose());
        Minted { token, digest }
    }

    /// What `text` is. One strict length per kind, canonical base64url, and a tag that only this
    /// ledger can make; everything else is [`Presented::Unknown`], without saying why.
    pub fn parse(&self, text: &str) -> Presented {
        let presented = match text.split_at_checked(4) {
            Some((REFRESH_TOKEN_PREFIX, rest)) => {
                self.parse_refresh(rest, || digest::refresh_token(text)).map(Presented::Refresh)
            }
            Some((AUTHORIZATION_CODE_PREFIX, rest)) => {
                self.parse_grant(AUTHORIZATION_CODE_PREFIX, rest).map(|grant| {
                    let digest = digest::authorization_code(text);
                    Presented::Code(PresentedCode { grant, digest })
                })
            }
            Some((ACCESS_TOKEN_PREFIX, rest)) => {
                self.parse_grant(ACCESS_TOKEN_PREFIX, rest).map(|grant| {
                    let digest = digest::access_token(text);
                    Presented::Access(PresentedAccess { grant, digest })
                })
            }
            Some(_) | None => None,
        };
        presented.unwrap_or(Presented::Unknown)
    }

    fn current_key(&self) -> (u8, &TokenKey) {
        (self.current, self.keys.get(&self.current).expect("`new` refuses a missing current key"))
    }

    fn mint(&self, prefix: &str, grant: GrantId, entropy: &dyn Entropy) -> Secret {
        let secret = Zeroizing::new(bytes::<32>(entropy));
        let (id, key) = self.current_key();
        key.write(prefix, [&[id], grant.as_bytes(), &[], secret.as_slice()])
    }

    fn parse_refresh(
        &self,
        rest: &str,
        digest: impl FnOnce() -> Digest,
    ) -> Option<PresentedRefresh> {
        let raw = self.open::<REFRESH_BYTES>(REFRESH_TOKEN_PREFIX, rest)?;
        let (&[key], rest) = raw.split_first_chunk()?;
        let (&grant, rest) = rest.split_first_chunk()?;
        let (&generation, _) = rest.split_first_chunk()?;
        let grant = GrantId::from_bytes(grant);
        let generation = u32::from_be_bytes(generation);
        Some(PresentedRefresh { grant, generation, digest: digest(), key, raw })
    }

    fn parse_grant(&self, prefix: &str, rest: &str) -> Option<GrantId> {
        let raw = self.open::<OTHER_BYTES>(prefix, rest)?;
        let (_key, rest) = raw.split_first_chunk::<1>()?;
        let (&grant, _) = rest.split_first_chunk()?;
        Some(GrantId::from_bytes(grant))
    }

    /// The bytes of a token whose tag is right.
    fn open<const N: usize>(&self, prefix: &str, rest: &str) -> Option<Zeroizing<[u8; N]>> {
        let raw = base64url::decode_exact::<N>(rest)?;
        let (body, tag) = raw.split_last_chunk::<16>()?;
        let key = self.keys.get(body.first()?)?;
        bool::from(key.tag(prefix, body).ct_eq(tag)).then_some(raw)
    }
}

/// A refresh token of these parts.
fn refresh(id: u8, key: &TokenKey, grant: GrantId, generation: u32, secret: &[u8; 32]) -> Minted {
    let parts = [&[id], grant.as_bytes().as_slice(), &generation.to_be_bytes(), secret];
    let token = key.write(REFRESH_TOKEN_PREFIX, parts);
    let digest = digest::refresh_token(token.expose());
    Minted { token, digest }
}

/// A new client secret: `tls_` and 256 random bits. It has no tag, because it comes with its
/// client's id and is compared with that client's digests alone.
pub fn new_client_secret(entropy: &dyn Entropy) -> Minted {
    let raw = Zeroizing::new(bytes::<32>(entropy));
    let mut text = String::with_capacity(CLIENT_SECRET_PREFIX.len() + base64url::text_len(32));
    text.push_str(CLIENT_SECRET_PREFIX);
    base64url::encode_to(raw.as_slice(), &mut text);
    let token = Secret::new(text);
    let digest = digest::client_secret(token.expose());
    Minted { token, digest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    const GRANT: GrantId = GrantId::from_bytes([7; 16]);

    fn keys(current: u8, ids: &[u8]) -> TokenKeys {
        let key = |id: &u8| (*id, TokenKey::from_bytes(&[*id; 32], &[id + 100; 32]));
        TokenKeys::new(current, ids.iter().map(key).collect()).expect("current is one of them")
    }

    fn parse_refresh(keys: &TokenKeys, text: &str) -> PresentedRefresh {
        let Presented::Refresh(presented) = keys.parse(text) else {
            panic!("not a refresh token");
        };
        presented
    }

    #[test]
    fn a_minted_token_parses_as_its_own_kind() {
        let (keys, entropy) = (keys(1, &[1]), SeededEntropy::new(1));
        let minted = keys.mint_refresh(GRANT, &entropy);
        assert_eq!(minted.token.expose().len(), 96);
        let presented = parse_refresh(&keys, minted.token.expose());
        assert_eq!((presented.grant, presented.generation), (GRANT, 0));
        assert_eq!(presented.digest, minted.digest);

        let minted = keys.mint_code(GRANT, &entropy);
        let parsed = keys.parse(minted.token.expose());
        assert!(
            matches!(parsed, Presented::Code(c) if c.grant == GRANT && c.digest == minted.digest)
        );
        let minted = keys.mint_access(GRANT, &entropy);
        let parsed = keys.parse(minted.token.expose());
        assert!(
            matches!(parsed, Presented::Access(a) if a.grant == GRANT && a.digest == minted.digest)
        );
    }

    #[test]
    fn r10_a_flipped_bit_makes_a_token_unknown() {
        let (keys, entropy) = (keys(1, &[0, 1, 2, 3]), SeededEntropy::new(2));
        let minted = [
            keys.mint_refresh(GRANT, &entropy),
            keys.mint_code(GRANT, &entropy),
            keys.mint_access(GRANT, &entropy),
        ];
        for Minted { token, .. } in &minted {
            let text = token.expose();
            for bit in 0..text.len() * 8 {
                let mut flipped = text.as_bytes().to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let Ok(flipped) = String::from_utf8(flipped) else { continue };
                assert!(matches!(keys.parse(&flipped), Presented::Unknown), "bit {bit}: {flipped}");
            }
            for wrong in [format!("{text}A"), text[..text.len() - 1].to_owned(), format!(" {text}")]
            {
                assert!(matches!(keys.parse(&wrong), Presented::Unknown), "{wrong:?}");
            }
        }
    }

    #[test]
    fn one_kind_of_token_is_not_another() {
        let (keys, entropy) = (keys(1, &[1]), SeededEntropy::new(3));
        let code = keys.mint_code(GRANT, &entropy);
        let as_access = code.token.expose().replacen("tlc_", "tla_", 1);
        assert!(matches!(keys.parse(&as_access), Presented::Unknown));
        let secret = new_client_secret(&entropy);
        assert_eq!(secret.token.expose().len(), 47);
        for text in ["", "tlr", "tlr_", "tl\u{20ac}_", secret.token.expose()] {
            assert!(matches!(keys.parse(text), Presented::Unknown), "{text:?}");
        }
    }

    #[test]
    fn a_token_of_an_unknown_key_is_unknown() {
        let minted = keys(2, &[1, 2]).mint_refresh(GRANT, &SeededEntropy::new(4));
        assert!(matches!(keys(1, &[1]).parse(minted.token.expose()), Presented::Unknown));
        let presented = parse_refresh(&keys(2, &[1, 2]), minted.token.expose());
        let refused = keys(1, &[1]).successor(&presented).err();
        assert_eq!(refused, Some(NoSuccessor::UnknownKey(2)));
        assert_eq!(TokenKeys::new(9, BTreeMap::new()).err(), Some(NoCurrentKey(9)));
    }

    #[test]
    fn e06_the_same_token_has_the_same_successor_for_ever() {
        let minted = keys(1, &[1]).mint_refresh(GRANT, &SeededEntropy::new(5));
        let mut seen = vec![minted.token.expose().to_owned()];
        for generation in 1..=4 {
            let presented = parse_refresh(&keys(1, &[1]), &seen[generation - 1]);
            let successor = keys(1, &[1]).successor(&presented).expect("a successor");
            // A new current key changes what is minted, not what follows from an old token.
            let rotated = keys(2, &[1, 2]);
            let again = parse_refresh(&rotated, &seen[generation - 1]);
            let again = rotated.successor(&again).expect("a successor");
            assert_eq!(successor.token.expose(), again.token.expose());
            assert_eq!(successor.digest, again.digest);

            let parsed = parse_refresh(&rotated, successor.token.expose());
            assert_eq!((parsed.grant, parsed.generation as usize), (GRANT, generation));
            assert!(!seen.iter().any(|text| text == successor.token.expose()));
            seen.push(successor.token.expose().to_owned());
        }
    }

    #[test]
    fn the_last_generation_has_no_successor() {
        let keys = keys(1, &[1]);
        let key = TokenKey::from_bytes(&[1; 32], &[101; 32]);
        let last = refresh(1, &key, GRANT, u32::MAX, &[9; 32]);
        let presented = parse_refresh(&keys, last.token.expose());
        assert_eq!(keys.successor(&presented).err(), Some(NoSuccessor::LastGeneration));
    }

    #[test]
    fn what_is_presented_shows_ids_only() {
        let (keys, entropy) = (keys(1, &[1]), SeededEntropy::new(6));
        let minted = keys.mint_refresh(GRANT, &entropy);
        let presented = keys.parse(minted.token.expose());
        let shown = format!("{presented:?}");
        assert_eq!(
            shown,
            "Refresh(PresentedRefresh { grant: g_BwcHBwcHBwcHBwcHBwcHBw, generation: 0, .. })"
        );
        assert_eq!(format!("{minted:?}"), "Minted { .. }");
        assert_eq!(format!("{keys:?}"), "TokenKeys { current: 1, .. }");
        assert_eq!(format!("{:?}", TokenKey::generate(&entropy)), "TokenKey { .. }");
    }
}
