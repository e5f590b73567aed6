//! Everything that is made of keys: digests, tokens, sealed fields, signatures, the key file.
//! Pure: randomness is an argument, files are somebody else's, and no type here shows a secret.

pub mod digest;
pub mod token;
pub mod presented;
pub mod leak;
pub mod seal;
pub mod signing;
pub mod jwt;
pub mod verify;
pub mod public_jwk;
pub mod jwk_set;
pub mod assertion;
pub mod keys;
pub mod note_key;
pub mod note_signer;
pub mod note;
mod key_format;
mod jws;
mod base64url;
