//! `token-ledger witness`: runs a witness on this machine, away from the ledgers that it watches.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::local::{LocalError, log_to_standard_error, say, write_out};
use crate::cli::signals::Signals;
use crate::clock::SystemClock;
use crate::crypto::note_key::{KeyName, NoteVerifier};
use crate::crypto::note_signer::Cosigner;
use crate::entropy::{OsEntropy, bytes};
use crate::log::checkpoint::Origin;
use crate::run::bind;
use crate::run::error::RunError;
use crate::witness::directory::{KnownLog, OriginId, WitnessDirectory};
use crate::witness::judge::Witness;
use crate::witness::serve::serve;

/// What can be done with a witness.
#[derive(Debug, Subcommand)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  token-ledger witness init --data ./witness --name witness.example
  token-ledger witness list --data ./witness
  token-ledger witness serve --data ./witness --listen 0.0.0.0:8090

Next: token-ledger witness init --help"
)]
pub enum WitnessCommand {
    /// Make a witness with a key of its own, and print its verifier key
    #[command(after_help = "\
Example:
  token-ledger witness init --data ./witness --name witness.example

Keep it on another machine than the ledger, under other people. Never restore its directory from a
copy: it would have forgotten what it cosigned since. Make a new witness instead.

Next: token-ledger witness add --help")]
    Init(WitnessInitArgs),
    /// Cosign the checkpoints of a log from now on; its first head is taken on trust
    #[command(after_help = "\
Example:
  token-ledger keys vkey --data ./ledger                  (on the ledger's machine)
  token-ledger witness add --data ./witness --origin auth.example \\
    --vkey 'auth.example+ed8203c6+AdMMki29MPa46mM8U7Q3hYfJ8NiqND7/ejJauwMizDbF'

The keys replace those given before: name the old one and the new one while a log changes its key.
It works beside a witness that serves. Next: token-ledger witness serve --help")]
    Add(WitnessAddArgs),
    /// List the known logs, and what was cosigned last of each
    #[command(after_help = "\
Example:
  token-ledger witness list --data ./witness --json

Next: where a log has forked, keep the two checkpoints in forks/, which prove it by themselves.")]
    List(WitnessListArgs),
    /// Print the verifier key, one line
    #[command(after_help = "\
Example:
  token-ledger witness vkey --data ./witness > witness.vkey

Next: give that line to the ledger's operators and to the auditors.")]
    Vkey(WitnessArgs),
    /// Answer the ledgers: POST /add-checkpoint, GET /ORIGIN_SHA256/checkpoint
    #[command(after_help = "\
Example:
  token-ledger witness serve --data ./witness --listen 0.0.0.0:8090

It prints one line on standard output once it answers: ready witness=URL. What it is sent is public
and signed, so plain HTTP gives nothing away. Next, at the ledger:
  token-ledger serve --data ./ledger \\
    --set \"witnesses=$(token-ledger witness vkey --data ./witness) URL\"")]
    Serve(WitnessServeArgs),
}

/// What every command on a witness takes.
#[derive(Debug, Args)]
pub struct WitnessArgs {
    /// The witness's directory
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// What `witness init` takes.
#[derive(Debug, Args)]
pub struct WitnessInitArgs {
    #[command(flatten)]
    witness: WitnessArgs,
    /// The name in its cosignatures, like a URL without scheme
    #[arg(long, value_name = "NAME")]
    name: KeyName,
}

/// What `witness add` takes.
#[derive(Debug, Args)]
pub struct WitnessAddArgs {
    #[command(flatten)]
    witness: WitnessArgs,
    /// The log's identity: the first line of its checkpoints
    #[arg(long, value_name = "ORIGIN")]
    origin: Origin,
    /// A verifier key of the log; may be given more than once
    #[arg(long, value_name = "VKEY", required = true)]
    vkey: Vec<NoteVerifier>,
}

/// What `witness list` takes.
#[derive(Debug, Args)]
pub struct WitnessListArgs {
    #[command(flatten)]
    witness: WitnessArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What `witness serve` takes.
#[derive(Debug, Args)]
pub struct WitnessServeArgs {
    #[command(flatten)]
    witness: WitnessArgs,
    /// Where it is reached; port 0 lets the system choose
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8090")]
    listen: String,
}

/// Does what `command` asks.
///
/// # Errors
/// [`LocalError`]; its hint says what to do.
pub fn run(command: &WitnessCommand) -> Result<(), LocalError> {
    match command {
        WitnessCommand::Init(args) => {
            let key = Cosigner::new(args.name.clone(), &bytes(&OsEntropy));
            WitnessDirectory::create(&args.witness.data, &key)?;
            say(&key.verifier().to_string())
        }
        WitnessCommand::Add(args) => {
            let log = KnownLog { origin: args.origin.clone(), keys: args.vkey.clone() };
            WitnessDirectory::look(&args.witness.data)?.add_log(&log)?;
            say(&format!("{} is known", log.origin))
        }
        WitnessCommand::List(args) => list(args),
        WitnessCommand::Vkey(args) => {
            say(&WitnessDirectory::look(&args.data)?.key()?.verifier().to_string())
        }
        WitnessCommand::Serve(args) => {
            log_to_standard_error();
            actix_web::rt::System::new().block_on(serve_until_stopped(args))
        }
    }
}

fn list(args: &WitnessListArgs) -> Result<(), LocalError> {
    let directory = WitnessDirectory::look(&args.witness.data)?;
    let key = directory.key()?;
    let (mut logs, mut lines) = (Vec::new(), Vec::new());
    for log in directory.logs()? {
        let id = OriginId::of(&log.origin);
        let head = directory.head(id, key.verifier())?;
        let (size, at) = head.map_or((None, None), |seen| (Some(seen.head.size), Some(seen.at)));
        let forked = directory.has_fork(id);
        let vkeys: Vec<String> = log.keys.iter().map(ToString::to_string).collect();
        let cosigned = match (size, at) {
            (Some(size), Some(at)) => format!("size {size}, cosigned {at}"),
            (_, _) => "nothing cosigned yet".to_owned(),
        };
        let alarm = if forked { "  THE LOG HAS FORKED: see forks/" } else { "" };
        lines.push(format!("{}  {cosigned}{alarm}\n  {}", log.origin, vkeys.join("\n  ")));
        logs.push(json!({ "origin": log.origin.as_str(), "id": id.to_string(), "vkeys": vkeys,
            "size": size, "cosigned_at": at, "forked": forked }));
    }
    match args.json {
        true => say(&json!({ "vkey": key.verifier().to_string(), "logs": logs }).to_string()),
        false => say(&lines.join("\n")),
    }
}

async fn serve_until_stopped(args: &WitnessServeArgs) -> Result<(), LocalError> {
    let mut signals = Signals::new().map_err(LocalError::Signals)?;
    let witness = Arc::new(Witness::open(&args.witness.data, Arc::new(SystemClock))?);
    let served = serve(bind(&args.listen)?, witness).map_err(RunError::Listen)?;
    let ready = format!("ready witness=http://{}", served.address);
    write_out(&ready).map_err(LocalError::Untold)?;
    let handle = served.handle();
    let mut serving = actix_web::rt::spawn(served.run());
    tokio::select! {
        signal = signals.stop() => {
            tracing::info!(signal, "stopping: what is in flight is answered");
            handle.stop(true).await;
            Ok(())
        }
        ended = &mut serving => match ended {
            Ok(Err(error)) => Err(RunError::Listen(error).into()),
            Ok(Ok(())) | Err(_) => Err(RunError::Ended.into()),
        },
    }
}
