//! Filtered records, a page at a time, as the exact bytes of the log.

use crate::domain::record::Record;
use crate::ledger::replay::{Broken, LogError};
use crate::log::store::{Store, records_from};
use crate::types::digest::Digest;
use crate::types::id::{ClientId, GrantId, Seq, SubjectId};
use crate::types::time::Timestamp;

/// Which records are asked for; what is absent does not narrow.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The first position.
    pub from: Option<Seq>,
    /// The last position.
    pub to: Option<Seq>,
    /// Not before this instant.
    pub since: Option<Timestamp>,
    /// Not after this instant.
    pub until: Option<Timestamp>,
    /// The event's name on disk.
    pub kind: Option<String>,
    /// The client's trail.
    pub client: Option<ClientId>,
    /// The resource owner's trail.
    pub subject: Option<SubjectId>,
    /// The grant's trail.
    pub grant: Option<GrantId>,
}

impl Filter {
    /// Whether `record` is asked for.
    pub fn matches(&self, record: &Record) -> bool {
        fn is<T: PartialEq>(asked: Option<&T>, has: Option<&T>) -> bool {
            asked.is_none_or(|asked| has == Some(asked))
        }
        self.from.is_none_or(|from| from <= record.seq)
            && self.to.is_none_or(|to| record.seq <= to)
            && self.since.is_none_or(|since| since <= record.at)
            && self.until.is_none_or(|until| record.at <= until)
            && self.kind.as_deref().is_none_or(|kind| kind == record.event.kind())
            && is(self.client.as_ref(), record.about.client.as_ref())
            && is(self.subject.as_ref(), record.about.subject.as_ref())
            && is(self.grant.as_ref(), record.about.grant.as_ref())
    }

    /// Whether no later record can be asked for.
    fn ends_before(&self, record: &Record) -> bool {
        self.to.is_some_and(|to| to < record.seq)
            || self.until.is_some_and(|until| until < record.at)
    }
}

/// A page of records.
#[derive(Debug, Default)]
pub struct Page {
    /// The exact bytes of each.
    pub records: Vec<Vec<u8>>,
    /// Where the next page starts; none after the last.
    pub next: Option<Seq>,
}

/// How many records one page looks at, whatever it finds: a rare type in a long log comes in
/// several short pages rather than in one that never ends.
const LOOKED_AT_MAX: u64 = 1_000_000;

/// The records that `filter` asks for, `limit` at most, up to `end` (exclusive).
///
/// # Errors
/// [`LogError`] naming the record that cannot be read.
pub fn page(store: &dyn Store, filter: &Filter, limit: usize, end: Seq) -> Result<Page, LogError> {
    let from = filter.from.unwrap_or(Seq(0));
    let from = match filter.since {
        Some(since) => from.max(first_at_or_after(store, since, end)?),
        None => from,
    };
    let mut page = Page::default();
    for block in records_from(store, from) {
        for (seq, bytes) in block?.iter() {
            if seq < from {
                continue;
            }
            if end <= seq {
                return Ok(page);
            }
            if limit <= page.records.len() || LOOKED_AT_MAX <= seq.0 - from.0 {
                page.next = Some(seq);
                return Ok(page);
            }
            let record = decode(seq, bytes)?;
            if filter.ends_before(&record) {
                return Ok(page);
            }
            if filter.matches(&record) {
                page.records.push(bytes.to_vec());
            }
        }
    }
    Ok(page)
}

/// The first record at or after an instant: times never decrease, so halving finds it.
///
/// # Errors
/// [`LogError`] naming the record that cannot be read.
pub fn first_at_or_after(store: &dyn Store, at: Timestamp, end: Seq) -> Result<Seq, LogError> {
    let (mut low, mut high) = (0, end.0);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = crate::ledger::replay::record_of(store, Seq(middle))?;
        match found {
            Some(verified) if verified.record.at < at => low = middle + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(Seq(low))
}

/// The record that `bytes` at `seq` hold.
///
/// # Errors
/// [`LogError::Broken`] when they hold none.
pub fn decode(seq: Seq, bytes: &[u8]) -> Result<Record, LogError> {
    Record::decode(bytes).map_err(|what| LogError::Broken { seq, what: Broken::from(what) })
}

/// The first record that holds `digest`, searched from the start of the log: for a token that
/// names no grant. Costs a pass over the log.
///
/// # Errors
/// [`LogError`] naming the record that cannot be read.
pub fn first_with_digest(
    store: &dyn Store,
    digest: &Digest,
    end: Seq,
) -> Result<Option<Record>, LogError> {
    let needle = digest.to_string();
    let needle = needle.as_bytes();
    for block in records_from(store, Seq(0)) {
        for (seq, bytes) in block?.iter() {
            if end <= seq {
                return Ok(None);
            }
            if bytes.windows(needle.len()).any(|window| window == needle) {
                return decode(seq, bytes).map(Some);
            }
        }
    }
    Ok(None)
}
