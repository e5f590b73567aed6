//! The command line: what can be asked for, and who answers it. It holds no rules of its own; a
//! running server judges what is asked of it, and `local` works on a directory.

pub mod error;
pub mod console;
pub mod output;
pub mod arguments;
mod signals;
mod open_files;
pub mod copies;
pub mod witness;
pub mod administrator;
pub mod local;
pub mod export;
pub mod verify_error;
mod verify_package;
mod stored_checkpoints;
pub mod verify;
pub mod profile;
pub mod remote_error;
pub mod remote;
pub mod session;
pub mod login;
pub mod client;
pub mod grant;
pub mod blacklist;
pub mod subject;
pub mod audit;
pub mod package;
pub mod keys;
pub mod fence;

use std::io::Write;

use clap::{Parser, Subcommand};

use arguments::{DemoArgs, ExportArgs, InitArgs, Local, ServeArgs, VerifyArgs};
use console::Console;
use error::CliError;
use fence::FenceCommand;
use keys::{KeysCommand, VkeyArgs};
use profile::Profile;
use remote::Remote;
use session::Session;

use crate::types::secret::Secret;
use witness::WitnessCommand;

/// The command line, parsed.
#[derive(Debug, Parser)]
#[command(
    name = "token-ledger",
    version,
    about = "An OAuth 2.0 token service whose truth is an append-only, tamper-evident log",
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = TOP
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const TOP: &str = "\
Begin here:
  token-ledger demo                          see all of it, with nothing to set up
  token-ledger init --data ./ledger --issuer http://127.0.0.1:8080
  token-ledger serve --data ./ledger
  token-ledger login --public http://127.0.0.1:8080 --admin http://127.0.0.1:8081 --client-id ID
  token-ledger client register --help

`token-ledger COMMAND --help` has examples, and says what to do next.

Secrets are read from standard input or the environment, never from the command line. Instead of a
profile (see login), these variables may be set: TOKEN_LEDGER_PUBLIC_URL, TOKEN_LEDGER_ADMIN_URL,
TOKEN_LEDGER_CLIENT_ID, TOKEN_LEDGER_CLIENT_SECRET.

Exit codes:
  0  done
  1  refused or failed; `error:` and `hint:` on standard error say why, and what to do
  2  the command line or its input makes no sense
  3  what was read does not verify: by verify, or before mirror, restore or serve goes on";

/// Every command, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole protocol, narrated, over real HTTP; ends with a trail and a proof
    #[command(after_help = "\
Examples:
  token-ledger demo
  token-ledger demo --data ./demo --keep

Next: token-ledger init --help")]
    Demo(DemoArgs),
    /// Make a ledger, and print its first admin client, once
    #[command(after_help = "\
Example:
  token-ledger init --data ./ledger --issuer https://auth.example

Next: store the secret, then token-ledger serve --data ./ledger")]
    Init(InitArgs),
    /// Run the service
    #[command(after_help = "\
Examples:
  token-ledger serve --data ./ledger
  token-ledger serve --data ./ledger --config ledger.toml --listen 0.0.0.0:443 \\
    --tls-certificate-file cert.pem --tls-key-file key.pem --set queue_commands_max=8192

It prints one line on standard output once it answers: ready public=URL admin=URL. Logs go to
standard error. SIGTERM and Ctrl-C stop it cleanly; SIGHUP reads the certificate again. Plain HTTP
is served on loopback addresses only, or behind proxies that --behind-proxy names. Flags come over
the environment (TOKEN_LEDGER_*), and that over the file.

Next: token-ledger login --help")]
    Serve(ServeArgs),
    /// Print every setting with its default, range and meaning
    #[command(after_help = "\
Example:
  token-ledger config | less

Next: token-ledger serve --set KEY=VALUE, TOKEN_LEDGER_KEY=VALUE, or KEY = VALUE in a file.")]
    Config,
    /// Keep which server to talk to, and as which client
    #[command(after_help = "\
Examples:
  token-ledger login --public http://127.0.0.1:8080 --admin http://127.0.0.1:8081 --client-id ID
  token-ledger login --public https://auth.example --admin https://admin.auth.example \\
    --client-id ops < secret.txt

The secret is read from TOKEN_LEDGER_CLIENT_SECRET, else from standard input. It is kept in the
profile, which only you can read.

