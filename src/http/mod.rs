//! HTTP: parses, hands on, renders. No rules, no clock; the only asynchronous code beside the
//! edge, the ledger's handle and the guard.

pub mod app;
pub mod request;
pub mod respond;
pub mod public;
pub mod clients;
pub mod operations;
pub mod inquiries;
pub mod evidence;
pub mod health;
pub mod server;
pub mod unread;
pub mod tls;
pub mod forwarded;
pub mod cors;
