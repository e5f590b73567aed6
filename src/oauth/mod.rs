//! The protocol, pure: what a request says, what an answer looks like, how a client names itself.
//! It never does IO, reads a clock, or decides whether a token is good.

pub mod error;
pub mod form;
pub mod credentials;
pub mod pkce;
pub mod token_request;
pub mod response;
pub mod issuer;
pub mod registration;
