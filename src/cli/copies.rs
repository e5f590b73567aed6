//! `token-ledger backup`, `mirror`, `restore` and `doctor`: copies of a ledger, and back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::backup::doctor::examine;
use crate::backup::findings::Weight;
use crate::backup::follow::{FollowError, Followed, follow};
use crate::backup::restore::{Copies, restore};
use crate::cli::console::Console;
use crate::cli::error::CliError;
use crate::cli::local::{LocalError, log_to_standard_error, progress, say};
use crate::cli::profile::Profile;
use crate::cli::remote::{Call, Remote};
use crate::cli::signals::Signals;
use crate::cli::verify::verifier_keys;
use crate::clock::Stopwatch;
use crate::crypto::note_key::NoteVerifier;
use crate::evidence::directory::DirectorySource;
use crate::evidence::source::SourceError;
use crate::evidence::url::UrlSource;
use crate::evidence::writer::{TileDirectory, WriteError};
use crate::log::file::create_directory;
use crate::types::secret::Secret;

/// The log's copy inside a backup.
const LOG: &str = "log";
/// The longest pause of a mirror after failures, in seconds.
const PAUSE_S_MAX: u64 = 60;

/// Verifier keys, each as text or in a file of lines.
#[derive(Debug, Args)]
pub struct VkeyArgs {
    /// A verifier key of the log, or a file that holds some; may be given more than once
    #[arg(long = "vkey", value_name = "VKEY|FILE", required = true)]
    vkey: Vec<String>,
}

/// What `backup` takes.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The directory of the backup; made if it is not there, extended if it is
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    keys: VkeyArgs,
    /// Leave the vault and the keys out: the log alone
    #[arg(long)]
    log_only: bool,
    /// The profile to use; alone, without the environment [default: the one of `login`]
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What `mirror` takes.
#[derive(Debug, Args)]
pub struct MirrorArgs {
    /// The directory of the mirror; made if it is not there, extended if it is
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    keys: VkeyArgs,
    /// The log's prefix, for a log that needs no token [default: that of the profile, with its token]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The profile to use; alone, without the environment [default: the one of `login`]
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    profile: Option<PathBuf>,
    /// How long to wait between two looks, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000,
        value_parser = clap::value_parser!(u64).range(10..=86_400_000))]
    interval_ms: u64,
    /// Stop once it has caught up; a server that cannot be reached is asked until it can
    #[arg(long)]
    once: bool,
}

/// What `restore` takes.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The directory of tiles: `log` in a backup, a mirror, or an export
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The copy of the keys
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// The copy of the vault
    #[arg(long, value_name = "FILE", required_unless_present = "without_vault")]
    vault: Option<PathBuf>,
    /// Go without: nobody behind a pseudonym is known any more, for good
    #[arg(long, conflicts_with = "vault")]
    without_vault: bool,
    /// A verifier key of the checkpoint, where it is not the one in the keys; or a file of some
    #[arg(long = "vkey", value_name = "VKEY|FILE")]
    vkey: Vec<String>,
    /// The data directory to make; it must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What `doctor` takes.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The directory: a ledger's, a backup's log, a mirror, or a witness's
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The ledger's fence, where fence_file puts it elsewhere
    #[arg(long, value_name = "FILE")]
    fence: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// A directory that follows a log. Its steps wait for the network, off the asynchronous threads.
struct Follower {
    path: PathBuf,
    prefix: String,
    keys: Vec<NoteVerifier>,
    directory: Option<TileDirectory>,
}

impl Follower {
    fn step(&mut self, bearer: Option<&Secret>) -> Result<Followed, LocalError> {
        let source = UrlSource::new(&self.prefix, bearer)?;
        let directory = match &mut self.directory {
            Some(directory) => directory,
            none => none.insert(TileDirectory::open(&self.path).map_err(FollowError::from)?),
        };
        Ok(follow(directory, &self.path, &source, &self.keys)?)
    }
}

/// One step on a thread that may wait; the follower comes back with its result.
async fn step(
    mut follower: Follower,
    bearer: Option<Secret>,
) -> Result<(Follower, Result<Followed, LocalError>), CliError> {
    let task = tokio::task::spawn_blocking(move || {
        let followed = follower.step(bearer.as_ref());
        (follower, followed)
    });
    task.await.map_err(|error| CliError::Start(std::io::Error::other(error)))
}

fn runtime() -> Result<Runtime, CliError> {
    Builder::new_current_thread().enable_all().build().map_err(CliError::Start)
}

fn log_prefix(profile: &Profile) -> String {
    format!("{}/log", profile.admin.as_str().trim_end_matches('/'))
}

