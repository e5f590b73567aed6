//! What is valid now: the fold of the log, and nothing but that.
//! The same fold stopped earlier, or fed with one trail, answers what was valid then.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::domain::assertions::Assertions;
use crate::domain::event::{
    BlacklistAdded, BlacklistLifted, ClientRegistered, Event, GrantCreated, Target,
};
use crate::domain::grant::{Code, Grant, Held, Standing};
use crate::domain::party::{Ban, Client, ClientSecret, Subject};
use crate::domain::pauses::Pauses;
use crate::domain::record::{About, Actor, Back, Record};
use crate::domain::table::{Keyed, Slot, Table};
use crate::domain::terms::{Cover, Kept, Terms};
use crate::domain::tokens::Token;
use crate::types::digest::LeafHash;
use crate::types::id::{BlacklistId, ClientId, GrantId, KeyId, Seq, SubjectId};
use crate::types::time::Timestamp;

/// The newest record that was folded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its position.
    pub seq: Seq,
    /// Its time.
    pub at: Timestamp,
    /// Its leaf hash: the next record's `prev`.
    pub leaf: LeafHash,
}

/// A grant with the lists that it stands in.
#[derive(Debug, Clone)]
pub(super) struct GrantEntry {
    pub(super) grant: Grant,
    pub(super) next_of_client: Option<Slot>,
    pub(super) next_of_subject: Option<Slot>,
    pub(super) tokens: Option<Slot>,
}

impl Keyed for GrantEntry {
    fn key(&self) -> &[u8; 16] {
        self.grant.id.as_bytes()
    }
}

/// A blacklist entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its identifier.
    pub id: BlacklistId,
    /// What it hits.
    pub target: Target,
    /// Why.
    pub reason: String,
    /// Who added it.
    pub actor: Actor,
    /// The record that added it.
    pub seq: Seq,
    /// When it was added.
    pub at: Timestamp,
    /// All that was issued up to here is dead.
    pub watermark: Option<Seq>,
    /// The record that lifted it.
    pub lifted: Option<Seq>,
}

/// A key that signs or signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its identifier.
    pub id: KeyId,
    /// What for.
    pub purpose: String,
    /// The algorithm.
    pub alg: String,
    /// The public key.
    pub public: serde_json::Value,
    /// The record that added it.
    pub added: Seq,
    /// When it was added.
    pub added_at: Timestamp,
    /// When it was retired.
    pub retired_at: Option<Timestamp>,
    /// Blacklist entries on it.
    pub ban: Ban,
}

/// The projection that every decision and every answer about the present is taken from.
#[derive(Debug)]
pub struct State {
    pub(super) head: Option<Head>,
    pub(super) clients: HashMap<ClientId, Client>,
    pub(super) subjects: Table<Subject>,
    pub(super) grants: Table<GrantEntry>,
    pub(super) tokens: Table<Token>,
    pub(super) blacklist: BTreeMap<BlacklistId, Entry>,
    pub(super) keys: BTreeMap<KeyId, Key>,
    pub(super) everything: Ban,
    /// Records about clients, keys and the blacklist: few, and every as-of answer needs them.
    pub(super) control: Vec<Seq>,
    /// Places of access tokens, by the second in which those expire.
    pub(super) expiring: BTreeMap<u64, Vec<Slot>>,
    /// Assertions that must not be accepted again.
    pub(super) assertions: Assertions,
    pub(super) terms: Kept<Terms>,
    pub(super) covers: Kept<Cover>,
    pub(super) issuer: String,
    pub(super) pauses: Pauses,
}

impl Default for State {
    fn default() -> Self {
        Self::with_shards(64)
    }
}

impl State {
    /// An empty projection for a handful of entries.
    pub fn small() -> Self {
        Self::with_shards(1)
    }

    fn with_shards(shards: usize) -> Self {
        Self {
            head: None,
            clients: HashMap::new(),
            subjects: Table::with_shards(shards),
            grants: Table::with_shards(shards),
            tokens: Table::with_shards(shards),
            blacklist: BTreeMap::new(),
            keys: BTreeMap::new(),
            everything: Ban::default(),
            control: Vec::new(),
            expiring: BTreeMap::new(),
            assertions: Assertions::with_shards(shards),
            terms: Kept::default(),
            covers: Kept::default(),
            issuer: String::new(),
            pauses: Pauses::default(),
        }
    }

