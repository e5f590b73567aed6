//! `token-ledger keys`: what signs tokens and checkpoints.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::output::cell;
use crate::cli::remote::Call;
use crate::cli::session::{RemoteOptions, Row, Session};

/// What can be done with keys.
#[derive(Debug, Subcommand)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  token-ledger keys list
  token-ledger keys rotate --alg RS256
  token-ledger keys vkey --data ./ledger > ledger.vkey

Next: token-ledger keys rotate --help"
)]
pub enum KeysCommand {
    /// List the signing keys of a running server
    #[command(after_help = "\
Example:
  token-ledger keys list

Next: token-ledger keys rotate, or blacklist add --key KID for a key that leaked.")]
    List(KeysOptions),
    /// Publish the next signing key; it signs once everybody can have fetched it
    #[command(after_help = "\
Examples:
  token-ledger keys rotate
  Because the one that signs may have leaked:
    token-ledger keys rotate --now
  token-ledger keys rotate --alg RS256
  The key that signs checkpoints; with --compromised at once:
    token-ledger keys rotate --checkpoint

Tokens of the old key stay good until they expire; `blacklist add --key KID` ends them.
Next: `token-ledger keys list` shows which key signs, and from when on the next one will.")]
    Rotate(RotateArgs),
    /// Print the checkpoint verifier keys of all times, oldest first, one line each
    #[command(after_help = "\
Examples:
  token-ledger keys vkey --data ./ledger > ledger.vkey
  token-ledger keys vkey

Without --data a running server is asked. Next: give the lines to your auditors by a channel that
they trust; with them any C2SP tool checks the checkpoints at GET /log/checkpoint.")]
    Vkey(VkeyArgs),
}

/// What `keys vkey` takes.
#[derive(Debug, Args)]
pub struct VkeyArgs {
    #[command(flatten)]
    pub(super) options: RemoteOptions,
    /// The data directory that `init` made; needs no server
    #[arg(long, value_name = "DIR", conflicts_with = "profile")]
    pub(super) data: Option<PathBuf>,
}

/// What the remote ones take.
#[derive(Debug, Args)]
pub struct KeysOptions {
    #[command(flatten)]
    pub(super) options: RemoteOptions,
}

/// What `keys rotate` takes.
#[derive(Debug, Args)]
pub struct RotateArgs {
    #[command(flatten)]
    pub(super) options: RemoteOptions,
    /// The algorithm whose key is replaced
    #[arg(long, value_name = "ALG", value_parser = PossibleValuesParser::new(
        ["EdDSA", "ES256", "RS256"]))]
    alg: Option<String>,
    /// Sign with the new key at once, and retire the one before
    #[arg(long)]
    now: bool,
    /// Replace the key that signs checkpoints; both sign for checkpoint_key_overlap_s
    #[arg(long, conflicts_with_all = ["alg", "now"])]
    checkpoint: bool,
    /// The old checkpoint key may be in other hands: it signs nothing any more
    #[arg(long, requires = "checkpoint")]
    compromised: bool,
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
    state: Value,
    since: Value,
    until: Value,
}

impl Row for KeyRow {
    const COLUMNS: &'static [&'static str] = &["kid", "use", "alg", "state", "since", "until"];
    const NAMES: &'static [&'static str] = &["keys"];

    fn cells(&self) -> Vec<String> {
        let Self { kid, purpose, alg, state, since, until } = self;
        [kid, purpose, alg, state, since, until].into_iter().map(cell).collect()
    }
}

/// Lists the keys.
///
/// # Errors
/// [`CliError`]; its hint says what to do.
pub async fn list(session: &mut Session<'_, '_>) -> Result<(), CliError> {
    session.list::<KeyRow>(Call::get(&["admin", "keys"]), true, "no keys").await
}

/// Makes the next signing key.
///
/// # Errors
/// [`CliError`]; its hint says what to do.
pub async fn rotate(session: &mut Session<'_, '_>, args: &RotateArgs) -> Result<(), CliError> {
    if args.checkpoint {
        let call = Call::post(&["admin", "keys", "checkpoint", "rotate"]);
        let next = "where made is false, a change to this key was under way already; give the vkey to \
                    your auditors and witnesses: token-ledger keys vkey";
        return session.show(&call.body(json!({ "compromised": args.compromised })), next).await;
    }
    let mut body = serde_json::Map::new();
    if let Some(alg) = &args.alg {
        body.insert("alg".to_owned(), json!(alg));
    }
    if args.now {
        body.insert("now".to_owned(), json!(true));
    }
    let call = Call::post(&["admin", "keys", "rotate"]).body(Value::Object(body));
    session.show(&call, "rotated").await
}

/// Prints the verifier keys that a running server knows.
///
/// # Errors
/// [`CliError`]; its hint says what to do.
pub async fn vkey(session: &mut Session<'_, '_>) -> Result<(), CliError> {
    let answer = session.ask(&Call::get(&["log", "vkeys"])).await?;
    if !session.json {
        return session.console.answer(&answer.body);
    }
    let text = String::from_utf8_lossy(&answer.body);
    let lines: Vec<&str> = text.lines().collect();
    session.console.answer(format!("{}\n", json!({ "vkeys": lines })).as_bytes())
}
