//! `token-ledger audit`: questions to the past. It changes nothing but the list of those who asked.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::output::cell;
use crate::cli::package::{PackageArgs, package};
use crate::cli::remote::Call;
use crate::cli::session::{RemoteOptions, Row, Session, subject_of};
use crate::types::digest::Digest;
use crate::types::id::{ClientId, GrantId, Seq};
use crate::types::time::Timestamp;

/// What `audit` takes.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  token-ledger audit trail --subject alice
  token-ledger audit valid --at 2026-11-23T04:12:33Z --client photos
  token-ledger audit records --all > evidence.jsonl

Each reading is itself a record. Next: token-ledger verify --export evidence.jsonl"
)]
pub struct AuditArgs {
    #[command(flatten)]
    pub(super) options: RemoteOptions,
    #[command(subcommand)]
    command: AuditCommand,
}

/// What can be asked. All of it needs the scope ledger:audit.
#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Write records to standard output, as JSON Lines of their exact bytes
    #[command(after_help = "\
Examples:
  token-ledger audit records --all > evidence.jsonl
  token-ledger audit records --since 2026-11-01T00:00:00Z --type refresh_token.reused --all

Next: what begins with the first record, as --all does alone, checks itself offline: token-ledger
verify --export evidence.jsonl. That a part of the log is whole, token-ledger audit package proves.")]
    Records(RecordsArgs),
    /// Show all that happened to a grant, a person or a client, oldest first
    #[command(after_help = "\
Examples:
  token-ledger audit trail --grant g_3kTq9xV2mN8pLr5wYzA1bA
  token-ledger audit trail --subject-stdin --json < subject.txt

Next: token-ledger audit valid --at TIME, for an instant of the trail.")]
    Trail(TrailArgs),
    /// Write all records of a grant, a person, a client or a time, with proofs that none is missing
    #[command(after_help = "\
Examples:
  token-ledger audit package --out ./case-17 --subject alice --vkey auth.example.vkey
  token-ledger audit package --out ./may --since 2026-05-01T00:00:00Z --until 2026-06-01T00:00:00Z \\
    --vkey auth.example.vkey

The reading is itself a record, with a nonce that is shown: keep it apart. It is the last record of
the package, and its links lead to the end of the trail.

Next: token-ledger verify --package ./case-17 --vkey KEY --nonce NONCE, on any machine")]
    Package(PackageArgs),
    /// Tell what a token is or was, whose, and what made it so
    #[command(after_help = "\
Examples:
  token-ledger audit token --token-stdin < leaked-token
  token-ledger audit token --digest 5Uno2RzUsbeEN8f0xgW3fDF5TDXQHAXuvFzgQVxV3mU

Next: `token-ledger audit trail --grant ID` with the grant of the answer; `token-ledger blacklist
add --grant ID` if it is still live.")]
    Token(TokenArgs),
    /// List every token that was valid at an instant
    #[command(after_help = "\
Examples:
  token-ledger audit valid --at 2026-11-23T04:12:33Z --client photos
  token-ledger audit valid --at 2026-11-23T04:12:33Z --subject alice --json

Next: token-ledger audit records --from SEQ --to SEQ shows the issuance of a token.")]
    Valid(ValidArgs),
    /// Print the receipt of a record: that it is in the log, for ever and for anybody
    #[command(after_help = "\
Example:
  token-ledger audit receipt --seq 1042 > 1042.tlog-proof
  token-ledger audit records --from 1042 --to 1042 > 1042.json

Next: token-ledger verify --receipt 1042.tlog-proof --record 1042.json --vkey ledger.vkey")]
    Receipt {
        /// Which record
        #[arg(long, value_name = "SEQ")]
        seq: Seq,
    },
    /// Have all that was recorded so far covered by a signed checkpoint, and print it
    #[command(after_help = "\
Example:
  token-ledger audit checkpoint > checkpoint

Next: keep it. token-ledger verify --checkpoint FILE tells later whether the past was rewritten.")]
    Checkpoint,
}

#[derive(Debug, Args)]
struct RecordsArgs {
    /// From this instant on, like 2026-11-23T04:12:33Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Up to this instant
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// From this record on
    #[arg(long, value_name = "SEQ")]
    from: Option<Seq>,
    /// Up to this record
    #[arg(long, value_name = "SEQ")]
    to: Option<Seq>,
    /// Only this type, like grant.revoked
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only about this client
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
    /// Only about the person with this `sub`
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
    /// The same, with the `sub` from standard input
    #[arg(long, conflicts_with = "subject")]
    subject_stdin: bool,
    /// Only about this grant
    #[arg(long, value_name = "ID")]
    grant: Option<GrantId>,
    /// How many records on a page
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Follow all pages
    #[arg(long)]
    all: bool,
}

/// Whose past is asked for.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TrailArgs {
    /// Of a grant
    #[arg(long, value_name = "ID")]
    grant: Option<GrantId>,
    /// Of the person with this `sub`
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
    /// The same, with the `sub` from standard input
    #[arg(long)]
    subject_stdin: bool,
    /// Of a client
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TokenArgs {
    /// The token in full, from standard input: it stays out of the process list
    #[arg(long)]
    token_stdin: bool,
    /// The digest of the token, as it stands in the records
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,
}