    /// Folds a record in. Total: it judges nothing, and what it does not know it passes over, so
    /// that a part of the log folds as well as the whole. Answers what was the newest record of each of
    /// its trails before, for who wants to compare that with its back links.
    pub fn apply(&mut self, record: &Record, leaf: LeafHash) -> Back {
        self.forget_expired(record.at);
        self.assertions.forget_lapsed(record.at);
        self.pauses.note(&record.event, record.at);
        let (seq, at) = (record.seq, record.at);
        match &record.event {
            Event::LedgerCreated(created) => self.issuer.clone_from(&created.issuer),
            Event::ClientRegistered(data) => self.register_client(record, data),
            Event::GrantCreated(data) => self.create_grant(record, data),
            Event::SubjectRegistered(_) => self.register_subject(record),
            Event::AccessTokenIssued(data) => self.issue(record, data),
            Event::AccessTokenRevoked(data) => self.forget_token(data.digest.short()),
            Event::ClientAssertionUsed(data) => self.assertions.keep(data),
            Event::BlacklistAdded(data) => self.add_to_blacklist(record, data),
            Event::BlacklistLifted(data) => self.lift(seq, data),
            Event::KeyAdded(data) => {
                let key = Key {
                    id: data.kid.clone(),
                    purpose: data.purpose.clone(),
                    alg: data.alg.clone(),
                    public: data.public.clone(),
                    added: seq,
                    added_at: at,
                    retired_at: None,
                    ban: Ban::default(),
                };
                self.keys.insert(data.kid.clone(), key);
            }
            Event::KeyRetired(data) => {
                if let Some(key) = self.keys.get_mut(&data.kid) {
                    key.retired_at = Some(at);
                }
            }
            Event::ClientUpdated(data) => {
                self.change_client(record, |client| client.update((*data.metadata).clone()));
            }
            Event::ClientSecretRotated(data) => {
                let (secret, expires_at) = (data.secret, data.previous_expires_at);
                self.change_client(record, |client| client.replace_secret(secret, expires_at));
            }
            Event::ClientDisabled(_) => self.change_client(record, |client| client.disabled = true),
            Event::ClientEnabled(_) => self.change_client(record, |client| client.disabled = false),
            Event::SubjectErased(_) => {
                let subject = record.about.subject.as_ref().map(SubjectId::as_bytes);
                if let Some(subject) = subject.and_then(|key| self.subjects.find_mut(key)) {
                    subject.erased = true;
                    subject.ban_mut().watermark = Some(seq);
                }
            }
            Event::LedgerOpened(_)
            | Event::LedgerClosed(_)
            | Event::ClockStepped(_)
            | Event::LedgerStalled(_)
            | Event::CodeRedeemed(_)
            | Event::CodeReplayed(_)
            | Event::CodeRefused(_)
            | Event::RefreshTokenIssued(_)
            | Event::RefreshTokenUsed(_)
            | Event::RefreshTokenRotated(_)
            | Event::RefreshTokenRetried(_)
            | Event::RefreshTokenReused(_)
            | Event::RefreshRefused(_)
            | Event::GrantRevoked(_)
            | Event::ClientAuthenticationFailed(_)
            | Event::AuditRead(_) => {}
        }
        let before = self.advance_trails(record);
        if record.event.is_control() {
            self.control.push(seq);
        }
        self.head = Some(Head { seq, at, leaf });
        before
    }

    /// The record becomes the newest of its trails, and its grant folds it in. Answers which one was
    /// the newest: none, where the trail begins with it.
    fn advance_trails(&mut self, record: &Record) -> Back {
        let About { client, subject, grant } = &record.about;
        let mut before = Back::default();
        let advance = |head: &mut Seq| {
            Some(std::mem::replace(head, record.seq)).filter(|before| *before != record.seq)
        };
        if let Some(entry) = grant.and_then(|id| self.grants.find_mut(id.as_bytes())) {
            entry.grant.apply(record.seq, record.at, &record.event);
            before.grant = advance(&mut entry.grant.head);
        }
        if let Some(subject) = subject.and_then(|id| self.subjects.find_mut(id.as_bytes())) {
            before.subject = advance(&mut subject.head);
        }
        if let Some(client) = client.as_ref().and_then(|id| self.clients.get_mut(id)) {
            before.client = advance(&mut client.head);
        }
        before
    }

    fn register_client(&mut self, record: &Record, data: &ClientRegistered) {
        let Some(id) = record.about.client.clone() else { return };
        let secret = data.secret.map(|digest| ClientSecret { digest, expires_at: None });
        let client = Client {
            id: id.clone(),
            metadata: Arc::new((*data.metadata).clone()),
            secrets: secret.into_iter().collect(),
            disabled: false,
            ban: Ban::default(),
            own_grant: None,
            registered_at: record.at,
            head: self.clients.get(&id).map_or(record.seq, |client| client.head),
            grants: None,
        };
        self.clients.insert(id, client);
    }

    fn change_client(&mut self, record: &Record, change: impl FnOnce(&mut Client)) {
        let client = record.about.client.as_ref().and_then(|id| self.clients.get_mut(id));
        if let Some(client) = client {
            change(client);
        }
    }

