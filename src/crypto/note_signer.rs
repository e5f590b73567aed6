//! Private keys of signed notes: the log's and the witness's. They have no `Debug`, and leave only
//! as a [`Secret`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

use crate::types::secret::Secret;
use crate::types::time::Timestamp;

use super::note::NoteSignature;
use super::note_key::{
    KEY_BYTES, KeyError, KeyName, KeyParts, NoteKeyKind, NoteVerifier, cosigned,
};

const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

/// A private key that signs notes (type 0x01). The log signs its checkpoints with it, and says when.
pub struct NoteSigner {
    key: SigningKey,
    verifier: NoteVerifier,
}

/// A private key that cosigns checkpoints (type 0x04). A witness has one, and never the log's: an
/// operator with several cosigners needs a key for each (tlog-cosignature, "Additional
/// statements").
pub struct Cosigner {
    key: SigningKey,
    verifier: NoteVerifier,
}

macro_rules! private_key {
    ($name:ident, $kind:expr) => {
        impl $name {
            /// The key with this name and seed (the private key of RFC 8032 section 5.1.5).
            pub fn new(name: KeyName, seed: &[u8; 32]) -> Self {
                let key = SigningKey::from_bytes(seed);
                let verifier = NoteVerifier::new(name, $kind, key.verifying_key());
                Self { key, verifier }
            }

            /// The public half.
            pub fn verifier(&self) -> &NoteVerifier {
                &self.verifier
            }

            /// The private key as text: `PRIVATE+KEY+name+id+base64(type, seed)`.
            pub fn encode(&self) -> Secret {
                encode_private(&self.verifier, &self.key)
            }

            /// The private key of such a text.
            ///
            /// # Errors
            /// [`KeyError`], when it is not one of this kind.
            pub fn decode(text: &Secret) -> Result<Self, KeyError> {
                let parts = split_private(text)?;
                if parts.kind != $kind {
                    return Err(KeyError::Kind(parts.kind.byte()));
                }
                let signer = Self::new(parts.name, &parts.key);
                if signer.verifier.id() != parts.id { Err(KeyError::KeyId) } else { Ok(signer) }
            }
        }
    };
}

private_key!(NoteSigner, NoteKeyKind::Note);
private_key!(Cosigner, NoteKeyKind::Cosignature);

impl NoteSigner {
    /// The signature over `text`, the text of a note with its last newline.
    pub fn sign(&self, text: &str) -> NoteSignature {
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        NoteSignature::new(self.verifier.name().clone(), self.verifier.id(), signature.to_vec())
    }

    /// The log's own word that at `at` (whole seconds count) the checkpoint `text` was its largest:
    /// a cosignature under [`NoteVerifier::dating`]. A type of its own keeps the two apart: neither
    /// text can be read as the other.
    pub fn date(&self, text: &str, at: Timestamp) -> NoteSignature {
        cosignature(&self.key, &self.verifier.dating(), text, at)
    }
}

impl Cosigner {
    /// The statement that at `at` (whole seconds count) the checkpoint `text` is the largest
    /// consistent one that this cosigner has seen of its log. Making sure of that is the caller's.
    pub fn cosign(&self, text: &str, at: Timestamp) -> NoteSignature {
        cosignature(&self.key, &self.verifier, text, at)
    }
}

fn cosignature(key: &SigningKey, as_of: &NoteVerifier, text: &str, at: Timestamp) -> NoteSignature {
    let signature = key.sign(cosigned(text, at.seconds()).as_bytes()).to_bytes();
    let payload = [at.seconds().to_be_bytes().as_slice(), &signature].concat();
    NoteSignature::new(as_of.name().clone(), as_of.id(), payload)
}

fn split_private(text: &Secret) -> Result<KeyParts, KeyError> {
    KeyParts::split(text.expose().strip_prefix(PRIVATE_PREFIX).ok_or(KeyError::Syntax)?)
}

fn encode_private(verifier: &NoteVerifier, key: &SigningKey) -> Secret {
    let mut bytes = Zeroizing::new([0; 1 + KEY_BYTES]);
    for (to, from) in bytes.iter_mut().zip([verifier.kind().byte()].iter().chain(key.as_bytes())) {
        *to = *from;
    }
    let head = format!("{PRIVATE_PREFIX}{}+{}+", verifier.name(), verifier.id());
    // Room for all of it at once: a string that grows leaves a copy of the secret behind.
    let mut text = String::with_capacity(head.len() + bytes.len().div_ceil(3) * 4);
    text.push_str(&head);
    STANDARD.encode_string(bytes.as_slice(), &mut text);
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKEY: &str =
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

    #[test]
    fn a_private_key_round_trips_and_knows_its_vkey() {
        let key = NoteSigner::decode(&Secret::new(SKEY.into())).expect("a private key");
        assert_eq!(key.encode().expose(), SKEY);
        let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(key.verifier().to_string(), vkey);
        let as_cosigner = Cosigner::decode(&Secret::new(SKEY.into()));
        assert_eq!(as_cosigner.err(), Some(KeyError::Kind(0x01)));
    }

    #[test]
    fn one_seed_under_two_types_has_two_ids() {
        let name: KeyName = "a.example/w".parse().expect("a name");
        let (note, cosigner) =
            (NoteSigner::new(name.clone(), &[7; 32]), Cosigner::new(name, &[7; 32]));
        assert_eq!(note.verifier().public_key(), cosigner.verifier().public_key());
        assert_ne!(note.verifier().id(), cosigner.verifier().id());
    }
}
