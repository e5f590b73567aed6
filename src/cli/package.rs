//! `token-ledger audit package`: what a court needs, in one directory. Nothing is written that does
//! not verify.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use serde::Deserialize;
use serde_json::json;

use crate::audit::trail::Trail;
use crate::cli::error::CliError;
use crate::cli::local::LocalError;
use crate::cli::remote::Call;
use crate::cli::remote_error::RemoteError;
use crate::cli::session::{Session, subject_of};
use crate::cli::verify::{newest_of, verifier_keys};
use crate::cli::verify_error::VerifyError;
use crate::cli::verify_package::{asked_as_json, silence};
use crate::entropy::{OsEntropy, bytes};
use crate::evidence::directory::DirectorySource;
use crate::evidence::keys::{Keys, Untrusted};
use crate::evidence::package::asked::{Asked, Expected, Reading, Wanted};
use crate::evidence::package::error::PackageError;
use crate::evidence::package::{PACKAGE_BYTES_MAX, Proven, write};
use crate::evidence::source::LogSource;
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
    /// A verifier key of a witness that must have cosigned, kept in the package beside them
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
    let expected = Expected { nonce: Some(nonce.clone()), asked: Some(wanted(args)) };
    let attempt = |prefix: &str| attempt(args, prefix, &lines, &keys, &expected);
    let prefix = format!("{}/log", session.admin().as_str().trim_end_matches('/'));
    for _ in 0..CHECKPOINT_TRIES_MAX {
        match attempt(&prefix) {
            Ok(proven) => return told(session, args, &proven),
            // The checkpoint that covers the reading is still to be signed, or cosigned.
            Err(VerifyError::Package(
                PackageError::TooEarly { .. }
                | PackageError::Untrusted(Untrusted::NotWitnessed { .. }),
            )) if args.tiles.is_none() => {
                tokio::time::sleep(Duration::from_millis(CHECKPOINT_PAUSE_MS)).await;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(attempt(&prefix).err().unwrap_or(VerifyError::NoCheckpoint)))
}

/// What the reading must say that was asked. Who a person is in the log, only the server can say.
fn wanted(args: &PackageArgs) -> Wanted {
    if let Some(grant) = args.grant {
        return Wanted::Trail(Trail::Grant(grant));
    }
    if let Some(client) = &args.client {
        return Wanted::Trail(Trail::Client(client.clone()));
    }
    match (args.since, args.until) {
        (None, None) => Wanted::Person,
        (since, until) => Wanted::Span { since, until },
    }
}

/// On a thread of its own: a source waits for its answers.
fn attempt(
    args: &PackageArgs,
    prefix: &str,
    lines: &[u8],
    keys: &Keys,
    expected: &Expected,
) -> Result<Proven, VerifyError> {
    let make = |source: &dyn LogSource| {
        let note = newest_of(source)?;
        Ok(write(&args.out, lines, source, &note, keys, expected)?)
    };
    let made = std::thread::scope(|scope| {
        let making = scope.spawn(|| match &args.tiles {
            Some(tiles) => make(&DirectorySource::new(tiles)),
            None => make(&UrlSource::new(prefix, None)?),
        });
        making.join()
    });
    made.expect("making a package does not panic")
}

fn told(
    session: &mut Session<'_, '_>,
    args: &PackageArgs,
    proven: &Proven,
) -> Result<(), CliError> {
    let (out, size) = (args.out.display(), proven.checkpoint.checkpoint.head.size);
    let Reading { seq, at, asked, nonce } = &proven.reading;
    if session.json {
        let body = json!({ "package": out.to_string(), "records": proven.records,
            "in_time": proven.in_time, "asked": asked_as_json(asked), "nonce": nonce,
            "reading": seq, "checkpoint": { "size": size } });
        return session.console.answer(format!("{body}\n").as_bytes());
    }
    let text = format!(
        "{out} holds {} records of {asked}; the last one is this reading, record {seq} of {at}{}\n\
         nonce {nonce}\n",
        proven.records,
        silence(proven.in_time, asked)
    );
    session.console.answer(text.as_bytes())?;
    if let Asked::Trail(Trail::Subject(id)) = asked {
        session.console.note(&format!(
            "{id} is the person that you asked about by the server's word alone: the log does not \
             say who that is"
        ));
    }
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
    // The neighbours: the record before the first of that time, and the one after the last.
    let (before, after) = match (first, last) {
        (Some(first), Some(last)) => (first.0.checked_sub(1).map(Seq), last.next()),
        // Nothing happened then, and they follow upon each other.
        (None, _) | (_, None) => {
            let next = asked.clone().query("since", Some(since)).query("to", Some(reading));
            let next = session.ask(&next.query("limit", Some(1))).await?.body;
            let after = place(next.split(|byte| *byte == b'\n').next()).unwrap_or(reading);
            (after.0.checked_sub(1).map(Seq), after)
        }
    };
    let mut one = async |seq: Seq| -> Result<Vec<u8>, CliError> {
        let call = asked.clone().query("from", Some(seq)).query("to", Some(seq));
        Ok(session.ask(&call).await?.body)
    };
    if let Some(before) = before {
        lines = [one(before).await?, lines].concat();
    }
    if after < reading {
        lines.extend_from_slice(&one(after).await?);
    }
    // A time that is not over yet holds the reading already.
    if last.is_none_or(|last| last < reading) {
        lines.extend_from_slice(&one(reading).await?);
    }
    Ok(lines)
}
