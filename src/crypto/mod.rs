//! Keys and signatures. Pure: key material comes in as an argument and never leaves by `Debug`.

pub mod note_key;
pub mod note_signer;
pub mod note;
