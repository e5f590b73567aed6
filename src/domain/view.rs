//! What a decision sees: the projection, and over it what earlier commands of the same batch did.

use std::collections::BTreeSet;

use crate::domain::event::{Event, RefreshRefusal, Target};
use crate::domain::grant::Grant;
use crate::domain::lookup::blocked;
use crate::domain::party::{Ban, Client, Subject};
use crate::domain::pauses::Pauses;
use crate::domain::record::{About, Back, Record};
use crate::domain::state::{Entry, Key, State};
use crate::domain::tokens::Token;
use crate::types::digest::{Digest, LeafHash, ShortDigest};
use crate::types::id::{BlacklistId, ClientId, GrantId, KeyId, Seq, SubjectId};
use crate::types::time::Timestamp;

/// The projection as it will be once the batch is durable. Where the overlay knows an entry it is
/// newer; everything else is in the base.
#[derive(Clone, Copy)]
pub struct View<'a> {
    base: &'a State,
    top: &'a State,
    /// Access tokens of the base that died in this batch.
    gone: &'a BTreeSet<ShortDigest>,
}

static NONE_GONE: BTreeSet<ShortDigest> = BTreeSet::new();

impl<'a> View<'a> {
    /// The projection as it is, between two batches.
    pub const fn of(state: &'a State) -> Self {
        Self { base: state, top: state, gone: &NONE_GONE }
    }

    /// A client by its identifier.
    pub fn client(&self, id: &ClientId) -> Option<&'a Client> {
        self.top.client(id).or_else(|| self.base.client(id))
    }

    /// A resource owner by pseudonym.
    pub fn subject(&self, id: &SubjectId) -> Option<&'a Subject> {
        self.top.subject(id).or_else(|| self.base.subject(id))
    }

    /// A grant by its identifier.
    pub fn grant(&self, id: &GrantId) -> Option<&'a Grant> {
        self.top.grant(id).or_else(|| self.base.grant(id))
    }

    /// An access token that has not expired at `at`, with its grant. One that has may be kept a
    /// little longer, but no decision may depend on for how long.
    pub fn token(&self, digest: &Digest, at: Timestamp) -> Option<(&'a Token, &'a Grant)> {
        let short = digest.short();
        let found = |state: &'a State| {
            let token = state.token(&short).filter(|token| at < token.expires_at)?;
            Some((token, self.grant(&state.grant_of(token)?.id)?))
        };
        let in_base = || if self.gone.contains(&short) { None } else { found(self.base) };
        found(self.top).or_else(in_base)
    }

    /// A key by its identifier.
    pub fn key(&self, id: &KeyId) -> Option<&'a Key> {
        self.top.key(id).or_else(|| self.base.key(id))
    }

    /// A blacklist entry by its identifier.
    pub fn entry(&self, id: &BlacklistId) -> Option<&'a Entry> {
        self.top.entry(id).or_else(|| self.base.entry(id))
    }

    /// Whether an assertion that has not lapsed at `at` was used.
    pub(super) fn is_assertion_used(&self, digest: &Digest, at: Timestamp) -> bool {
        self.top.assertions.contains(digest, at) || self.base.assertions.contains(digest, at)
    }

    /// How many used assertions have not lapsed at `at`.
    pub(super) fn assertions(&self, at: Timestamp) -> usize {
        let base = self.base.assertions.count(at);
        if std::ptr::eq(self.base, self.top) { base } else { base + self.top.assertions.count(at) }
    }

    /// What stands against the client of `grant`, its subject, or everything.
    pub(super) fn standing_block(&self, grant: &Grant) -> Option<RefreshRefusal> {
        let subject = grant.subject.and_then(|id| self.subject(&id));
        blocked(grant, self.client(&grant.client), subject, self.everything())
    }

    /// The blacklist entries on everything.
    pub fn everything(&self) -> Ban {
        self.top.everything()
    }

    /// When nobody could be answered.
    pub fn pauses(&self) -> &'a Pauses {
        &self.top.pauses
    }

    /// The time of the newest record: the log's own never goes back to before it.
    pub fn newest_at(&self) -> Timestamp {
        self.top.head().map_or(Timestamp::default(), |head| head.at)
    }

    /// The position of the next record.
    pub fn next_seq(&self) -> Seq {
        self.top.next_seq()
    }
}

