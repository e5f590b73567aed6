//! The key file: all private key material, kept beside the ledger and never in it. Reading and
//! writing the file is its owner's job; what is wrong with one is said without quoting from it.

mod checkpoint;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::key_format::{
    Bytes32, Document, RawKeyFile, RawSigningKey, RawSigningKeys, RawTokenKey, RawTokenKeys,
    RawVersion,
};
use super::signing::{SigningAlgorithm, SigningKey, SigningKeyRefused};
use super::token::{TokenKey, TokenKeys};
use crate::entropy::{Entropy, bytes};
use crate::types::id::KeyId;

/// How large a key file may be, in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 1 << 20;

/// The version that is written. Every version ever written has to stay readable.
const VERSION: u64 = 1;

/// All private keys of one ledger.
pub struct KeyFile {
    tokens: Arc<TokenKeys>,
    vault: Zeroizing<[u8; 32]>,
    /// In the order of their making. One of them is `current`; no two have one `kid`.
    signing: Vec<Arc<SigningKey>>,
    current: Arc<SigningKey>,
    /// The seeds of the keys that sign checkpoints, oldest first; never none.
    checkpoint: Vec<Zeroizing<[u8; 32]>>,
}

/// Why a key file is not accepted, or not changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileRefused {
    /// Larger than [`KEY_FILE_BYTES_MAX`].
    #[error("the key file is larger than 1 MiB")]
    TooLarge,
    /// Written by a later version of this program: use that one.
    #[error("the key file has version {0}; this program reads version 1")]
    Version(u64),
    /// Not the JSON of a key file.
    #[error("the key file is broken at line {line}, column {column}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// It is not what was written: a bit flipped, or somebody edited it.
    #[error("the key file is not as it was written: its check does not match")]
    Altered,
    /// Two token keys have this id.
    #[error("token key {0} is there twice")]
    TwoTokenKeys(u8),
    /// The current token key is not in the file.
    #[error("the current token key {0} is not in the key file")]
    NoTokenKey(u8),
    /// The last id, 255, is in use.
    #[error("there is no free id for another token key")]
    TokenKeysFull,
    /// Two signing keys have this `kid`.
    #[error("signing key {0} is there twice")]
    TwoSigningKeys(KeyId),
    /// There is no signing key with this `kid`.
    #[error("there is no signing key {0}")]
    NoSigningKey(KeyId),
    /// This one signs: make another one current first.
    #[error("signing key {0} is the current one")]
    CurrentSigningKey(KeyId),
    /// The `kid` is not the thumbprint of the key beside it.
    #[error("signing key {0} is not the key that its kid names")]
    ForeignKid(KeyId),
    /// This seed signs already, or is the only one.
    #[error("the checkpoint key is there twice, or is the only one")]
    CheckpointKey,
    /// A private key is not one.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyRefused),
}

