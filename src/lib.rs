//! Token Ledger: an OAuth 2.0 token service whose truth is an append-only, tamper-evident log.

pub mod types;
pub mod clock;
pub mod entropy;
pub mod crypto;
pub mod domain;
pub mod log;
pub mod ledger;
pub mod audit;
pub mod oauth;
pub mod edge;
pub mod http;
pub mod run;
pub mod guard;
pub mod demo;
pub mod config;
pub mod telemetry;