/// The entries that a batch touches, folded ahead of the shared projection.
#[derive(Debug)]
pub struct Overlay {
    top: State,
    gone: BTreeSet<ShortDigest>,
}

impl Default for Overlay {
    fn default() -> Self {
        Self { top: State::small(), gone: BTreeSet::new() }
    }
}

impl Overlay {
    /// Starts the next batch over `base`.
    pub fn restart(&mut self, base: &State) {
        self.top.restart_over(base);
        self.gone.clear();
    }

    /// What the next decision of this batch sees.
    pub fn view<'a>(&'a self, base: &'a State) -> View<'a> {
        View { base, top: &self.top, gone: &self.gone }
    }

    /// Takes over from `base` what the next record is about. Answers the newest record of each of its
    /// trails: the back links of the next one.
    pub fn adopt(&mut self, base: &State, about: &About) -> Back {
        Back {
            grant: about.grant.and_then(|id| self.adopt_grant(base, &id)),
            subject: about.subject.and_then(|id| self.adopt_subject(base, &id)),
            client: about.client.as_ref().and_then(|id| self.adopt_client(base, id)),
        }
    }

    /// Folds a record of this batch in, for the commands after it. What it is about was adopted.
    pub fn apply(&mut self, base: &State, record: &Record, leaf: LeafHash) {
        if let Event::AccessTokenRevoked(data) = &record.event {
            self.gone.insert(data.digest.short());
        }
        if let Event::BlacklistAdded(data) = &record.event {
            self.adopt_target(base, &data.target);
            if let Target::Token(digest) = &data.target {
                self.gone.insert(digest.short());
            }
        }
        if let Event::BlacklistLifted(data) = &record.event
            && let Some(entry) = self.view(base).entry(&data.id).cloned()
        {
            self.adopt_target(base, &entry.target);
            self.top.blacklist.insert(entry.id, entry);
        }
        if let Event::KeyRetired(data) = &record.event {
            self.adopt_target(base, &Target::Key(data.kid.clone()));
        }
        self.top.apply(record, leaf);
    }

    fn adopt_grant(&mut self, base: &State, id: &GrantId) -> Option<Seq> {
        if let Some(grant) = self.top.grant(id) {
            return Some(grant.head);
        }
        let grant = base.grant(id)?;
        self.top.adopt_grant(grant.clone());
        Some(grant.head)
    }

    fn adopt_subject(&mut self, base: &State, id: &SubjectId) -> Option<Seq> {
        if let Some(subject) = self.top.subject(id) {
            return Some(subject.head);
        }
        let subject = base.subject(id)?;
        self.top.subjects.add(subject.unlisted());
        Some(subject.head)
    }

    fn adopt_client(&mut self, base: &State, id: &ClientId) -> Option<Seq> {
        if let Some(client) = self.top.client(id) {
            return Some(client.head);
        }
        let client = base.client(id)?;
        self.top.clients.insert(id.clone(), client.unlisted());
        Some(client.head)
    }

    fn adopt_target(&mut self, base: &State, target: &Target) {
        match target {
            Target::Client(id) => {
                self.adopt_client(base, id);
            }
            Target::Subject(id) => {
                self.adopt_subject(base, id);
            }
            Target::Key(id) if self.top.key(id).is_none() => {
                if let Some(key) = base.key(id) {
                    self.top.keys.insert(id.clone(), key.clone());
                }
            }
            Target::Key(_) | Target::Token(_) | Target::Grant(_) | Target::All => {}
        }
    }
}
