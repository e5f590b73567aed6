//! `token-ledger verify --package`: what a package proves, and whose it is.

use std::path::Path;

use serde_json::{Value, json};

use crate::audit::trail::Trail;
use crate::cli::arguments::{OfArgs, VerifyArgs};
use crate::cli::local::{LocalError, say};
use crate::cli::verify::{cosignatures, seen};
use crate::cli::verify_error::VerifyError;
use crate::evidence::keys::Keys;
use crate::evidence::package;
use crate::evidence::package::asked::{Asked, Expected, Reading, Wanted};
use crate::log::checkpoint::Checkpoint;

/// Judges the package in `path`, and says what it is of.
pub(super) fn verify_package(
    args: &VerifyArgs,
    keys: &Keys,
    path: &Path,
) -> Result<(), LocalError> {
    let expected = Expected { nonce: args.nonce.clone(), asked: wanted(&args.of) };
    let proven = package::verify(path, keys, &expected).map_err(VerifyError::from)?;
    let Checkpoint { origin, head } = &proven.checkpoint.checkpoint;
    let Reading { seq, at, asked, nonce } = &proven.reading;
    if args.json {
        let body = json!({ "whole": true, "origin": origin.as_str(), "records": proven.records,
            "in_time": proven.in_time,
            "reading": { "seq": seq, "at": at, "asked": asked_as_json(asked),
                "asked_checked": expected.asked.is_some(), "nonce": nonce,
                "nonce_checked": expected.nonce.is_some() },
            "checkpoint": { "size": head.size, "root": head.root_text(), "at": proven.checkpoint.at },
            "cosignatures": cosignatures(&proven.checkpoint.cosignatures) });
        return say(&body.to_string());
    }
    let neighbours = match asked {
        Asked::Trail(_) => "",
        Asked::Span { .. } => ", with their neighbours",
    };
    let mut text = format!(
        "{} holds all records of {asked}{neighbours} up to record {seq} of {at}: {} of them, the \
         reading included{}\nsigned by {origin} over {} records\nnonce {nonce}",
        path.display(),
        proven.records,
        silence(proven.in_time),
        head.size
    );
    if args.nonce.is_none() {
        text.push_str(": compare it with the one you kept, or this may be an older reading");
    }
    text.push_str(&seen(&proven.checkpoint));
    say(&text)
}

/// What is said of a time in which nothing happened: its neighbours follow upon each other.
pub(super) fn silence(in_time: Option<u64>) -> &'static str {
    if in_time == Some(0) { "\nnothing happened in that time before this reading" } else { "" }
}

/// What was asked for, by the server's word, as JSON.
pub(super) fn asked_as_json(asked: &Asked) -> Value {
    match asked {
        Asked::Trail(Trail::Grant(id)) => json!({ "grant": id }),
        Asked::Trail(Trail::Subject(id)) => json!({ "subject": id }),
        Asked::Trail(Trail::Client(id)) => json!({ "client": id }),
        Asked::Span { since, until } => json!({ "since": since, "until": until }),
    }
}

/// Whose records the package must hold; none where nothing was said.
fn wanted(of: &OfArgs) -> Option<Wanted> {
    let trail = of.grant.map(Trail::Grant);
    let trail = trail.or(of.subject.map(Trail::Subject));
    let trail = trail.or_else(|| of.client.clone().map(Trail::Client));
    let is_span = of.since.is_some() || of.until.is_some();
    let span = is_span.then_some(Wanted::Span { since: of.since, until: of.until });
    trail.map(Wanted::Trail).or(span)
}