/// What `POST /admin/backup` answers.
#[derive(Deserialize)]
struct ServerCopies {
    vault: Option<Value>,
    keys: Option<Value>,
}

/// Copies a serving ledger.
///
/// # Errors
/// [`CliError`]; its hint says what to do.
pub fn backup(args: &BackupArgs, console: &mut Console<'_>) -> Result<(), CliError> {
    log_to_standard_error();
    let keys = verifier_keys(&args.keys.vkey).map_err(LocalError::from)?;
    let profile = Profile::load(args.profile.as_deref(), console.variable)?;
    create_directory(&args.to).map_err(LocalError::from)?;
    let (path, prefix) = (args.to.join(LOG), log_prefix(&profile));
    let follower = Follower { path, prefix, keys, directory: None };
    let mut remote = Remote::new(profile)?;
    runtime()?.block_on(async {
        // What was answered until now is in the copy, not only what a checkpoint covers already.
        if let Err(error) = remote.ask(&Call::post(&["admin", "checkpoint"])).await {
            tracing::warn!(%error, "no fresh checkpoint: the copy ends at the newest there is");
        }
        // The log first: the vault's copy then knows everybody in it.
        let bearer = remote.bearer().await?;
        let (_, followed) = step(follower, Some(bearer)).await?;
        let followed = followed?;
        let copies = if args.log_only {
            ServerCopies { vault: None, keys: None }
        } else {
            remote.ask(&Call::post(&["admin", "backup"])).await?.json()?
        };
        let (records, files) = (followed.written.records, followed.written.files);
        let size = followed.head.size;
        if args.json {
            let body = json!({ "to": args.to, "records": size, "new_records": records,
                "files": files, "vault": copies.vault, "keys": copies.keys });
            return console.answer(format!("{body}\n").as_bytes());
        }
        let text = format!(
            "{} holds {size} records ({records} new, {files} files written)\n{}{}",
            args.to.join(LOG).display(),
            copies.vault.map_or(String::new(), |vault| format!("vault  {vault}\n")),
            copies.keys.map_or(String::new(), |keys| format!("keys   {keys}\n")),
        );
        console.answer(text.as_bytes())?;
        console.note("Next: token-ledger verify --tiles, on another machine; and try a restore");
        Ok(())
    })
}

/// Follows a log until it is told to stop.
///
/// # Errors
/// [`CliError`]: the log contradicts what was copied. Everything else is tried again.
pub fn mirror(args: &MirrorArgs, console: &mut Console<'_>) -> Result<(), CliError> {
    log_to_standard_error();
    let keys = verifier_keys(&args.keys.vkey).map_err(LocalError::from)?;
    let (prefix, remote) = match &args.url {
        Some(url) => (url.clone(), None),
        None => {
            let profile = Profile::load(args.profile.as_deref(), console.variable)?;
            (log_prefix(&profile), Some(Remote::new(profile)?))
        }
    };
    let follower = Follower { path: args.to.clone(), prefix, keys, directory: None };
    let runtime = runtime()?;
    let mirrored = runtime.block_on(keep_following(args, follower, remote, console));
    // A step under way is not waited for: it may be killed at any moment.
    runtime.shutdown_background();
    mirrored
}

async fn keep_following(
    args: &MirrorArgs,
    mut follower: Follower,
    mut remote: Option<Remote>,
    console: &mut Console<'_>,
) -> Result<(), CliError> {
    let mut signals = Signals::new().map_err(LocalError::Signals)?;
    let watch = Stopwatch::start();
    let (mut failures, mut caught_up_at, mut shown) = (0_u32, 0.0, None);
    loop {
        let bearer = match &mut remote {
            Some(remote) => remote.bearer().await.map(Some),
            None => Ok(None),
        };
        let followed = match bearer {
            Err(error) => Err(error),
            Ok(bearer) => {
                let stepped = tokio::select! {
                    _ = signals.stop() => return Ok(()),
                    stepped = step(follower, bearer) => stepped?,
                };
                follower = stepped.0;
                stepped.1.map_err(CliError::from)
            }
        };
        let pause_ms = match followed {
            Ok(followed) => {
                failures = 0;
                caught_up_at = watch.seconds();
                if shown != Some(followed.head) {
                    let line = json!({ "records": followed.head.size,
                        "new_records": followed.written.records, "behind_s": 0 });
                    console.answer(format!("{line}\n").as_bytes())?;
                    shown = Some(followed.head);
                }
                if args.once {
                    return Ok(());
                }
                args.interval_ms
            }
            Err(error) if is_final(&error) || args.once && ends_one_look(&error) => {
                return Err(error);
            }
            Err(error) => {
                if let Some(remote) = &mut remote {
                    remote.forget_token();
                }
                failures = failures.saturating_add(1);
                let behind_s = (watch.seconds() - caught_up_at) as u64;
                tracing::warn!(%error, behind_s, "the mirror lags behind; trying again");
                let pause_ms = args.interval_ms.saturating_mul(1 << failures.min(16));
                pause_ms.min(PAUSE_S_MAX * 1000).max(args.interval_ms)
            }
        };
        tokio::select! {
            _ = signals.stop() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
        }
    }
}