#[derive(Debug, Args)]
struct ValidArgs {
    /// The instant, like 2026-11-23T04:12:33Z
    #[arg(long, value_name = "TIME")]
    at: Timestamp,
    #[command(flatten)]
    whose: TrailArgs,
}

/// A record, as far as a trail shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RecordRow {
    seq: Value,
    at: Value,
    r#type: Value,
    grant: Value,
    actor: Value,
    data: Value,
}

impl Row for RecordRow {
    const COLUMNS: &'static [&'static str] = &["seq", "at", "type", "grant", "actor", "data"];
    const NAMES: &'static [&'static str] = &["records"];
    const LINES: bool = true;

    fn cells(&self) -> Vec<String> {
        let Self { seq, at, r#type, grant, actor, data } = self;
        [seq, at, r#type, grant, actor, data].into_iter().map(cell).collect()
    }
}

/// A token that was valid, as far as the list shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ValidRow {
    kind: Value,
    grant: Value,
    scope: Value,
    audience: Value,
    #[serde(alias = "issued_at")]
    issued: Value,
    #[serde(alias = "expires_at")]
    expires: Value,
    generation: Value,
    seq: Value,
}

impl Row for ValidRow {
    const COLUMNS: &'static [&'static str] =
        &["seq", "kind", "grant", "scope", "audience", "issued", "expires", "generation"];
    const NAMES: &'static [&'static str] = &["tokens", "valid"];

    fn cells(&self) -> Vec<String> {
        let Self { kind, grant, scope, audience, issued, expires, generation, seq } = self;
        [seq, kind, grant, scope, audience, issued, expires, generation]
            .into_iter()
            .map(cell)
            .collect()
    }
}

/// Does what `audit` asks.
///
/// # Errors
/// [`CliError`]; its hint says what to do.
pub async fn run(session: &mut Session<'_, '_>, args: &AuditArgs) -> Result<(), CliError> {
    match &args.command {
        AuditCommand::Records(args) => records(session, args).await,
        AuditCommand::Trail(args) => {
            let call = trail(session, args)?;
            session.list::<RecordRow>(call, true, "nothing happened to it").await
        }
        AuditCommand::Package(args) => package(session, args).await,
        AuditCommand::Token(args) => {
            let body = match &args.digest {
                Some(digest) => json!({ "digest": digest }),
                None => json!({ "token": session.console.line("token")?.expose() }),
            };
            session.show(&Call::post(&["audit", "token"]).body(body), "").await
        }
        AuditCommand::Receipt { seq } => {
            let call = Call::get(&["log", "proof", "receipt"]).query("seq", Some(seq));
            let answer = session.ask(&call).await?;
            session.show_text("receipt", &answer.body)
        }
        AuditCommand::Checkpoint => {
            let answer = session.ask(&Call::post(&["admin", "checkpoint"])).await?;
            session.show_text("checkpoint", &answer.body)
        }
        AuditCommand::Valid(args) => {
            let whose = &args.whose;
            let subject = subject_of(session.console, whose.subject.as_ref(), whose.subject_stdin)?;
            let call = Call::get(&["audit", "valid"])
                .query("at", Some(args.at))
                .query("subject", subject)
                .query("client", whose.client.as_ref())
                .query("grant", whose.grant);
            session.list::<ValidRow>(call, true, "no token was valid then").await
        }
    }
}

fn trail(session: &mut Session<'_, '_>, args: &TrailArgs) -> Result<Call, CliError> {
    if let Some(grant) = args.grant {
        return Ok(Call::get(&["audit", "grants", &grant.to_string(), "trail"]));
    }
    if let Some(client) = &args.client {
        return Ok(Call::get(&["audit", "clients", client.as_str(), "trail"]));
    }
    let subject = subject_of(session.console, args.subject.as_ref(), args.subject_stdin)?;
    Ok(Call::get(&["audit", "subjects", "trail"]).query("subject", subject))
}

/// Writes the pages as they are: not a byte of a record may change on its way to the verifier.
async fn records(session: &mut Session<'_, '_>, args: &RecordsArgs) -> Result<(), CliError> {
    let subject = subject_of(session.console, args.subject.as_ref(), args.subject_stdin)?;
    let mut call = Call::get(&["audit", "records"])
        .query("since", args.since)
        .query("until", args.until)
        .query("from", args.from)
        .query("to", args.to)
        .query("type", args.kind.as_ref())
        .query("client", args.client.as_ref())
        .query("subject", subject)
        .query("grant", args.grant)
        .query("limit", args.limit);
    let mut cursor: Option<String> = None;
    loop {
        let page = session.ask(&call).await?;
        if page.body.last().is_some_and(|last| *last != b'\n') {
            return Err(page.unexpected("its last record is cut off").into());
        }
        session.console.answer(&page.body)?;
        let Some(next) = page.next_cursor.clone() else { return Ok(()) };
        if !args.all {
            session.console.note("there is more: --all follows it to the end");
            return Ok(());
        }
        if cursor.as_ref() == Some(&next) {
            return Err(page.unexpected("it names the same page again").into());
        }
        call = call.query("cursor", Some(&next));
        cursor = Some(next);
    }
}
