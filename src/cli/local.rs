//! The commands that work on a data directory of this machine.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::backup::follow::FollowError;
use crate::backup::restore::RestoreError;
use crate::cli::administrator::{administrator, init};
use crate::cli::arguments::{DemoArgs, Local, ServeArgs};
use crate::cli::copies;
use crate::cli::error::Exit;
use crate::cli::export::export;
use crate::cli::fence::{fence, known_keys};
use crate::cli::open_files;
use crate::cli::profile::VARIABLES;
use crate::cli::signals::{Signal, Signals};
use crate::cli::verify_error::{VerifyError, WHERE_A_LOG_IS};
use crate::cli::witness;
use crate::clock::{Stopwatch, SystemClock};
use crate::config::ConfigFault;
use crate::config::settings::{Config, reference};
use crate::config::source::{ConfigFile, Sources, environment_variables};
use crate::crypto::keys::KeyFile;
use crate::crypto::note_key::{KeyName, NoteVerifier};
use crate::crypto::note_signer::NoteSigner;
use crate::demo::error::DemoError;
use crate::demo::{self, DemoOptions};
use crate::entropy::ThreadEntropy;
use crate::evidence::source::{SourceError, is_damage, is_damage_of_store};
use crate::evidence::url::NotAskable;
use crate::evidence::writer::WriteError;
use crate::ledger::checkpoints::CheckpointRowError;
use crate::ledger::open::{OpenError, open_log, read_keys};
use crate::ledger::replay::LogError;
use crate::log::directory::{DataDirectory, DirectoryError, Marker};
use crate::log::file::{FileError, read_if_there};
use crate::oauth::issuer::{Issuer, NotAnIssuer};
use crate::run::error::RunError;
use crate::run::start;
use crate::telemetry;
use crate::types::id::Seq;
use crate::witness::directory::WitnessError;

