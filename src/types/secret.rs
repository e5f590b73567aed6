//! Bearer secrets: shown once, compared by digest, wiped when dropped.

use std::ops::Deref;

use zeroize::Zeroize;

/// A bearer secret as text. It has no `Debug`, `Display`, `Clone` or `Serialize`: the only way out
/// is [`Secret::expose`], which is easy to search for.
pub struct Secret(String);

impl Secret {
    /// Takes `text` into custody.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the one answer that shows it or the digest that stands for it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        // What lies beyond the length is wiped as one block; what lies within it, byte by byte.
        self.0.clear();
        self.0.zeroize();
    }
}

/// Bytes that are wiped when dropped.
pub struct Wiped(Vec<u8>);

impl Wiped {
    /// Takes `bytes` into custody.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for Wiped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        // As for a secret.
        self.0.clear();
        self.0.zeroize();
    }
}
