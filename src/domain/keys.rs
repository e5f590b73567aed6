//! Which key signs and which are published: told by the records of the keys and by the time, and
//! never by what else a process may know. So a restart finds the answer that the process before it
//! had, and an auditor finds it too.

use crate::domain::client::ACCESS_TOKEN_LIFETIME_S_MAX;
use crate::domain::state::{Key, State};
use crate::types::id::KeyId;
use crate::types::time::Timestamp;

/// The purpose of keys that sign tokens and answers about them.
pub const ACCESS_TOKEN_PURPOSE: &str = "access_token";

/// What a signing key is for at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStanding {
    /// Published, so that everybody has it before it is used.
    Published {
        /// When it will sign.
        from: Timestamp,
    },
    /// It signs.
    Signs {
        /// Since when.
        since: Timestamp,
    },
    /// Another one signs in its place.
    Retired {
        /// Since when.
        since: Timestamp,
        /// Until when it is published for what it signed; none as long as the change is not
        /// recorded.
        until: Option<Timestamp>,
    },
    /// It was blacklisted at some time: it signs nothing and is not published, for ever.
    Blacklisted,
}

impl Key {
    /// Whether it was ever blacklisted. A key that somebody else may have had does not come back
    /// when its entry is lifted, as little as what it signed does.
    pub fn is_burnt(&self) -> bool {
        self.ban.is_in_force() || self.ban.covers(self.added)
    }

    /// When it may sign, once it was published for long enough.
    pub fn signs_from(&self, published_before_use_s: u64) -> Timestamp {
        self.added_at.plus_seconds(published_before_use_s)
    }

    /// Until when it is published after it was retired: what it signed has expired by then.
    pub fn kept_until(&self) -> Option<Timestamp> {
        let longest_s = u64::from(ACCESS_TOKEN_LIFETIME_S_MAX);
        self.retired_at.map(|retired_at| retired_at.plus_seconds(longest_s))
    }

    /// Whether a key set shows it at `at`.
    pub fn is_published(&self, at: Timestamp) -> bool {
        self.purpose == ACCESS_TOKEN_PURPOSE
            && !self.is_burnt()
            && self.kept_until().is_none_or(|until| at < until)
    }

    /// What a checkpoint key is for: it signs from its record on until it is retired.
    pub fn standing_of_checkpoint_key(&self) -> KeyStanding {
        match self.retired_at {
            Some(since) => KeyStanding::Retired { since, until: None },
            None => KeyStanding::Signs { since: self.added_at },
        }
    }

    fn may_sign(&self) -> bool {
        self.purpose == ACCESS_TOKEN_PURPOSE && self.retired_at.is_none() && !self.is_burnt()
    }
}

impl State {
    /// The key that signs by `alg` at `at`: the newest one that was published for
    /// `published_before_use_s`. Where there is none, the oldest of those that wait: the first key
    /// of an algorithm has nobody to wait for, and after an emergency the others are retired.
    /// `has_private` says whose private half is at hand.
    pub fn signer(
        &self,
        alg: &str,
        at: Timestamp,
        published_before_use_s: u64,
        has_private: impl Fn(&KeyId) -> bool,
    ) -> Option<&Key> {
        let fit = |key: &&Key| key.alg == alg && key.may_sign() && has_private(&key.id);
        let candidates = || self.keys().filter(fit);
        let published = |key: &&Key| key.signs_from(published_before_use_s) <= at;
        let newest = candidates().filter(published).max_by_key(|key| key.added);
        newest.or_else(|| candidates().min_by_key(|key| key.added))
    }

    /// The key that will sign by `alg` after the one that does: the newest that waits.
    pub fn next_signer(
        &self,
        alg: &str,
        at: Timestamp,
        published_before_use_s: u64,
    ) -> Option<&Key> {
        let waits = |key: &&Key| {
            key.alg == alg && key.may_sign() && at < key.signs_from(published_before_use_s)
        };
        self.keys().filter(waits).max_by_key(|key| key.added)
    }

    /// The keys of `alg` that are not retired though a newer one signs: those older than `signer`.
    pub fn superseded<'a>(&'a self, signer: &'a Key) -> impl Iterator<Item = &'a Key> {
        self.keys().filter(|key| {
            key.purpose == signer.purpose
                && key.alg == signer.alg
                && key.retired_at.is_none()
                && key.added < signer.added
        })
    }

    /// What `key` is for at `at`, where `signer` is the one that signs by its algorithm.
    pub fn standing(
        &self,
        key: &Key,
        signer: Option<&Key>,
        published_before_use_s: u64,
    ) -> KeyStanding {
        let from = key.signs_from(published_before_use_s);
        if key.is_burnt() {
            return KeyStanding::Blacklisted;
        }
        if let Some(since) = key.retired_at {
            return KeyStanding::Retired { since, until: key.kept_until() };
        }
        match signer {
            Some(signer) if signer.id == key.id => {
                // It took over in time, or at once: from a key that was retired early.
                let is_older = |old: &&Key| {
                    (&old.purpose, &old.alg) == (&key.purpose, &key.alg) && old.added < key.added
                };
                let older = self.keys().filter(is_older);
                let retired = older.filter_map(|old| old.retired_at.or(Some(from))).max();
                let since = retired.map_or(key.added_at, |at| at.min(from)).max(key.added_at);
                KeyStanding::Signs { since }
            }
            Some(signer) if key.added < signer.added => {
                let since = signer.signs_from(published_before_use_s);
                KeyStanding::Retired { since, until: None }
            }
            Some(_) | None => KeyStanding::Published { from },
        }
    }
}
