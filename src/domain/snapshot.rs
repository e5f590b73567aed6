//! The projection as bytes, and back: so that a start need not fold the whole log. Sections of
//! bounded length, each of one kind; what is few as JSON, the long tables in fixed width and in
//! the order of their places, so that all links hold. Pure, and never trusted by itself: who reads
//! one checks its bytes, and that the log has the record that it ends at.
//!
//! Whatever changes here, or in what is written, raises [`FORMAT`]: a snapshot in another format is
//! not read but made anew from the log.

mod bytes;
mod entries;

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::party::{Ban, Client};
use crate::domain::pauses::Pauses;
use crate::domain::snapshot::bytes::{Ended, Put, Take};
use crate::domain::snapshot::entries::{
    put_grant, put_subject, put_token, take_grant, take_subject, take_token,
};
use crate::domain::state::{Entry, Head, Key, State};
use crate::domain::table::{Keyed, Table};
use crate::domain::terms::{Cover, Terms};
use crate::types::digest::ShortDigest;

/// The format that this version writes and reads.
pub const FORMAT: u32 = 2;

/// The longest section, in bytes: a bound for who reads one.
pub const SECTION_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Entries of a table in one section.
const ENTRIES_MAX: usize = 4096;
/// Values in one section of JSON.
const VALUES_MAX: usize = 256;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Summary = 1,
    Clients,
    Blacklist,
    Keys,
    Control,
    Terms,
    Covers,
    Subjects,
    Grants,
    Tokens,
    Assertions,
}

/// A part of a snapshot: what it holds, and its bytes.
pub type Section = (u8, Vec<u8>);

/// Why sections are not a projection of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAProjection {
    /// A kind that this version does not write.
    #[error("section {0} is of no kind that this version knows")]
    Kind(u8),
    /// Not as this version writes it.
    #[error("a section of kind {0} is not as this version writes it")]
    Malformed(u8),
    /// There is no summary, or fewer entries than it says.
    #[error("it is not complete")]
    Incomplete,
}

/// What the other sections add up to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Summary {
    head: Option<Head>,
    issuer: String,
    everything: Ban,
    pauses: Pauses,
    subjects: usize,
    grants: usize,
    tokens: usize,
}

/// The values that entries name by number instead of holding each its own.
struct Numbers<'a, T> {
    values: Vec<&'a Arc<T>>,
    of: HashMap<*const T, u32>,
}

impl<'a, T> Numbers<'a, T> {
    fn new(all: impl Iterator<Item = &'a Arc<T>>) -> Self {
        let mut numbers = Self { values: Vec::new(), of: HashMap::new() };
        for value in all {
            let next = u32::try_from(numbers.values.len()).expect("no more than there are entries");
            numbers.of.entry(Arc::as_ptr(value)).or_insert_with(|| {
                numbers.values.push(value);
                next
            });
        }
        numbers
    }

    fn of(&self, value: &Arc<T>) -> u32 {
        self.of.get(&Arc::as_ptr(value)).copied().expect("all of them were numbered")
    }
}

impl State {
    /// The projection as sections, in the order in which [`Restoring`] takes them.
    pub fn sections(&self) -> impl Iterator<Item = Section> + '_ {
        // Named one by one: who adds a field decides here what becomes of it, and raises the format.
        let Self {
            head,
            clients,
            subjects,
            grants,
            tokens,
            blacklist,
            keys,
            everything,
            control,
            expiring: _, // follows from the tokens
            assertions,
            terms: _,  // follow from the grants
            covers: _, // follow from the tokens
            issuer,
            pauses,
        } = self;
        let summary = Summary {
            head: *head,
            issuer: issuer.clone(),
            everything: *everything,
            pauses: pauses.clone(),
            subjects: subjects.places().count(),
            grants: grants.places().count(),
            tokens: tokens.places().count(),
        };
        let mut by_id: Vec<&Client> = clients.values().collect();
        by_id.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let terms = Numbers::new(grants.iter().map(|entry| &entry.grant.terms));
        let covers = Numbers::new(tokens.iter().map(|token| &token.cover));
        let control: Vec<u64> = control.iter().map(|seq| seq.0).collect();
        let used = assertions.iter().map(Some);
        let few = json(Kind::Summary, &[summary])
            .into_iter()
            .chain(json(Kind::Clients, &by_id))
            .chain(json(Kind::Blacklist, &blacklist.values().collect::<Vec<_>>()))
            .chain(json(Kind::Keys, &keys.values().collect::<Vec<_>>()))
            .chain(json(Kind::Terms, &terms.values))
            .chain(json(Kind::Covers, &covers.values))
            .chain(binary(Kind::Control, control.into_iter().map(Some), |to, seq| to.u64(seq)));
        few.chain(binary(Kind::Subjects, subjects.places(), put_subject))
            .chain(binary(Kind::Grants, grants.places(), move |to, entry| {
                put_grant(to, entry, terms.of(&entry.grant.terms));
            }))
            .chain(binary(Kind::Tokens, tokens.places(), move |to, token| {
                put_token(to, token, covers.of(&token.cover));
            }))
            .chain(binary(Kind::Assertions, used, |to, used| {
                to.array(used.digest.as_bytes());
                to.at(used.expires_at);
            }))
    }
}

fn json<T: Serialize>(kind: Kind, values: &[T]) -> Vec<Section> {
    let section = |part: &[T]| serde_json::to_vec(part).expect("all keys in it are text");
    values.chunks(VALUES_MAX).map(|part| (kind as u8, section(part))).collect()
}

