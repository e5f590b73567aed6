//! `token-ledger audit package`: what a court needs, in one directory. Nothing is written that does
//! not verify.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args};
use serde::Deserialize;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::local::LocalError;
use crate::cli::remote::Call;
use crate::cli::remote_error::RemoteError;
use crate::cli::session::{Session, subject_of};
use crate::cli::verify::verifier_keys;
use crate::cli::verify_error::VerifyError;
use crate::entropy::{OsEntropy, bytes};
use crate::evidence::directory::DirectorySource;
use crate::evidence::feed::Unverified;
use crate::evidence::keys::Keys;
use crate::evidence::package::{PACKAGE_BYTES_MAX, PackageError, Proven, write};
use crate::evidence::source::{LogSource, newest_note};
use crate::evidence::url::UrlSource;
use crate::types::id::{ClientId, GrantId, Seq};
use crate::types::time::Timestamp;

/// How often a checkpoint that covers the reading is looked for, and how long in between. One is
/// signed within a second or two of every record.
const CHECKPOINT_TRIES_MAX: u32 = 30;
const CHECKPOINT_PAUSE_MS: u64 = 500;

/// What `audit package` takes.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true)
    .args(["grant", "subject", "subject_stdin", "client", "since"])))]
pub struct PackageArgs {
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// All that happened to a grant
    #[arg(long, value_name = "ID", group = "whose")]
    grant: Option<GrantId>,
    /// All that happened to the person with this `sub`
    #[arg(long, value_name = "SUB", group = "whose")]
    subject: Option<String>,
    /// The same, with the `sub` from standard input
    #[arg(long, group = "whose")]
    subject_stdin: bool,
    /// All that happened to a client
    #[arg(long, value_name = "ID", group = "whose")]
    client: Option<ClientId>,
    /// All that happened from this instant on, like 2026-11-23T04:12:33Z
    #[arg(long, value_name = "TIME", conflicts_with = "whose", requires = "until")]
    since: Option<Timestamp>,
    /// Up to this instant
    #[arg(long, value_name = "TIME", conflicts_with = "whose", requires = "since")]
    until: Option<Timestamp>,
    /// A verifier key of the log, as text or a file of them
    #[arg(long, value_name = "KEY|FILE", required = true)]
    vkey: Vec<String>,
    /// A verifier key of a witness, kept in the package beside them
    #[arg(long, value_name = "KEY|FILE")]
    witness_vkey: Vec<String>,
    /// Take proofs from this directory of tiles instead of the server
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
}

