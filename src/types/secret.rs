//! Bearer secrets: shown once, compared by digest, wiped when dropped.

use zeroize::Zeroizing;

/// A bearer secret as text. It has no `Debug`, `Display`, `Clone` or `Serialize`: the only way out
/// is [`Secret::expose`], which is easy to search for.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes `text` into custody.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself, for the one answer that shows it or the digest that stands for it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