/// Sections of entries, each with a mark whether there is one at its place.
fn binary<'a, T: 'a>(
    kind: Kind,
    entries: impl Iterator<Item = Option<T>> + 'a,
    put: impl Fn(&mut Put, T) + 'a,
) -> impl Iterator<Item = Section> + 'a {
    let mut entries = entries.peekable();
    std::iter::from_fn(move || {
        entries.peek()?;
        let mut bytes = Put::default();
        for entry in entries.by_ref().take(ENTRIES_MAX) {
            bytes.option(entry, &put);
        }
        Some((kind as u8, bytes.0))
    })
}

/// A projection that is put together again, section by section.
#[derive(Debug, Default)]
pub struct Restoring {
    state: State,
    terms: Vec<Arc<Terms>>,
    covers: Vec<Arc<Cover>>,
    summary: Option<Summary>,
}

impl Restoring {
    /// Takes the next section, in the order in which they were given out.
    ///
    /// # Errors
    /// [`NotAProjection`]: what was put together so far is of no use.
    pub fn take(&mut self, kind: u8, bytes: &[u8]) -> Result<(), NotAProjection> {
        self.section(kind, bytes).unwrap_or(Err(NotAProjection::Malformed(kind)))
    }

    fn section(&mut self, kind: u8, bytes: &[u8]) -> Result<Result<(), NotAProjection>, Ended> {
        let state = &mut self.state;
        match kind {
            k if k == Kind::Summary as u8 => {
                let summary: Summary = values(bytes)?.pop().ok_or(Ended)?;
                state.head = summary.head;
                state.issuer.clone_from(&summary.issuer);
                state.everything = summary.everything;
                state.pauses.clone_from(&summary.pauses);
                state.subjects.reserve(summary.subjects);
                state.grants.reserve(summary.grants);
                state.tokens.reserve(summary.tokens);
                self.summary = Some(summary);
            }
            k if k == Kind::Clients as u8 => {
                let clients = values::<Client>(bytes)?.into_iter();
                state.clients.extend(clients.map(|client| (client.id.clone(), client)));
            }
            k if k == Kind::Blacklist as u8 => {
                let entries = values::<Entry>(bytes)?.into_iter();
                state.blacklist.extend(entries.map(|entry| (entry.id, entry)));
            }
            k if k == Kind::Keys as u8 => {
                let keys = values::<Key>(bytes)?.into_iter();
                state.keys.extend(keys.map(|key| (key.id.clone(), key)));
            }
            k if k == Kind::Control as u8 => each(bytes, |from| {
                state.control.push(from.ok_or(Ended)?.seq()?);
                Ok(())
            })?,
            k if k == Kind::Terms as u8 => {
                let terms = values::<Terms>(bytes)?.into_iter();
                self.terms.extend(terms.map(|terms| state.terms.share(terms)));
            }
            k if k == Kind::Covers as u8 => {
                let covers = values::<Cover>(bytes)?.into_iter();
                self.covers.extend(covers.map(|cover| state.covers.share(cover)));
            }
            k if k == Kind::Subjects as u8 => push(&mut state.subjects, bytes, take_subject)?,
            k if k == Kind::Grants as u8 => {
                let terms = &self.terms;
                push(&mut state.grants, bytes, |from| take_grant(from, terms))?;
            }
            k if k == Kind::Tokens as u8 => {
                let covers = &self.covers;
                push(&mut state.tokens, bytes, |from| take_token(from, covers))?;
            }
            k if k == Kind::Assertions as u8 => each(bytes, |from| {
                let from = from.ok_or(Ended)?;
                let digest = ShortDigest::from_bytes(from.array()?);
                state.assertions.keep_digest(digest, from.at()?);
                Ok(())
            })?,
            _ => return Ok(Err(NotAProjection::Kind(kind))),
        }
        Ok(Ok(()))
    }

    /// The projection, once all sections were taken.
    ///
    /// # Errors
    /// [`NotAProjection::Incomplete`].
    pub fn finish(self) -> Result<State, NotAProjection> {
        let Self { mut state, summary, .. } = self;
        let summary = summary.ok_or(NotAProjection::Incomplete)?;
        let found = [
            state.subjects.places().count(),
            state.grants.places().count(),
            state.tokens.places().count(),
        ];
        if found != [summary.subjects, summary.grants, summary.tokens] {
            return Err(NotAProjection::Incomplete);
        }
        state.expect_expiries();
        Ok(state)
    }
}

fn values<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, Ended> {
    serde_json::from_slice(bytes).map_err(|_| Ended)
}

/// Gives each entry of a section, or the mark that there is none, to `take`.
fn each(
    bytes: &[u8],
    mut take: impl FnMut(Option<&mut Take<'_>>) -> Result<(), Ended>,
) -> Result<(), Ended> {
    let mut from = Take(bytes);
    while !from.is_empty() {
        match from.u8()? {
            0 => take(None)?,
            1 => take(Some(&mut from))?,
            _ => return Err(Ended),
        }
    }
    Ok(())
}

fn push<V: Keyed>(
    table: &mut Table<V>,
    bytes: &[u8],
    take: impl Fn(&mut Take<'_>) -> Result<V, Ended>,
) -> Result<(), Ended> {
    each(bytes, |from| {
        table.push(from.map(&take).transpose()?);
        Ok(())
    })
}