/// Makes a package.
///
/// # Errors
/// [`CliError`]; its hint says what to do. No package is left then.
pub(super) async fn package(
    session: &mut Session<'_, '_>,
    args: &PackageArgs,
) -> Result<(), CliError> {
    let failed = |error: VerifyError| CliError::Local(LocalError::Verify(error));
    let (log, witnesses) = (verifier_keys(&args.vkey), verifier_keys(&args.witness_vkey));
    let keys = Keys::new(log.map_err(failed)?, witnesses.map_err(failed)?);
    let keys = keys.map_err(|error| failed(error.into()))?;
    let nonce: String = bytes::<24>(&OsEntropy).iter().map(|byte| format!("{byte:02x}")).collect();
    let lines = match (args.since, args.until) {
        (Some(since), Some(until)) => span(session, since, until, &nonce).await?,
        (Some(_) | None, _) => trail(session, args, &nonce).await?,
    };
    let prefix = format!("{}/log", session.admin().as_str().trim_end_matches('/'));
    for _ in 0..CHECKPOINT_TRIES_MAX {
        match attempt(args, &prefix, &lines, &keys) {
            Ok(proven) => return told(session, args, &nonce, &proven),
            // The checkpoint that covers the reading is still to be signed.
            Err(VerifyError::Package(PackageError::TooEarly { .. })) if args.tiles.is_none() => {
                tokio::time::sleep(Duration::from_millis(CHECKPOINT_PAUSE_MS)).await;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(attempt(args, &prefix, &lines, &keys).err().unwrap_or(VerifyError::NoCheckpoint)))
}

/// On a thread of its own: a source waits for its answers.
fn attempt(
    args: &PackageArgs,
    prefix: &str,
    lines: &[u8],
    keys: &Keys,
) -> Result<Proven, VerifyError> {
    let made = std::thread::scope(|scope| {
        let making = scope.spawn(|| match &args.tiles {
            Some(tiles) => make(&args.out, lines, &DirectorySource::new(tiles), keys),
            None => make(&args.out, lines, &UrlSource::new(prefix, None)?, keys),
        });
        making.join()
    });
    made.expect("making a package does not panic")
}

fn make(
    out: &Path,
    lines: &[u8],
    source: &dyn LogSource,
    keys: &Keys,
) -> Result<Proven, VerifyError> {
    let note = newest_note(source).map_err(Unverified::from)?;
    Ok(write(out, lines, source, &note, keys)?)
}

fn told(
    session: &mut Session<'_, '_>,
    args: &PackageArgs,
    nonce: &str,
    proven: &Proven,
) -> Result<(), CliError> {
    let (out, size) = (args.out.display(), proven.checkpoint.checkpoint.head.size);
    if session.json {
        let body = json!({ "package": out.to_string(), "records": proven.records, "nonce": nonce,
            "reading": proven.reading.seq, "checkpoint": { "size": size } });
        return session.console.answer(format!("{body}\n").as_bytes());
    }
    let text = format!(
        "{out} holds {} records; the last one is this reading, record {} of {}\n\
         nonce {nonce}\n",
        proven.records, proven.reading.seq, proven.reading.at
    );
    session.console.answer(text.as_bytes())?;
    session.console.note(
        "keep the nonce apart from the package: it shows that this is your reading and no older one",
    );
    Ok(())
}

async fn trail(
    session: &mut Session<'_, '_>,
    args: &PackageArgs,
    nonce: &str,
) -> Result<Vec<u8>, CliError> {
    let call = if let Some(grant) = args.grant {
        Call::get(&["audit", "grants", &grant.to_string(), "trail"])
    } else if let Some(client) = &args.client {
        Call::get(&["audit", "clients", client.as_str(), "trail"])
    } else {
        let from_input = args.subject.is_none();
        let subject = subject_of(session.console, args.subject.as_ref(), from_input)?;
        Call::get(&["audit", "subjects", "trail"]).query("subject", subject)
    };
    let call = call.query("nonce", Some(nonce)).answer_bytes_max(PACKAGE_BYTES_MAX);
    Ok(session.ask(&call).await?.body)
}

/// The records of a time, the neighbours that show that none is missing, and the reading.
async fn span(
    session: &mut Session<'_, '_>,
    since: Timestamp,
    until: Timestamp,
    nonce: &str,
) -> Result<Vec<u8>, CliError> {
    let asked = Call::get(&["audit", "records"]).answer_bytes_max(PACKAGE_BYTES_MAX);
    let mut call = asked.clone().query("since", Some(since)).query("until", Some(until));
    let mut page = session.ask(&call.clone().query("nonce", Some(nonce))).await?;
    let reading = page.as_of_seq.ok_or_else(|| page.unexpected("it names no as-of-seq"))?;
    let mut lines = page.body.clone();
    while let Some(next) = page.next_cursor.clone() {
        call = call.query("cursor", Some(next));
        page = session.ask(&call).await?;
        lines.extend_from_slice(&page.body);
        if PACKAGE_BYTES_MAX < lines.len() {
            return Err(RemoteError::TooLong { bytes_max: PACKAGE_BYTES_MAX }.into());
        }
    }
    let place = |line: Option<&[u8]>| {
        #[derive(Deserialize)]
        struct Place {
            seq: Seq,
        }
        line.and_then(|line| serde_json::from_slice::<Place>(line).ok()).map(|place| place.seq)
    };
    let mut split = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let first = place(split.next());
    let last = place(split.next_back()).or(first);
    let (Some(first), Some(last)) = (first, last) else {
        return Err(page.unexpected("nothing happened in that time").into());
    };
    let mut one = async |seq: Seq| -> Result<Vec<u8>, CliError> {
        let call = asked.clone().query("from", Some(seq)).query("to", Some(seq));
        Ok(session.ask(&call).await?.body)
    };
    if let Some(before) = first.0.checked_sub(1) {
        lines = [one(Seq(before)).await?, lines].concat();
    }
    if last.next() < reading {
        lines.extend_from_slice(&one(last.next()).await?);
    }
    // A time that is not over yet holds the reading already.
    if last < reading {
        lines.extend_from_slice(&one(reading).await?);
    }
    Ok(lines)
}
