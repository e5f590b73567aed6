//! The words that every layer shares: identifiers, instants, digests, secrets, scopes.
//! Nothing here does IO; a value of one of these types is valid because it exists.

pub mod time;
pub mod id;
pub mod digest;
pub mod secret;
pub mod scope;
pub mod resource;
pub mod network;
pub(crate) mod text;