Next: token-ledger client list")]
    Login(login::LoginArgs),
    /// Register and manage the clients that ask for tokens
    Client(Box<client::ClientArgs>),
    /// Record, list and revoke what resource owners granted
    Grant(grant::GrantArgs),
    /// Kill tokens at once, whatever they are
    Blacklist(blacklist::BlacklistArgs),
    /// Forget a person
    Subject(subject::SubjectArgs),
    /// Ask who held what, when and why
    Audit(audit::AuditArgs),
    /// List and rotate signing keys; print the checkpoint verifier key
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Write the exact records of a data directory to standard output, or the log as tiles
    #[command(after_help = "\
Examples:
  token-ledger export --data ./ledger > evidence.jsonl
  token-ledger export --data ./ledger --tiles ./evidence

The tiles are a C2SP tlog-tiles log that other programs read, too. Each file is complete before it
stands under its name, and the checkpoint comes last; the next export adds what is new.

Next: token-ledger verify --export evidence.jsonl, or --tiles ./evidence, on any machine")]
    Export(ExportArgs),
    /// Check a ledger, an export, tiles, a live log or a receipt; names the first bad record
    #[command(after_help = "\
Examples:
  token-ledger verify --data ./ledger
  token-ledger audit records --all | token-ledger verify --export -
  token-ledger verify --tiles ./evidence --vkey auth.example.vkey --checkpoint kept-last-year
  token-ledger verify --url https://admin.auth.example/log --vkey auth.example.vkey
  token-ledger verify --receipt x.tlog-proof --record x.json --vkey auth.example.vkey
  token-ledger verify --package ./case-17 --vkey auth.example.vkey --nonce NONCE --client photos

Every record is checked: it is where it says, names the hash of the one before, and the rules could
have led to it. With a checkpoint also the tree and its signature.

What remains to be trusted: the verifier keys, which you must have from elsewhere than the evidence;
and that who held them did not show others another log. A checkpoint that you kept earlier
(--checkpoint) rules out that the past was rewritten since; a witness (--witness-vkey), that you are
shown another log than the rest of the world. What happened after the newest checkpoint, and what
was never recorded, no check can tell.

Exit codes: 0 it verifies; 1 it could not be read; 2 the command line makes no sense; 3 it was read
and does not verify. Next, in that case: keep it as it is, and compare with another copy from the
record that is named.")]
    Verify(VerifyArgs),
    /// Copy a serving ledger: the log, and apart from it the vault and the keys
    #[command(after_help = "\
Example:
  token-ledger backup --to /backup/ledger --vkey ledger.vkey

The log goes into DIR/log as tiles: immutable files, of which only new ones are written, and the
checkpoint last. The server puts the vault and the keys where backup_vault_dir and backup_keys_dir
say, each in the place of the copy before: keep no old copies of the vault, or the erased stay in
them. The client needs the scopes ledger:audit and ledger:admin.

Next: token-ledger doctor --data /backup/ledger/log, and try token-ledger restore now and then")]
    Backup(copies::BackupArgs),
    /// Follow a live log into a directory, for ever
    #[command(after_help = "\
Examples:
  token-ledger mirror --to /mirror --vkey ledger.vkey
  token-ledger mirror --to /mirror --vkey ledger.vkey --url https://auth.example/log

It prints a line of JSON whenever it has caught up with a newer checkpoint, and warns how many
seconds it is behind while it cannot. It may be killed at any moment and started again. It ends with
exit code 3 when the log contradicts what was copied before: keep both, and compare.

Next: token-ledger verify --tiles /mirror")]
    Mirror(copies::MirrorArgs),
    /// Make a data directory from a backup, a mirror or an export
    #[command(after_help = "\
Example:
  token-ledger restore --from /backup/ledger/log --keys /keys/keys.json \\
    --vault /vault/vault.copy --data ./ledger

Every record is checked before the directory appears under its name. The ledger made is as old as
its copy. It does not start behind the fence: where more was signed than the copy holds, serve
refuses and says what to do.

Exit code 3 says that the copies contradict themselves.
Next: token-ledger serve --data ./ledger")]
    Restore(copies::RestoreArgs),
    /// Say what state a directory is in, and what to do; changes nothing
    #[command(after_help = "\
Example:
  token-ledger doctor --data ./ledger
  token-ledger doctor --data ./ledger --fence /mnt/other/fence
  token-ledger doctor --data ./witness

Exit code 0 says that it can be used as it is, 1 that something must be mended first.
Next: do what the lines with an arrow say, then token-ledger verify --data ./ledger")]
    Doctor(copies::DoctorArgs),
    /// Make another administrator, when nobody can log in as one any more
    #[command(after_help = "\
Example:
  token-ledger administrator --data ./ledger

For when every administrator's secret is lost, or their clients are disabled or on the blacklist.
Stop the server first. The log tells of it, as of everything: a client registered by the ledger
itself. Whoever may write to the data directory can do this: guard the directory.

