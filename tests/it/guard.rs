//! The resource server's guard, over real HTTP: an issuer, an API behind guards, and its clients.

pub(crate) mod issuer;
mod api;
mod answers;
mod tokens;
mod keys;
mod introspection;