/// The page cache for commands that read a ledger from end to end, in bytes.
pub(super) const OFFLINE_CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// The largest log that is copied before the recovery that follows an unclean stop, in bytes.
pub(super) const RECOVERY_COPY_BYTES_MAX: u64 = 1 << 30;
/// After how many records progress is shown.
const PROGRESS_RECORDS: u64 = 250_000;
/// Why a local command failed.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The issuer is none.
    #[error("--issuer: {0}")]
    Issuer(#[from] NotAnIssuer),
    /// The ledger cannot be made or opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigFault),
    /// The service does not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The evidence does not verify, or cannot be judged.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The log cannot be read to its end.
    #[error(transparent)]
    Log(LogError),
    /// The demo did not go as it should.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// A file cannot be opened.
    #[error("cannot open {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The tiles cannot be written.
    #[error(transparent)]
    Tiles(#[from] WriteError),
    /// Standard output is closed or full.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
    /// Nobody is told where the service is reached: it was stopped.
    #[error("cannot write to standard output that it is ready, so it was stopped: {0}")]
    Untold(#[source] io::Error),
    /// There is a new administrator, whose secret nobody was told.
    #[error("{made}, but the secret of its administrator could not be written out: {source}")]
    SecretNotShown {
        /// What was done.
        made: String,
        /// What standard output said.
        source: io::Error,
        /// Where.
        data: String,
    },
    /// The system gives no runtime.
    #[error("the asynchronous runtime does not start: {0}")]
    Runtime(#[source] io::Error),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] io::Error),
    /// A stored checkpoint is damaged.
    #[error("{0}")]
    Stored(#[source] CheckpointRowError),
    /// The issuer gives no origin for checkpoints.
    #[error("the issuer gives no origin for checkpoints: {0}")]
    Origin(#[source] crate::log::checkpoint::CheckpointError),
    /// A checkpoint that somebody vouched for is not to be believed.
    #[error("the checkpoint given is not one that this ledger signed: {0}")]
    Vouched(#[source] crate::log::checkpoint::CheckpointError),
    /// The checkpoint key has no usable name.
    #[error("the issuer gives no name for the checkpoint key: {0}")]
    KeyName(#[from] crate::crypto::note_key::KeyError),
    /// A copy does not follow its log.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The server cannot be asked.
    #[error(transparent)]
    NotAskable(#[from] NotAskable),
    /// Nothing was restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// `doctor` found something that must be mended.
    #[error("the directory cannot be used as it is")]
    Unusable,
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] FileError),
    /// The witness does not work.
    #[error(transparent)]
    Witness(#[from] WitnessError),
}

impl LocalError {
    /// What a person can do next.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Issuer(_) => Some("an issuer looks like https://auth.example.com".into()),
            Self::Config(_) => Some("token-ledger config lists every setting".into()),
            Self::Verify(error) => error.hint(),
            Self::SecretNotShown { data, .. } => {
                let another = format!("token-ledger administrator --data {data}");
                Some(format!("{another} makes another administrator").into())
            }
            Self::Unusable => {
                Some("what to do stands above, below each line that says BROKEN".into())
            }
            Self::File { .. } => Some("check the path and who may read it".into()),
            Self::Output(_) | Self::Untold(_) => Some("check where standard output goes".into()),
            Self::Demo(_) => Some("run it again with --data DIR to keep the ledger".into()),
            Self::Restore(RestoreError::Source(SourceError::Missing { .. }))
            | Self::Follow(FollowError::Source(SourceError::Missing { .. })) => {
                Some(WHERE_A_LOG_IS.into())
            }
            Self::Open(_)
            | Self::Run(_)
            | Self::Log(_)
            | Self::Tiles(_)
            | Self::Runtime(_)
            | Self::Signals(_)
            | Self::Stored(_)
            | Self::Origin(_)
            | Self::Vouched(_)
            | Self::KeyName(_)
            | Self::Follow(_)
            | Self::NotAskable(_)
            | Self::Restore(_)
            | Self::Disk(_)
            | Self::Witness(_) => None,
        }
    }

    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Issuer(_) | Self::Config(_) => Exit::Usage,
            Self::Tiles(WriteError::Ledger { .. })
            | Self::Follow(FollowError::Write(WriteError::Ledger { .. })) => Exit::Usage,
            Self::Verify(error) => error.exit(),
            Self::Follow(error) if error.is_contradiction() => Exit::Unverified,
            Self::Restore(error) if error.is_contradiction() => Exit::Unverified,
            Self::Open(OpenError::Tail { .. } | OpenError::Shortened { .. }) => Exit::Unverified,
            Self::Open(OpenError::Log(error)) | Self::Log(error) if is_damage(error) => {
                Exit::Unverified
            }
            Self::Open(OpenError::Store(error))
            | Self::Stored(CheckpointRowError::Store(error)) => {
                if is_damage_of_store(error) {
                    Exit::Unverified
                } else {
                    Exit::Failed
                }
            }
            Self::Stored(_) => Exit::Unverified,
            Self::Open(_)
            | Self::Run(_)
            | Self::Log(_)
            | Self::Demo(_)
            | Self::File { .. }
            | Self::Tiles(_)
            | Self::Output(_)
            | Self::Untold(_)
            | Self::SecretNotShown { .. }
            | Self::Runtime(_)
            | Self::Signals(_)
            | Self::Origin(_)
            | Self::Vouched(_)
            | Self::KeyName(_)
            | Self::Follow(_)
            | Self::NotAskable(_)
            | Self::Restore(_)
            | Self::Unusable
            | Self::Disk(_)
            | Self::Witness(_) => Exit::Failed,
        }
    }
}

/// Does what `command` asks.
///
/// # Errors
/// [`LocalError`]; its hint says what to do.
pub fn run(command: Local) -> Result<(), LocalError> {
    match command {
        Local::Init(args) => init(&args),
        Local::Administrator(args) => administrator(&args),
        Local::Serve(args) => serve(&args),
        Local::Demo(args) => run_demo(args),
        Local::Export(args) => export(&args),
        Local::Config => say(&reference()),
        Local::Vkey { data, json } => vkey(&data, json),
        Local::Fence(command) => fence(&command),
        Local::Witness(command) => witness::run(&command),
        Local::Restore(args) => copies::run_restore(&args),
        Local::Doctor(args) => copies::doctor(&args),
    }
}

pub(super) fn say(text: &str) -> Result<(), LocalError> {
    write_out(text).map_err(LocalError::Output)
}

pub(super) fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Shows on standard error how far a long read has come; silent on short ones.
pub(super) fn progress(what: &'static str) -> impl FnMut(Seq) {
    let watch = Stopwatch::start();
    move |seq| {
        let records = seq.0 + 1;
        if records.is_multiple_of(PROGRESS_RECORDS) {
            let rate = records as f64 / watch.seconds().max(0.001);
            tracing::info!(records, per_second = rate as u64, "{what}");
        }
    }
}

fn serve(args: &ServeArgs) -> Result<(), LocalError> {
    let file = args.config.as_deref().map(ConfigFile::read).transpose()?;
    let sources = Sources {
        file,
        environment: environment_variables(),
        environment_apart: VARIABLES.iter().map(|name| (*name).to_owned()).collect(),
        flags: args.settings(),
    };
    let config = Config::load(&sources)?;
    // Only a test sets it up twice, and the first one stays.
    let _ = telemetry::init(config.log_format, config.log_level);
    open_files::allow_as_many_as_possible();
    actix_web::rt::System::new().block_on(serve_until_stopped(&args.data, &config))
}

async fn serve_until_stopped(data: &Path, config: &Config) -> Result<(), LocalError> {
    let mut signals = Signals::new().map_err(LocalError::Signals)?;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(ThreadEntropy));
    let running = start(data, config, clock, entropy, progress("replaying the log")).await?;
    let [public, admin] = running.urls();
    if let Err(source) = write_out(&format!("ready public={public} admin={admin}")) {
        running.stop().await?;
        return Err(LocalError::Untold(source));
    }
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop(signal) => {
                    tracing::info!(signal, "stopping: what is in flight is answered");
                    running.stop().await?;
                    tracing::info!("stopped cleanly");
                    return Ok(());
                }
                Signal::Reload => running.reload_certificates(),
            },
            () = running.failed() => {
                running.stop().await?;
                return Err(RunError::Ended.into());
            }
        }
    }
}