impl KeyFile {
    /// The keys of a new ledger: one token key, one EdDSA signing key.
    ///
    /// # Errors
    /// [`KeyFileRefused::SigningKey`] when the cryptographic library fails.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, KeyFileRefused> {
        let first = Arc::new(SigningKey::generate(SigningAlgorithm::EdDSA, entropy)?);
        let tokens = TokenKeys::new(1, [(1, TokenKey::generate(entropy))].into())
            .map_err(|missing| KeyFileRefused::NoTokenKey(missing.0))?;
        Ok(Self {
            tokens: Arc::new(tokens),
            vault: Zeroizing::new(bytes(entropy)),
            signing: vec![Arc::clone(&first)],
            current: first,
            checkpoint: vec![Zeroizing::new(bytes(entropy))],
        })
    }

    /// The keys behind refresh tokens, codes and opaque access tokens.
    pub fn token_keys(&self) -> &Arc<TokenKeys> {
        &self.tokens
    }

    /// The key under which the vault finds a subject.
    pub fn vault_key(&self) -> &[u8; 32] {
        &self.vault
    }

    /// All signing keys, oldest first: the public halves of all of them are published.
    pub fn signing_keys(&self) -> &[Arc<SigningKey>] {
        &self.signing
    }

    /// The key of a new ledger, or the one that was named last. Which key signs is told by the
    /// records of the keys, not by this.
    pub fn current_signing_key(&self) -> &Arc<SigningKey> {
        &self.current
    }

    /// Adds a signing key, to be published before it is used.
    ///
    /// # Errors
    /// [`KeyFileRefused::TwoSigningKeys`] when it is there already.
    pub fn add_signing_key(&mut self, key: SigningKey) -> Result<(), KeyFileRefused> {
        if self.signing.iter().any(|have| have.kid() == key.kid()) {
            return Err(KeyFileRefused::TwoSigningKeys(key.kid().clone()));
        }
        self.signing.push(Arc::new(key));
        Ok(())
    }

    /// Names the key `kid` the current one, so that the one before it can be removed.
    ///
    /// # Errors
    /// [`KeyFileRefused::NoSigningKey`] when there is none: add it first.
    pub fn use_signing_key(&mut self, kid: &KeyId) -> Result<(), KeyFileRefused> {
        let found = self.signing.iter().find(|key| key.kid() == kid);
        self.current =
            found.map(Arc::clone).ok_or_else(|| KeyFileRefused::NoSigningKey(kid.clone()))?;
        Ok(())
    }

    /// Removes the key `kid`, once no token that it signed is alive.
    ///
    /// # Errors
    /// [`KeyFileRefused::CurrentSigningKey`] and [`KeyFileRefused::NoSigningKey`].
    pub fn remove_signing_key(&mut self, kid: &KeyId) -> Result<(), KeyFileRefused> {
        if self.current.kid() == kid {
            return Err(KeyFileRefused::CurrentSigningKey(kid.clone()));
        }
        let before = self.signing.len();
        self.signing.retain(|key| key.kid() != kid);
        if self.signing.len() == before {
            return Err(KeyFileRefused::NoSigningKey(kid.clone()));
        }
        Ok(())
    }

    /// Adds a token key and makes it current. The old ones stay: tokens live on under them.
    ///
    /// # Errors
    /// [`KeyFileRefused::TokenKeysFull`] once the last id, 255, is in use.
    pub fn add_token_key(&mut self, entropy: &dyn Entropy) -> Result<u8, KeyFileRefused> {
        let copy = |key: &TokenKey| TokenKey::from_bytes(key.tag_key(), key.rotation_key());
        let mut keys: BTreeMap<u8, TokenKey> =
            self.tokens.iter().map(|(id, key)| (id, copy(key))).collect();
        let free = (0..=u8::MAX).rev().take_while(|id| !keys.contains_key(id)).last();
        let id = free.ok_or(KeyFileRefused::TokenKeysFull)?;
        keys.insert(id, TokenKey::generate(entropy));
        let tokens = TokenKeys::new(id, keys).map_err(|no| KeyFileRefused::NoTokenKey(no.0))?;
        self.tokens = Arc::new(tokens);
        Ok(id)
    }

    /// The file's bytes: JSON, indented, with a newline at the end.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let copy = |seed: &Zeroizing<[u8; 32]>| Bytes32(seed.clone());
        let (first, later) =
            self.checkpoint.split_first().expect("a checkpoint key is never removed last");
        let mut raw = RawKeyFile {
            version: VERSION,
            token_keys: RawTokenKeys {
                current: self.tokens.current(),
                keys: self.tokens.iter().map(raw_token_key).collect(),
            },
            vault_key: Bytes32(self.vault.clone()),
            signing_keys: RawSigningKeys {
                current: self.current.kid().clone(),
                keys: self.signing.iter().map(|key| raw_signing_key(key)).collect(),
            },
            checkpoint_key: copy(first),
            later_checkpoint_keys: later.iter().map(copy).collect(),
            check: None,
        };
        raw.check = Some(raw.digest());
        // Reserved whole: growing would leave copies behind that nobody wipes.
        let signing: usize = self.signing.iter().map(|key| 256 + 2 * key.pkcs8().len()).sum();
        let capacity =
            1024 + signing + 256 * raw.token_keys.keys.len() + 64 * self.checkpoint.len();
        let mut file = Zeroizing::new(Vec::with_capacity(capacity));
        serde_json::to_writer_pretty(&mut *file, &raw).expect("text and numbers always encode");
        file.push(b'\n');
        file
    }

    /// The keys in a file's bytes.
    ///
    /// # Errors
    /// [`KeyFileRefused`]: do not start; restore the file. It names the place, never the content.
    pub fn decode(file: &[u8]) -> Result<Self, KeyFileRefused> {
        if KEY_FILE_BYTES_MAX < file.len() {
            return Err(KeyFileRefused::TooLarge);
        }
        // The message of the parser would quote what it stumbled over.
        let syntax =
            |at: serde_json::Error| KeyFileRefused::Syntax { line: at.line(), column: at.column() };
        let RawVersion { version } = serde_json::from_slice(file).map_err(syntax)?;
        if version != VERSION {
            return Err(KeyFileRefused::Version(version));
        }
        let mut raw: RawKeyFile = serde_json::from_slice(file).map_err(syntax)?;
        let digest = raw.digest();
        if raw.check.as_ref().is_some_and(|check| *check != digest) {
            return Err(KeyFileRefused::Altered);
        }
        let mut signing: Vec<Arc<SigningKey>> = Vec::new();
        for RawSigningKey { kid, alg, pkcs8 } in raw.signing_keys.keys {
            let key = SigningKey::from_pkcs8(alg, &pkcs8.0)?;
            if *key.kid() != kid {
                return Err(KeyFileRefused::ForeignKid(kid));
            }
            if signing.iter().any(|have| *have.kid() == kid) {
                return Err(KeyFileRefused::TwoSigningKeys(kid));
            }
            signing.push(Arc::new(key));
        }
        let named = raw.signing_keys.current;
        let checkpoint = [raw.checkpoint_key].into_iter().chain(raw.later_checkpoint_keys);
        let current = signing.iter().find(|key| *key.kid() == named).map(Arc::clone);
        Ok(Self {
            tokens: Arc::new(token_keys(raw.token_keys)?),
            vault: raw.vault_key.0,
            signing,
            current: current.ok_or(KeyFileRefused::NoSigningKey(named))?,
            checkpoint: checkpoint.map(|seed| seed.0).collect(),
        })
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("tokens", &self.tokens)
            .field("signing", &self.signing)
            .field("current", &self.current.kid())
            .finish_non_exhaustive()
    }
}

