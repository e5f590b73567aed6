//! Scopes (RFC 6749 section 3.3): an ordered set of scope tokens.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::text::serde_as_text;

/// How many scope tokens a request may name.
pub const SCOPE_TOKENS_MAX: usize = 64;
/// How many bytes a scope may take as text.
pub const SCOPE_BYTES_MAX: usize = 2048;

/// A set of scope tokens, sorted and without duplicates. Written with single spaces between.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Scope(Arc<[Box<str>]>);

/// Why a text is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAScope {
    /// A character outside of %x21 / %x23-5B / %x5D-7E, or an empty token.
    #[error("scope has a character that RFC 6749 section 3.3 does not allow")]
    Syntax,
    /// More than [`SCOPE_TOKENS_MAX`] tokens or [`SCOPE_BYTES_MAX`] bytes.
    #[error("scope is too long: at most 64 tokens and 2048 bytes")]
    TooLong,
}

impl FromStr for Scope {
    type Err = NotAScope;

    /// The empty text is the empty scope; everything else is `token *( SP token )`.
    fn from_str(text: &str) -> Result<Self, NotAScope> {
        if SCOPE_BYTES_MAX < text.len() {
            return Err(NotAScope::TooLong);
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        let allowed = |c: u8| matches!(c, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        let mut tokens: Vec<Box<str>> = Vec::new();
        for token in text.split(' ') {
            if token.is_empty() || !token.bytes().all(allowed) {
                return Err(NotAScope::Syntax);
            }
            tokens.push(token.into());
        }
        if SCOPE_TOKENS_MAX < tokens.len() {
            return Err(NotAScope::TooLong);
        }
        tokens.sort_unstable();
        tokens.dedup();
        Ok(Self(tokens.into()))
    }
}

impl Scope {
    /// Whether there is no token in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tokens, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Whether `token` is one of them.
    pub fn contains(&self, token: &str) -> bool {
        self.0.binary_search_by(|have| have.as_ref().cmp(token)).is_ok()
    }

    /// Whether every token of this scope is in `other`.
    pub fn is_within(&self, other: &Self) -> bool {
        // Most are the same one, even in the same place.
        self == other || self.iter().all(|token| other.contains(token))
    }

    /// The tokens that are in both.
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|token| other.contains(token)).cloned().collect())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, token) in self.iter().enumerate() {
            if 0 < i {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

serde_as_text!(Scope);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_sorted_set() {
        let scope: Scope = "write read write".parse().expect("a scope");
        assert_eq!(scope.to_string(), "read write");
        assert!("read".parse::<Scope>().expect("a scope").is_within(&scope));
        assert!(!"admin read".parse::<Scope>().expect("a scope").is_within(&scope));
        assert!(Scope::default().is_within(&scope));
    }

    #[test]
    fn what_rfc_6749_does_not_allow_is_refused() {
        for text in ["a  b", " a", "a ", "a\"b", "a\\b", "a\tb", "é"] {
            assert_eq!(text.parse::<Scope>(), Err(NotAScope::Syntax), "{text:?}");
        }
        let many = (0..=SCOPE_TOKENS_MAX).map(|i| format!("s{i}")).collect::<Vec<_>>().join(" ");
        assert_eq!(many.parse::<Scope>(), Err(NotAScope::TooLong));
        assert_eq!("a".repeat(SCOPE_BYTES_MAX + 1).parse::<Scope>(), Err(NotAScope::TooLong));
    }
}
