//! The assertions by which clients have proven themselves: none proves anything twice while it
//! could still be accepted (RFC 7523 section 3, item 7). Kept by digest until then, no longer.

use std::collections::BTreeMap;

use crate::domain::decide::{Decision, Fact, about_client};
use crate::domain::event::ClientAssertionUsed;
use crate::domain::refusal::Refusal;
use crate::domain::table::{Keyed, Table};
use crate::domain::view::View;
use crate::types::digest::{Digest, ShortDigest};
use crate::types::id::ClientId;
use crate::types::time::Timestamp;

/// The greatest difference of clocks, in seconds, that any configuration allows for: an assertion
/// is kept for this long after its `exp`, so that no change of the configuration revives it.
pub const ASSERTION_LEEWAY_S_MAX: u64 = 60;
/// Lapsed assertions dropped per record: more than a record can add, so that the backlog shrinks.
const LAPSED_PER_RECORD_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Used {
    pub(super) digest: ShortDigest,
    pub(super) expires_at: Timestamp,
}

impl Keyed for Used {
    fn key(&self) -> &[u8; 16] {
        self.digest.as_bytes()
    }
}

/// The instant from which on an assertion is refused for its age alone.
fn lapses_at(expires_at: Timestamp) -> Timestamp {
    expires_at.plus_seconds(ASSERTION_LEEWAY_S_MAX)
}

/// What is kept of used assertions.
#[derive(Debug)]
pub(super) struct Assertions {
    used: Table<Used>,
    /// By the second in which they lapse.
    lapsing: BTreeMap<u64, Vec<ShortDigest>>,
}

impl Assertions {
    pub(super) fn with_shards(shards: usize) -> Self {
        Self { used: Table::with_shards(shards), lapsing: BTreeMap::new() }
    }

    pub(super) fn keep(&mut self, data: &ClientAssertionUsed) {
        self.keep_digest(data.digest.short(), data.expires_at);
    }

    pub(super) fn keep_digest(&mut self, digest: ShortDigest, expires_at: Timestamp) {
        // One that has lapsed may be used again before it is dropped.
        let before = self.used.find(digest.as_bytes()).map(|used| lapses_at(used.expires_at));
        if let Some(bucket) = before.and_then(|at| self.lapsing.get_mut(&at.seconds())) {
            bucket.retain(|lapsed| *lapsed != digest);
        }
        self.used.insert(Used { digest, expires_at });
        self.lapsing.entry(lapses_at(expires_at).seconds()).or_default().push(digest);
    }

    /// Drops some of those that lapsed before `at`: driven by the records, so that every replay
    /// drops the same ones at the same place.
    pub(super) fn forget_lapsed(&mut self, at: Timestamp) {
        for _ in 0..LAPSED_PER_RECORD_MAX {
            let Some(mut bucket) = self.lapsing.first_entry() else { return };
            if at.seconds() <= *bucket.key() {
                return;
            }
            let lapsed = bucket.get_mut().pop();
            if bucket.get().is_empty() {
                bucket.remove();
            }
            if let Some(digest) = lapsed {
                self.used.remove(digest.as_bytes());
            }
        }
    }

    /// All that are kept, in no order that may be observed.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Used> {
        self.used.iter()
    }

    pub(super) fn clear(&mut self) {
        self.used.clear();
        self.lapsing.clear();
    }

    /// Whether it is kept and has not lapsed at `at`.
    pub(super) fn contains(&self, digest: &Digest, at: Timestamp) -> bool {
        let used = self.used.find(digest.short().as_bytes());
        used.is_some_and(|used| at < lapses_at(used.expires_at))
    }

    /// How many have not lapsed at `at`. Those that have may be kept a little longer, but no
    /// decision may depend on for how long.
    pub(super) fn count(&self, at: Timestamp) -> usize {
        let lapsed: usize = self.lapsing.range(..at.seconds()).map(|(_, all)| all.len()).sum();
        self.used.len().saturating_sub(lapsed)
    }

    /// One line for each that has not lapsed, in no order that may be observed.
    pub(super) fn canonical(&self, at: Timestamp) -> impl Iterator<Item = String> {
        let kept = self.used.iter().filter(move |used| at < lapses_at(used.expires_at));
        kept.map(|used| format!("assertion {:?} {}", used.digest, used.expires_at))
    }
}

/// An assertion that the edge found to be its client's, in its time, and meant for this server.
pub(super) fn use_assertion(
    view: &View<'_>,
    at: Timestamp,
    client: &ClientId,
    (digest, expires_at): (Digest, Timestamp),
    kept_max: usize,
) -> Decision {
    if view.client(client).is_none() {
        return Decision::refused(Refusal::UnknownClient);
    }
    // One that has lapsed since the edge looked is not known any more, so it may have been used.
    if lapses_at(expires_at) <= at || view.is_assertion_used(&digest, at) {
        return Decision::refused(Refusal::AssertionUsed);
    }
    // Never accepted without being remembered.
    if kept_max <= view.assertions(at) {
        return Decision::refused(Refusal::AssertionsFull);
    }
    let event = ClientAssertionUsed { digest, expires_at };
    Decision::done(vec![Fact::new(&about_client(client), event)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_has_lapsed_may_be_used_again_before_and_after_it_is_dropped() {
        let (s, digest) = (Timestamp::from_seconds, Digest::from_bytes([7; 32]));
        let mut used = Assertions::with_shards(1);
        used.keep_digest(digest.short(), s(100));
        assert!(used.contains(&digest, s(159)));
        assert!(!used.contains(&digest, s(160)), "lapsed, though it is kept");
        used.keep_digest(digest.short(), s(200));
        assert_eq!(used.count(s(161)), 1);
        // The second in which the first one lapsed is over: the second one is not dropped with it.
        used.forget_lapsed(s(170));
        assert!(used.contains(&digest, s(170)));
        used.forget_lapsed(s(261));
        assert_eq!((used.iter().count(), used.lapsing.len()), (0, 0));
    }
}