Next: token-ledger serve, login as the new one, and client disable for those that are lost")]
    Administrator(administrator::AdministratorArgs),
    /// Make the fence anew after it was lost
    #[command(subcommand)]
    Fence(FenceCommand),
    /// Watch other ledgers: cosign their checkpoints while they only grow
    #[command(subcommand)]
    Witness(WitnessCommand),
}

/// Does what the command line asks. Blocks until it is done.
///
/// # Errors
/// [`CliError`]: [`report`] tells a person, [`CliError::exit`] the shell.
pub fn run(cli: Cli, console: &mut Console<'_>) -> Result<(), CliError> {
    let local = match cli.command {
        Command::Init(args) => Local::Init(args),
        Command::Serve(args) => Local::Serve(args),
        Command::Administrator(args) => Local::Administrator(args),
        Command::Demo(args) => Local::Demo(args),
        Command::Export(args) => Local::Export(args),
        Command::Verify(args) => {
            let bearer = bearer_of(&args, console)?;
            return Ok(verify::verify(&args, bearer.as_ref())?);
        }
        Command::Witness(command) => Local::Witness(command),
        Command::Restore(args) => Local::Restore(args),
        Command::Doctor(args) => Local::Doctor(args),
        Command::Backup(args) => return copies::backup(&args, console),
        Command::Mirror(args) => return copies::mirror(&args, console),
        Command::Config => Local::Config,
        Command::Keys(KeysCommand::Vkey(VkeyArgs { data: Some(data), options })) => {
            Local::Vkey { data, json: options.json }
        }
        Command::Fence(command) => Local::Fence(command),
        remote @ (Command::Login(_)
        | Command::Client(_)
        | Command::Grant(_)
        | Command::Blacklist(_)
        | Command::Subject(_)
        | Command::Audit(_)
        | Command::Keys(_)) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            return runtime.map_err(CliError::Start)?.block_on(run_remote(remote, console));
        }
    };
    Ok(local::run(local)?)
}

/// The access token that opens the records of a live log; none where no client is known, and none for
/// another server than the profile's, unless the profile was named for it.
fn bearer_of(args: &VerifyArgs, console: &Console<'_>) -> Result<Option<Secret>, CliError> {
    let Some(url) = &args.evidence.url else { return Ok(None) };
    let profile = match Profile::load(args.profile.as_deref(), console.variable) {
        Ok(profile) => profile,
        // A log that publishes its records needs nobody.
        Err(_) if args.profile.is_none() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if args.profile.is_none() && !profile.is_of(url) {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CliError::Start)?;
    Ok(Some(runtime.block_on(Remote::new(profile)?.into_token())?))
}

async fn run_remote(command: Command, console: &mut Console<'_>) -> Result<(), CliError> {
    match &command {
        Command::Login(args) => login::run(console, args).await,
        Command::Client(args) => {
            client::run(&mut Session::open(console, &args.options)?, args).await
        }
        Command::Grant(args) => grant::run(&mut Session::open(console, &args.options)?, args).await,
        Command::Blacklist(args) => {
            blacklist::run(&mut Session::open(console, &args.options)?, args).await
        }
        Command::Subject(args) => {
            subject::run(&mut Session::open(console, &args.options)?, args).await
        }
        Command::Audit(args) => audit::run(&mut Session::open(console, &args.options)?, args).await,
        Command::Keys(KeysCommand::List(args)) => {
            keys::list(&mut Session::open(console, &args.options)?).await
        }
        Command::Keys(KeysCommand::Rotate(args)) => {
            keys::rotate(&mut Session::open(console, &args.options)?, args).await
        }
        Command::Keys(KeysCommand::Vkey(args)) => {
            keys::vkey(&mut Session::open(console, &args.options)?).await
        }
        Command::Init(_)
        | Command::Serve(_)
        | Command::Administrator(_)
        | Command::Demo(_)
        | Command::Export(_)
        | Command::Verify(_)
        | Command::Config
        | Command::Witness(_)
        | Command::Backup(_)
        | Command::Mirror(_)
        | Command::Restore(_)
        | Command::Doctor(_)
        | Command::Fence(_) => Ok(()), // `run` keeps these to itself
    }
}

/// Tells a person what went wrong, in one line, and what to do, in another.
pub fn report(error: &CliError, to: &mut dyn Write) {
    let mut text = format!("error: {}\n", output::plain(&error.to_string()));
    if let Some(hint) = error.hint() {
        text.push_str(&format!("hint: {}\n", output::plain(&hint)));
    }
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}