    fn register_subject(&mut self, record: &Record) {
        let Some(id) = record.about.subject else { return };
        if self.subjects.slot(id.as_bytes()).is_none() {
            let head = record.seq;
            self.subjects.insert(Subject { id, erased: false, head, ban: None, grants: None });
        }
    }

    fn create_grant(&mut self, record: &Record, data: &GrantCreated) {
        let (Some(id), Some(client)) = (record.about.grant, record.about.client.clone()) else {
            return;
        };
        let code = data.code.as_ref();
        let terms = self.terms.share(Terms {
            client: client.clone(),
            how: data.how,
            scope: data.scope.clone(),
            resources: data.resources.clone(),
            redirect_uri: code.and_then(|code| code.redirect_uri.clone()),
        });
        let code = code.map(|code| Code {
            digest: code.digest,
            challenge: code.challenge,
            expires_at: code.expires_at,
            redeemed: false,
        });
        let grant = Grant {
            id,
            terms,
            subject: record.about.subject,
            created_at: record.at,
            created: record.seq,
            standing: Standing::Live,
            head: self.grants.find(id.as_bytes()).map_or(record.seq, |entry| entry.grant.head),
            held: code.map(|code| Box::new(Held { code: Some(code), refresh: None })),
        };
        let mut entry =
            GrantEntry { grant, next_of_client: None, next_of_subject: None, tokens: None };
        entry.next_of_client = self.clients.get(&client).and_then(|client| client.grants);
        let subject = record.about.subject.and_then(|id| self.subjects.slot(id.as_bytes()));
        let listed = subject.and_then(|slot| self.subjects.at(slot));
        entry.next_of_subject = listed.and_then(|subject| subject.grants);
        let slot = self.grants.insert(entry);
        if let Some(subject) = subject.and_then(|slot| self.subjects.at_mut(slot)) {
            subject.grants = Some(slot);
        }
        if let Some(client) = self.clients.get_mut(&client) {
            client.grants = Some(slot);
            if record.about.subject.is_none() {
                client.own_grant = Some(id);
            }
        }
    }

    fn add_to_blacklist(&mut self, record: &Record, data: &BlacklistAdded) {
        if let Target::Token(digest) = &data.target {
            self.forget_token(digest.short());
        }
        if let Some(ban) = self.ban_mut(&data.target) {
            ban.add(record.seq);
        }
        let entry = Entry {
            id: data.id,
            target: data.target.clone(),
            reason: data.reason.clone(),
            actor: record.actor.clone(),
            seq: record.seq,
            at: record.at,
            watermark: data.watermark,
            lifted: None,
        };
        self.blacklist.insert(data.id, entry);
    }

    fn lift(&mut self, seq: Seq, data: &BlacklistLifted) {
        let Some(entry) = self.blacklist.get_mut(&data.id) else { return };
        entry.lifted = Some(seq);
        let target = entry.target.clone();
        if let Some(ban) = self.ban_mut(&target) {
            ban.lift();
        }
    }

    fn ban_mut(&mut self, target: &Target) -> Option<&mut Ban> {
        match target {
            Target::Token(_) | Target::Grant(_) => None,
            Target::Subject(id) => self.subjects.find_mut(id.as_bytes()).map(Subject::ban_mut),
            Target::Client(id) => self.clients.get_mut(id).map(|client| &mut client.ban),
            Target::Key(id) => self.keys.get_mut(id).map(|key| &mut key.ban),
            Target::All => Some(&mut self.everything),
        }
    }

    /// Empties the projection and takes over from `base` what belongs to no one in particular:
    /// the start of an overlay.
    pub(super) fn restart_over(&mut self, base: &Self) {
        self.clients.clear();
        self.subjects.clear();
        self.grants.clear();
        self.tokens.clear();
        self.blacklist.clear();
        self.keys.clear();
        self.control.clear();
        self.expiring.clear();
        self.assertions.clear();
        self.terms.clear();
        self.covers.clear();
        self.head = base.head;
        self.everything = base.everything;
        self.pauses.clone_from(&base.pauses);
    }

    /// Takes over a grant of another projection that this one has not, without the lists it stands in
    /// there.
    pub(super) fn adopt_grant(&mut self, grant: Grant) {
        let (next_of_client, next_of_subject, tokens) = (None, None, None);
        self.grants.add(GrantEntry { grant, next_of_client, next_of_subject, tokens });
    }

    /// The issuer that the first record names.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// The grant that `id` names, for reading.
pub(super) fn grant_of<'a>(state: &'a State, id: &GrantId) -> Option<&'a GrantEntry> {
    state.grants.find(id.as_bytes())
}
