//! `token-ledger keys`: what signs tokens and checkpoints.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::Value;

use crate::cli::arguments::DataArgs;
use crate::cli::error::CliError;
use crate::cli::output::cell;
use crate::cli::remote::Call;
use crate::cli::session::{RemoteOptions, Row, Session};

/// What can be done with keys.
#[derive(Debug, Subcommand)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub enum KeysCommand {
    /// List the signing keys of a running server
    #[command(after_help = "\
Example:
  token-ledger keys list

Next: token-ledger keys rotate, or blacklist add --key KID for a key that leaked.")]
    List(KeysOptions),
    /// Sign with a new key from now on; tokens of the old one stay good until they expire
    #[command(after_help = "\
Example:
  token-ledger keys rotate

Next: resource servers fetch GET /oauth/jwks again by themselves; `token-ledger keys list` shows
both keys.")]
    Rotate(KeysOptions),
    /// Print the checkpoint verifier key of a data directory, one line; needs no server
    #[command(after_help = "\
Example:
  token-ledger keys vkey --data ./ledger > ledger.vkey

Next: give that line to your auditors by a channel that they trust; with it any C2SP tool checks
the checkpoints at GET /log/checkpoint.")]
    Vkey(DataArgs),
}

/// What the remote ones take.
#[derive(Debug, Args)]
pub struct KeysOptions {
    #[command(flatten)]
    pub(super) options: RemoteOptions,
}

/// A key, as far as the list shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KeyRow {
    #[serde(alias = "id")]
    kid: Value,
    #[serde(alias = "use")]
    purpose: Value,
    alg: Value,
    #[serde(alias = "state")]
    status: Value,
    #[serde(alias = "created_at")]
    added_at: Value,
    retired_at: Value,
}

impl Row for KeyRow {
    const COLUMNS: &'static [&'static str] =
        &["kid", "use", "alg", "status", "added_at", "retired_at"];
    const NAMES: &'static [&'static str] = &["keys"];

    fn cells(&self) -> Vec<String> {
        let Self { kid, purpose, alg, status, added_at, retired_at } = self;
        [kid, purpose, alg, status, added_at, retired_at].into_iter().map(cell).collect()
    }
}

/// Lists the keys.
///
/// # Errors
/// [`CliError`]; its hint says what to do.
pub async fn list(session: &mut Session<'_, '_>) -> Result<(), CliError> {
    session.list::<KeyRow>(Call::get(&["admin", "keys"]), true, "no keys").await
}

/// Takes a new signing key into use.
///
/// # Errors
/// [`CliError`]; its hint says what to do.
pub async fn rotate(session: &mut Session<'_, '_>) -> Result<(), CliError> {
    session.show(&Call::post(&["admin", "keys", "rotate"]), "rotated").await
}
