//! What a package is about: what its reading says that was asked, and what somebody expects of it.
//! The two are compared, never mixed: the first is the server's word.

use std::fmt;

use super::error::PackageError;
use crate::audit::trail::Trail;
use crate::domain::event::{AuditRead, Event};
use crate::domain::record::Record;
use crate::types::id::Seq;
use crate::types::time::Timestamp;

/// The record that a package ends with: what was asked, when, and with which nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Its place.
    pub seq: Seq,
    /// When it was asked.
    pub at: Timestamp,
    /// What was asked for.
    pub asked: Asked,
    /// The auditor's nonce.
    pub nonce: String,
}

/// What a package is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// All that happened to one party.
    Trail(Trail),
    /// All that happened in a time.
    Span {
        /// From this instant on; none for the beginning.
        since: Option<Timestamp>,
        /// Up to this instant; none for the reading itself.
        until: Option<Timestamp>,
    },
}

/// What a package must be about, as far as who asks can say it in the words of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All that happened to this party.
    Trail(Trail),
    /// All that happened to one person, whose pseudonym only the server's vault knows.
    Person,
    /// All that happened in a time.
    Span {
        /// From this instant on; none for any.
        since: Option<Timestamp>,
        /// Up to this instant; none for any.
        until: Option<Timestamp>,
    },
}

/// Which reading a package must be. What is not named may be any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// The nonce that was sent.
    pub nonce: Option<String>,
    /// What was asked for.
    pub asked: Option<Wanted>,
}

impl Expected {
    /// Whether `reading` is the one that was asked for.
    ///
    /// # Errors
    /// [`PackageError::Nonce`] and [`PackageError::OtherReading`], saying what it is instead.
    pub fn check(&self, reading: &Reading) -> Result<(), PackageError> {
        if let Some(expected) = self.nonce.as_ref().filter(|nonce| **nonce != reading.nonce) {
            let (found, expected) = (reading.nonce.clone(), expected.clone());
            return Err(PackageError::Nonce { found, expected });
        }
        match self.asked.as_ref().filter(|wanted| !wanted.is_met_by(&reading.asked)) {
            Some(expected) => Err(PackageError::OtherReading {
                found: reading.asked.clone(),
                expected: expected.clone(),
            }),
            None => Ok(()),
        }
    }
}

impl Wanted {
    fn is_met_by(&self, asked: &Asked) -> bool {
        match (self, asked) {
            (Self::Trail(wanted), Asked::Trail(trail)) => wanted == trail,
            (Self::Person, Asked::Trail(trail)) => matches!(trail, Trail::Subject(_)),
            (Self::Span { since, until }, Asked::Span { since: from, until: to }) => {
                (since.is_none() || since == from) && (until.is_none() || until == to)
            }
            (Self::Trail(_) | Self::Person, Asked::Span { .. })
            | (Self::Span { .. }, Asked::Trail(_)) => false,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trail(trail) => show_trail(f, trail),
            Self::Span { since, until } => show_span(f, *since, *until, "its end"),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trail(trail) => show_trail(f, trail),
            Self::Person => f.write_str("a person"),
            Self::Span { since, until } => show_span(f, *since, *until, "any instant"),
        }
    }
}

fn show_trail(f: &mut fmt::Formatter<'_>, trail: &Trail) -> fmt::Result {
    match trail {
        Trail::Grant(id) => write!(f, "the grant {id}"),
        Trail::Subject(id) => write!(f, "the person {id}"),
        Trail::Client(id) => write!(f, "the client {id}"),
    }
}

fn show_span(
    f: &mut fmt::Formatter<'_>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    open: &str,
) -> fmt::Result {
    let shown = |at: Option<Timestamp>| at.map_or_else(|| open.to_owned(), |at| at.to_string());
    write!(f, "the time from {} to {}", shown(since), shown(until))
}

/// What `record`, the last one of a package, says that was asked.
///
/// # Errors
/// [`PackageError::NoReading`] and [`PackageError::Vague`]: it is no reading that could be judged.
pub(super) fn reading(record: &Record) -> Result<Reading, PackageError> {
    let Event::AuditRead(AuditRead { what, parameters }) = &record.event else {
        return Err(PackageError::NoReading);
    };
    let text = |name: &str| parameters.get(name).and_then(|value| value.as_str());
    let nonce = text("nonce").ok_or(PackageError::NoReading)?.to_owned();
    let about = &record.about;
    let instant = |name: &str| match text(name).map(str::parse::<Timestamp>) {
        Some(Ok(at)) => Ok(Some(at)),
        Some(Err(_)) => Err(PackageError::Vague),
        None => Ok(None),
    };
    let narrowed = ["from", "to", "type"].iter().any(|name| parameters.contains_key(*name));
    let asked = match (what.as_str(), about.grant, about.subject, about.client.clone()) {
        ("trail", Some(grant), None, None) => Asked::Trail(Trail::Grant(grant)),
        ("trail", None, Some(subject), None) => Asked::Trail(Trail::Subject(subject)),
        ("trail", None, None, Some(client)) => Asked::Trail(Trail::Client(client)),
        ("records", None, None, None) if !narrowed => {
            Asked::Span { since: instant("since")?, until: instant("until")? }
        }
        _ => return Err(PackageError::Vague),
    };
    Ok(Reading { seq: record.seq, at: record.at, asked, nonce })
}
