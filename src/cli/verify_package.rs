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
        silence(proven.in_time, asked),
        head.size
    );
    if args.nonce.is_none() {
        text.push_str(": compare it with the one you kept, or this may be an older reading");
    }
    text.push_str(&seen(&proven.checkpoint));
    say(&text)
}

/// What is said of a time in which nothing happened: its neighbours follow upon each other. It says
/// nothing where there is no such time.
pub(super) fn silence(in_time: Option<u64>, asked: &Asked) -> &'static str {
    match asked {
        Asked::Span { since: Some(since), until: Some(until) } if until < since => {
            "\nTHERE IS NO SUCH TIME: it ends before it begins, so this proves nothing"
        }
        Asked::Span { .. } if in_time == Some(0) => {
            "\nnothing happened in that time before this reading"
        }
        Asked::Span { .. } | Asked::Trail(_) => "",
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::Timestamp;

    #[test]
    fn nothing_is_said_to_have_happened_in_a_time_only_where_there_is_one() {
        let span = |since, until| {
            let [since, until] = [since, until].map(|at| Some(Timestamp::from_seconds(at)));
            silence(Some(0), &Asked::Span { since, until })
        };
        assert!(span(5, 5).contains("nothing happened"));
        assert!(span(5, 4).contains("THERE IS NO SUCH TIME"), "{}", span(5, 4));
        assert_eq!(silence(Some(1), &Asked::Span { since: None, until: None }), "");
    }
}