/// Whether to go on would be wrong: the evidence contradicts itself, or nobody lets us in.
fn is_final(error: &CliError) -> bool {
    match error {
        CliError::Local(LocalError::Follow(error)) => error.is_contradiction() || is_refusal(error),
        CliError::Local(_) | CliError::Profile(_) | CliError::Input(_) | CliError::Output(_) => {
            true
        }
        CliError::Remote(_) | CliError::SecretNotShown { .. } | CliError::Start(_) => false,
    }
}

/// What one look does not wait for: there is no log where it was looked for, or not yet; another process
/// writes to the directory.
fn ends_one_look(error: &CliError) -> bool {
    matches!(
        error,
        CliError::Local(LocalError::Follow(
            FollowError::Source(SourceError::Missing { .. })
                | FollowError::Write(WriteError::InUse { .. })
        ))
    )
}

/// A token that does not open the records never will.
fn is_refusal(error: &FollowError) -> bool {
    matches!(
        error,
        FollowError::Source(SourceError::Refused { status: 403, .. })
            | FollowError::Write(WriteError::Source(SourceError::Refused { status: 403, .. }))
    )
}

/// Makes a data directory from copies.
///
/// # Errors
/// [`LocalError`]; its hint says what to do.
pub fn run_restore(args: &RestoreArgs) -> Result<(), LocalError> {
    log_to_standard_error();
    let unreadable = |path: &Path| {
        let path = path.display().to_string();
        move |source| LocalError::File { path, source }
    };
    let keys = std::fs::read(&args.keys).map_err(unreadable(&args.keys))?;
    let keys = zeroize::Zeroizing::new(keys);
    let trusted = verifier_keys(&args.vkey)?;
    let copies = Copies {
        log: &DirectorySource::new(&args.from),
        keys: &keys,
        vault: args.vault.as_deref(),
        trusted: &trusted,
    };
    let restored = restore(&args.data, &copies, progress("restoring"))?;
    let (data, size) = (args.data.display(), restored.head.size);
    if args.json {
        let last = restored.last.map(|head| json!({ "seq": head.seq, "at": head.at }));
        let body = json!({ "data": args.data, "issuer": restored.issuer, "records": size,
            "last": last, "subjects": restored.people,
            "unknown_subjects": restored.unknown_people });
        return say(&body.to_string());
    }
    let last = restored.last.map_or(String::new(), |head| format!(", the last of {}", head.at));
    let settings = match restored.unknown_people {
        0 => "",
        _ => "TOKEN_LEDGER_VAULT_INCOMPLETE_OK=1 ",
    };
    say(&format!(
        "Made the ledger of {} in {data}: {size} records{last}, every one checked.\n\
         {} people are known again; {} in the log were not in the vault's copy.\n\n\
         What happened after that is lost to this ledger: compare with a witness or a mirror.\n\
         Next: {settings}token-ledger serve --data {data}, with the same fence_file as before if it was set",
        restored.issuer, restored.people, restored.unknown_people
    ))
}

/// Says what state a directory is in.
///
/// # Errors
/// [`LocalError::Unusable`] when it cannot be used as it is.
pub fn doctor(args: &DoctorArgs) -> Result<(), LocalError> {
    let found = examine(&args.data, args.fence.as_deref());
    let told = if args.json {
        let body = json!({ "data": args.data, "kind": found.kind, "usable": found.is_usable(),
            "findings": found.findings });
        say(&body.to_string())
    } else {
        let mut text = String::new();
        for finding in &found.findings {
            let weight = match finding.weight {
                Weight::Good => "ok     ",
                Weight::Notice => "notice ",
                Weight::Broken => "BROKEN ",
            };
            text.push_str(&format!("{weight} {}\n", finding.what));
            if !finding.remedy.is_empty() {
                text.push_str(&format!("         -> {}\n", finding.remedy));
            }
        }
        say(text.trim_end())
    };
    if found.is_usable() { told } else { Err(LocalError::Unusable) }
}
