//! Resource indicators (RFC 8707): the servers that a token is meant for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::text::serde_as_text;

/// How many resources one request may name.
pub const RESOURCES_MAX: usize = 16;
/// How many bytes one resource may take.
pub const RESOURCE_BYTES_MAX: usize = 512;

/// An absolute URI without fragment (RFC 8707 section 2), compared byte for byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(Arc<str>);

/// Why a text, or a set of them, is not a resource indicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAResource {
    /// Not an absolute URI, with a fragment, or with characters that a URI does not have.
    #[error("a resource is an absolute URI without a fragment, of at most 512 bytes")]
    Syntax,
    /// More than [`RESOURCES_MAX`].
    #[error("too many resources: at most 16")]
    TooMany,
}

impl Resource {
    /// The URI as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Resource {
    type Err = NotAResource;

    fn from_str(text: &str) -> Result<Self, NotAResource> {
        let printable = |c: u8| matches!(c, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        if RESOURCE_BYTES_MAX < text.len() || text.contains('#') || !text.bytes().all(printable) {
            return Err(NotAResource::Syntax);
        }
        url::Url::parse(text).map_err(|_| NotAResource::Syntax)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Resource);

/// A set of resources, sorted and without duplicates; a JSON array of strings.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Resources(Arc<[Resource]>);

impl Resources {
    /// The set of `resources`.
    ///
    /// # Errors
    /// [`NotAResource::TooMany`] above [`RESOURCES_MAX`]: ask for fewer.
    pub fn new(mut resources: Vec<Resource>) -> Result<Self, NotAResource> {
        resources.sort_unstable();
        resources.dedup();
        if RESOURCES_MAX < resources.len() {
            return Err(NotAResource::TooMany);
        }
        Ok(Self(resources.into()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The resources, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Resource> {
        self.0.iter()
    }

    /// Whether `resource` is one of them.
    pub fn contains(&self, resource: &Resource) -> bool {
        self.0.binary_search(resource).is_ok()
    }

    /// Those that are in both.
    pub fn intersection(&self, other: &Self) -> Self {
        match self.is_within(other) {
            true => self.clone(),
            false => Self(self.iter().filter(|one| other.contains(one)).cloned().collect()),
        }
    }

    /// Whether each of these is in `other`.
    pub fn is_within(&self, other: &Self) -> bool {
        // Most are the same one, even in the same place.
        self == other || self.iter().all(|resource| other.contains(resource))
    }
}

impl serde::Serialize for Resources {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> serde::Deserialize<'de> for Resources {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let resources = <Vec<Resource> as serde::Deserialize>::deserialize(from)?;
        Self::new(resources).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_an_absolute_uri_without_fragment() {
        assert!("https://api.example.com/photos".parse::<Resource>().is_ok());
        assert!("urn:example:photos".parse::<Resource>().is_ok());
        for text in ["", "/photos", "photos", "https://a/#x", "https://a/#", "https://a/ b"] {
            assert_eq!(text.parse::<Resource>(), Err(NotAResource::Syntax), "{text:?}");
        }
    }
}