fn run_demo(args: DemoArgs) -> Result<(), LocalError> {
    let options = DemoOptions { data: args.data, keep: args.keep };
    let mut out = io::stdout().lock();
    Ok(actix_web::rt::System::new().block_on(demo::run(options, &mut out))?)
}

pub(super) fn log_to_standard_error() {
    let _ = telemetry::init(
        crate::config::value::LogFormat::Text,
        crate::config::value::LogLevel::Info,
    );
}

/// The verifier keys of all times; beside a process that has the ledger open, those in the key file.
fn vkey(data: &Path, as_json: bool) -> Result<(), LocalError> {
    log_to_standard_error();
    let keys = match open_log(data, OFFLINE_CACHE_BYTES, RECOVERY_COPY_BYTES_MAX, |_| {}) {
        Ok(replayed) => {
            let issuer: Issuer = replayed.directory.marker().issuer.parse()?;
            known_keys(&replayed, &issuer)?
        }
        Err(OpenError::Directory(DirectoryError::InUse { .. })) => {
            tracing::info!(
                "the ledger is in use: `token-ledger keys vkey` asks it for old keys, too"
            );
            keys_beside_a_process(data)?
        }
        Err(error) => return Err(error.into()),
    };
    let lines: Vec<String> = keys.iter().map(ToString::to_string).collect();
    match as_json {
        true => say(&json!({ "vkeys": lines }).to_string()),
        false => say(&lines.join("\n")),
    }
}

fn keys_beside_a_process(data: &Path) -> Result<Vec<NoteVerifier>, LocalError> {
    let (marker, keys) = (data.join("token-ledger.json"), data.join("keys.json"));
    let missing = || DirectoryError::Foreign { path: data.to_owned() };
    let marker = read_if_there(&marker)?.ok_or_else(missing)?;
    let issuer: Issuer = Marker::decode(data, &marker)?.issuer.parse()?;
    let name: KeyName = issuer.origin_name().parse()?;
    let file = zeroize::Zeroizing::new(read_if_there(&keys)?.ok_or_else(missing)?);
    let path = keys.display().to_string();
    let file = KeyFile::decode(&file).map_err(|source| OpenError::Keys { path, source })?;
    let verifier = |seed| NoteSigner::new(name.clone(), seed).verifier().clone();
    Ok(file.checkpoint_seeds().map(verifier).collect())
}

/// The key that signs the checkpoints of a directory.
pub(super) fn checkpoint_signer(directory: &DataDirectory) -> Result<NoteSigner, LocalError> {
    let keys = read_keys(directory)?;
    let issuer: Issuer = directory.marker().issuer.parse()?;
    Ok(NoteSigner::new(issuer.origin_name().parse()?, keys.checkpoint_seed()))
}

impl From<DirectoryError> for LocalError {
    fn from(error: DirectoryError) -> Self {
        Self::Open(error.into())
    }
}
