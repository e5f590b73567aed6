//! The one test binary: a file per concern.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod config;
mod directory;
mod evidence_parsers;
mod guard;
mod merkle;
mod rows;
mod store_contract;
mod support;
mod http_token;
mod http_client_auth;
mod http_codes;
mod http_refresh;
mod http_revoke;
mod http_introspect;
mod http_admin;
mod http_blacklist;
mod http_audit;
mod http_lifecycle;
mod http_bad_input;
mod http_failure;
mod http_privacy;
mod vectors;