fn token_keys(raw: RawTokenKeys) -> Result<TokenKeys, KeyFileRefused> {
    let mut keys = BTreeMap::new();
    for RawTokenKey { id, tag, rotation } in raw.keys {
        if keys.insert(id, TokenKey::from_bytes(&tag.0, &rotation.0)).is_some() {
            return Err(KeyFileRefused::TwoTokenKeys(id));
        }
    }
    TokenKeys::new(raw.current, keys).map_err(|missing| KeyFileRefused::NoTokenKey(missing.0))
}

fn raw_token_key((id, key): (u8, &TokenKey)) -> RawTokenKey {
    let bytes = |bytes: &[u8; 32]| Bytes32(Zeroizing::new(*bytes));
    RawTokenKey { id, tag: bytes(key.tag_key()), rotation: bytes(key.rotation_key()) }
}

fn raw_signing_key(key: &SigningKey) -> RawSigningKey {
    RawSigningKey {
        kid: key.kid().clone(),
        alg: key.algorithm(),
        pkcs8: Document(Zeroizing::new(key.pkcs8().to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::base64url;
    use crate::crypto::presented::Presented;
    use crate::entropy::SeededEntropy;
    use crate::types::id::GrantId;

    fn file() -> KeyFile {
        KeyFile::generate(&SeededEntropy::new(1)).expect("keys")
    }

    fn edited(from: &str, to: &str) -> Result<KeyFile, KeyFileRefused> {
        let text = String::from_utf8(file().encode().to_vec()).expect("JSON");
        assert!(text.contains(from), "{from} is not in the file");
        // Without its check, as files were before, so that each edit is judged by itself.
        let text = text.split(",\n  \"check\"").next().expect("JSON").to_owned() + "}";
        KeyFile::decode(text.replacen(from, to, 1).as_bytes())
    }

    #[test]
    fn a_key_file_decodes_to_what_it_was_encoded_from() {
        let entropy = SeededEntropy::new(2);
        let mut keys = file();
        for algorithm in [SigningAlgorithm::ES256, SigningAlgorithm::RS256] {
            let key = SigningKey::generate(algorithm, &entropy).expect("a key");
            keys.add_signing_key(key).expect("a new one");
        }
        assert_eq!(keys.add_token_key(&entropy), Ok(2));
        let encoded = keys.encode();
        let decoded = KeyFile::decode(&encoded).expect("its own encoding");
        assert_eq!(decoded.encode().as_slice(), encoded.as_slice());
        assert_eq!(decoded.vault_key(), keys.vault_key());
        assert_eq!(decoded.checkpoint_seed(), keys.checkpoint_seed());

        let minted = keys.token_keys().mint_refresh(GrantId::from_bytes([7; 16]), &entropy);
        let parsed = decoded.token_keys().parse(minted.token.expose());
        assert!(matches!(parsed, Presented::Refresh(_)));
    }

    #[test]
    fn a_broken_key_file_is_refused_without_being_quoted() {
        let keys = file();
        let vault = base64url::encode(keys.vault_key());
        let half = vault.split_at(21).0;
        for (from, to) in [(vault.as_str(), half), (&vault, "\\u0041"), ("vault_key", "vault")] {
            let refused = edited(from, to).expect_err("broken");
            assert!(matches!(refused, KeyFileRefused::Syntax { .. }), "{refused:?}");
            assert!(!format!("{refused} {refused:?}").contains(half));
        }
        assert_eq!(
            edited("\"version\": 1", "\"version\": 2").err(),
            Some(KeyFileRefused::Version(2))
        );
        assert_eq!(
            edited("\"current\": 1", "\"current\": 9").err(),
            Some(KeyFileRefused::NoTokenKey(9))
        );
        let es256 =
            KeyFileRefused::SigningKey(SigningKeyRefused::NotPkcs8(SigningAlgorithm::ES256));
        assert_eq!(edited("\"EdDSA\"", "\"ES256\"").err(), Some(es256));
        let other: KeyId = "other".parse().expect("a kid");
        let kid = format!("\"kid\": \"{}\"", keys.current.kid());
        let refused = edited(&kid, "\"kid\": \"other\"").err();
        assert_eq!(refused, Some(KeyFileRefused::ForeignKid(other.clone())));
        let current = format!("\"current\": \"{}\"", keys.current.kid());
        let refused = edited(&current, "\"current\": \"other\"").err();
        assert_eq!(refused, Some(KeyFileRefused::NoSigningKey(other)));
        assert!(KeyFile::decode(b"").is_err());
        let large = vec![b' '; KEY_FILE_BYTES_MAX + 1];
        assert_eq!(KeyFile::decode(&large).err(), Some(KeyFileRefused::TooLarge));
    }

    #[test]
    fn the_signing_key_is_changed_in_three_steps() {
        let mut keys = file();
        let old = keys.current_signing_key().kid().clone();
        let next = SigningKey::from_ed25519_seed(&[9; 32]).expect("a key");
        let kid = next.kid().clone();
        assert_eq!(keys.use_signing_key(&kid), Err(KeyFileRefused::NoSigningKey(kid.clone())));
        assert_eq!(keys.add_signing_key(next), Ok(()));
        let again = SigningKey::from_ed25519_seed(&[9; 32]).expect("a key");
        assert_eq!(keys.add_signing_key(again), Err(KeyFileRefused::TwoSigningKeys(kid.clone())));
        assert_eq!(
            keys.remove_signing_key(&old),
            Err(KeyFileRefused::CurrentSigningKey(old.clone()))
        );
        assert_eq!(keys.use_signing_key(&kid), Ok(()));
        assert_eq!(keys.remove_signing_key(&old), Ok(()));
        assert_eq!(keys.remove_signing_key(&old), Err(KeyFileRefused::NoSigningKey(old)));
        assert_eq!(keys.signing_keys().len(), 1);
    }

    #[test]
    fn private_material_is_never_shown() {
        let keys = file();
        let shown = format!("{keys:?} {keys:#?} {:?}", keys.current.public_jwk());
        let mut secrets = vec![*keys.vault_key(), *keys.checkpoint_seed()];
        let seed = keys.current.pkcs8().last_chunk::<32>().expect("a seed at the end");
        secrets.push(*seed);
        for (_, key) in keys.tokens.iter() {
            secrets.extend([*key.tag_key(), *key.rotation_key()]);
        }
        for secret in secrets {
            let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            let list = format!("{:?}", &secret[..4]);
            for text in [&base64url::encode(&secret)[..8], &hex[..8], list.trim_end_matches(']')] {
                assert!(!shown.contains(text), "{text} is in {shown}");
            }
        }
    }
}
