//! Introspection answers that may be used again for a short while. It keeps digests instead of
//! tokens, never outlives `exp` (RFC 7662 section 4), and never grows beyond its limit.

use std::collections::{BTreeSet, HashMap};

use crate::types::digest::Digest;
use crate::types::time::Timestamp;

use super::access::Access;

const DIGEST_CONTEXT: &str = "token-ledger 2026 guard introspection cache v1";

/// Answers by the digest of their token, and in the order in which they lapse.
pub(super) struct Cache {
    age_s_max: u32,
    entries_max: usize,
    by_token: HashMap<Digest, Entry>,
    by_lapse: BTreeSet<(Timestamp, Digest)>,
}

struct Entry {
    access: Access,
    asked_at: Timestamp,
    lapses_at: Timestamp,
}

impl Cache {
    pub(super) fn new(age_s_max: u32, entries_max: usize) -> Self {
        let (by_token, by_lapse) = (HashMap::new(), BTreeSet::new());
        Self { age_s_max, entries_max, by_token, by_lapse }
    }

    /// The answer about `token`, if it may still be used.
    pub(super) fn recall(&self, token: &str, now: Timestamp) -> Option<Access> {
        let entry = self.by_token.get(&digest(token))?;
        // Not before it was asked either: a clock that was set back must not lengthen its life.
        (entry.asked_at <= now && now < entry.lapses_at).then(|| entry.access.clone())
    }

    /// Keeps the answer to a question of `asked_at`; what lapses first makes room.
    pub(super) fn keep(&mut self, token: &str, access: Access, asked_at: Timestamp) {
        let lapses_at = asked_at.plus_seconds(u64::from(self.age_s_max)).min(access.expires_at());
        let token = digest(token);
        if let Some(entry) = self.by_token.remove(&token) {
            self.by_lapse.remove(&(entry.lapses_at, token));
        }
        while self.entries_max <= self.by_token.len() {
            let Some((_, first)) = self.by_lapse.pop_first() else { return };
            self.by_token.remove(&first);
        }
        self.by_lapse.insert((lapses_at, token));
        self.by_token.insert(token, Entry { access, asked_at, lapses_at });
    }
}

fn digest(token: &str) -> Digest {
    Digest::from_bytes(blake3::derive_key(DIGEST_CONTEXT, token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::access::Facts;

    fn access(expires_at: u64) -> Access {
        Access::new(Facts {
            subject: None,
            client_id: None,
            scope: "".parse().expect("a scope"),
            jti: None,
            expires_at: Timestamp::from_seconds(expires_at),
        })
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn an_answer_lapses_with_its_age_or_its_token() {
        let mut cache = Cache::new(60, 8);
        cache.keep("long", access(1_000), at(100));
        cache.keep("short", access(130), at(100));
        assert!(cache.recall("long", at(159)).is_some());
        assert!(cache.recall("long", at(160)).is_none());
        assert!(cache.recall("short", at(129)).is_some());
        assert!(cache.recall("short", at(130)).is_none());
        assert!(cache.recall("long", at(99)).is_none());
        assert!(cache.recall("other", at(100)).is_none());
    }

    #[test]
    fn what_lapses_first_makes_room() {
        let mut cache = Cache::new(60, 2);
        cache.keep("a", access(1_000), at(100));
        cache.keep("b", access(1_000), at(101));
        cache.keep("a", access(1_000), at(102));
        cache.keep("c", access(1_000), at(103));
        assert!(cache.recall("b", at(104)).is_none());
        assert!(cache.recall("a", at(104)).is_some());
        assert!(cache.recall("c", at(104)).is_some());
        assert_eq!((cache.by_token.len(), cache.by_lapse.len()), (2, 2));
    }
}
