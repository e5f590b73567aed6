//! `token-ledger blacklist`: the operator's last word, one record whatever it hits.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::output::cell;
use crate::cli::remote::Call;
use crate::cli::session::{ReceiptArgs, RemoteOptions, Row, Session};
use crate::types::digest::Digest;
use crate::types::id::{BlacklistId, ClientId, GrantId, KeyId};

const BLACKLIST: &[&str] = &["admin", "blacklist"];

/// What `blacklist` takes.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  token-ledger blacklist add --client photos --reason 'incident 4711'
  token-ledger blacklist list
  token-ledger blacklist lift b_Zm9vYmFyYmF6 --reason 'incident 4711 closed'

Next: token-ledger blacklist add --help"
)]
pub struct BlacklistArgs {
    #[command(flatten)]
    pub(super) options: RemoteOptions,
    #[command(subcommand)]
    command: BlacklistCommand,
}

/// What can be done with the blacklist.
#[derive(Debug, Subcommand)]
enum BlacklistCommand {
    /// Kill a token, a grant, a client, a person, a key's tokens, or everything
    #[command(after_help = "\
Examples:
  token-ledger blacklist add --client photos --reason 'incident 4711'
  token-ledger blacklist add --token-stdin --reason 'found in a log' < leaked-token
  token-ledger blacklist add --all --reason 'signing host compromised'

What was issued up to this record is dead for ever, also when the entry is lifted. Tokens are read
from standard input only, so that they stay out of the process list and the shell's history.

Next: `token-ledger audit valid --at TIME --client ID` tells what was live before;
`token-ledger blacklist lift ID` lets new tokens be issued again.")]
    Add(AddArgs),
    /// List the entries
    #[command(after_help = "\
Example:
  token-ledger blacklist list

Next: token-ledger blacklist lift ID --reason TEXT")]
    List,
    /// Lift an entry: new tokens may be issued, dead ones stay dead
    #[command(after_help = "\
Example:
  token-ledger blacklist lift b_Zm9vYmFyYmF6 --reason 'incident 4711 closed'

Next: token-ledger blacklist list")]
    Lift {
        /// Which entry
        id: BlacklistId,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        receipt: ReceiptArgs,
    },
}

#[derive(Debug, Args)]
struct AddArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Why; it is recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    receipt: ReceiptArgs,
}

/// Exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// All tokens of a client, and no new ones
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
    /// All tokens of a person by their `sub`, and no new ones
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
    /// The same, with the `sub` from standard input
    #[arg(long)]
    subject_stdin: bool,
    /// A grant with all its tokens
    #[arg(long, value_name = "ID")]
    grant: Option<GrantId>,
    /// All tokens that a signing key signed
    #[arg(long, value_name = "KID")]
    key: Option<KeyId>,
    /// One token, by its digest as it stands in the records
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,
    /// One token in full, from standard input; a refresh token takes its grant along
    #[arg(long)]
    token_stdin: bool,
    /// Everything that was ever issued, and no new tokens for anybody
    #[arg(long)]
    all: bool,
}

impl TargetArgs {
    /// The target as the server wants it.
    fn json(&self, session: &mut Session<'_, '_>) -> Result<Value, CliError> {
        let named = [
            ("client", self.client.as_ref().map(|id| json!(id))),
            ("subject", self.subject.as_ref().map(|sub| json!(sub))),
            ("grant", self.grant.as_ref().map(|id| json!(id))),
            ("key", self.key.as_ref().map(|id| json!(id))),
            ("token", self.digest.as_ref().map(|digest| json!(digest))),
        ];
        if let Some((kind, id)) = named.into_iter().find_map(|(kind, id)| Some((kind, id?))) {
            return Ok(json!({ "type": kind, "id": id }));
        }
        if self.subject_stdin {
            let subject = session.console.line("subject")?;
            return Ok(json!({ "type": "subject", "id": subject.expose() }));
        }
        if self.token_stdin {
            let token = session.console.line("token")?;
            return Ok(json!({ "type": "token", "token": token.expose() }));
        }
        Ok(json!({ "type": "all" })) // the one that the group leaves
    }
}

/// An entry, as far as the list shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EntryRow {
    id: Value,
    target: TargetCell,
    reason: Value,
    #[serde(alias = "added_at")]
    at: Value,
    #[serde(alias = "lifted_at")]
    lifted: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TargetCell {
    #[serde(rename = "type")]
    kind: Value,
    id: Value,
}

impl Row for EntryRow {
    const COLUMNS: &'static [&'static str] =
        &["id", "target", "which", "added_at", "lifted", "reason"];
    const NAMES: &'static [&'static str] = &["blacklist", "entries"];

    fn cells(&self) -> Vec<String> {
        let lifted = if self.lifted == json!(false) { String::new() } else { cell(&self.lifted) };
        let (kind, id) = (cell(&self.target.kind), cell(&self.target.id));
        vec![cell(&self.id), kind, id, cell(&self.at), lifted, cell(&self.reason)]
    }
}

/// Does what `blacklist` asks.
///
/// # Errors
/// [`CliError`]; its hint says what to do.
pub async fn run(session: &mut Session<'_, '_>, args: &BlacklistArgs) -> Result<(), CliError> {
    match &args.command {
        BlacklistCommand::Add(args) => {
            let target = args.target.json(session)?;
            let body = json!({ "target": target, "reason": args.reason });
            let call = Call::post(BLACKLIST).body(body);
            let entry = session.show_with_receipt(call, "blacklisted", &args.receipt).await?;
            if entry.get("first_seen") == Some(&json!(true)) {
                session.console.note(
                    "nobody of this name was seen before: the entry is for whoever comes under it; \
                     is it spelt as in the tokens?",
                );
            }
            Ok(())
        }
        BlacklistCommand::List => {
            session.list::<EntryRow>(Call::get(BLACKLIST), true, "the blacklist is empty").await
        }
        BlacklistCommand::Lift { id, reason, receipt } => {
            let call = Call::delete(&["admin", "blacklist", &id.to_string()]);
            let call = call.body(json!({ "reason": reason }));
            session.show_with_receipt(call, "lifted", receipt).await.map(drop)
        }
    }
}
