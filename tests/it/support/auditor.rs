//! An auditor who trusts nothing but the records, in order: what is dead, and what may still be
//! issued. Written apart from the rules, so that a mistake there is not repeated here.

use std::collections::{BTreeMap, BTreeSet};

use token_ledger::domain::event::{Event, How, Target};
use token_ledger::domain::record::Record;
use token_ledger::domain::state::State;
use token_ledger::types::digest::{Digest, ShortDigest};
use token_ledger::types::id::{BlacklistId, ClientId, GrantId, KeyId, Seq, SubjectId};
use token_ledger::types::time::Timestamp;

#[derive(Debug)]
struct Authorization {
    client: ClientId,
    subject: Option<SubjectId>,
    created: Seq,
    /// Whether it may be used while everything is blacklisted.
    administers: bool,
    is_dead: bool,
    redeemed: bool,
    generation: Option<u32>,
}

#[derive(Debug)]
struct AccessToken {
    grant: GrantId,
    issued: Seq,
    expires_at: Timestamp,
    key: Option<KeyId>,
    is_dead: bool,
}

/// What was learnt from the records so far.
#[derive(Debug, Default)]
pub(crate) struct Auditor {
    grants: BTreeMap<GrantId, Authorization>,
    tokens: BTreeMap<ShortDigest, AccessToken>,
    disabled: BTreeSet<ClientId>,
    erased: BTreeSet<SubjectId>,
    in_force: BTreeMap<BlacklistId, Target>,
    lifted: BTreeSet<BlacklistId>,
    /// Until when no client may prove itself by this again.
    assertions: BTreeMap<Digest, Timestamp>,
    /// Everything issued up to here is dead, by target as text.
    marks: BTreeMap<String, Seq>,
}

impl Auditor {
    pub(crate) fn read(&mut self, record: &Record) {
        let seq = record.seq;
        match &record.event {
            Event::ClientDisabled(_) => {
                assert!(self.disabled.insert(record.about.client.clone().unwrap()));
            }
            Event::ClientEnabled(_) => {
                assert!(self.disabled.remove(record.about.client.as_ref().unwrap()));
            }
            Event::SubjectErased(_) => {
                let subject = record.about.subject.unwrap();
                assert!(self.erased.insert(subject), "{seq}: erased once");
            }
            Event::GrantCreated(data) => {
                let administers = data.how == How::ClientCredentials;
                let grant = Authorization {
                    client: record.about.client.clone().unwrap(),
                    subject: record.about.subject,
                    created: seq,
                    administers,
                    is_dead: false,
                    redeemed: false,
                    generation: None,
                };
                self.must_be_alive(seq, &grant);
                assert!(self.grants.insert(record.about.grant.unwrap(), grant).is_none());
            }
            Event::CodeRedeemed(_) => {
                let grant = self.alive(record);
                assert!(!grant.redeemed, "{seq}: a code is redeemed once");
                grant.redeemed = true;
            }
            Event::RefreshTokenIssued(data) => {
                let grant = self.alive(record);
                assert_eq!((grant.generation, data.generation), (None, 0), "{seq}");
                grant.generation = Some(0);
            }
            Event::RefreshTokenUsed(data) => {
                assert_eq!(self.alive(record).generation, Some(data.generation), "{seq}");
            }
            Event::RefreshTokenRotated(data) => {
                let grant = self.alive(record);
                assert_eq!(grant.generation, Some(data.from), "{seq}: only the live one rotates");
                assert_eq!(data.to, data.from + 1, "{seq}");
                grant.generation = Some(data.to);
            }
            Event::RefreshTokenRetried(data) => {
                let next = Some(data.generation + 1);
                assert_eq!(self.alive(record).generation, next, "{seq}: only the predecessor");
            }
            Event::AccessTokenIssued(data) => {
                let grant = record.about.grant.unwrap();
                self.alive(record);
                let key = data.key.clone().map(Target::Key);
                assert!(!key.is_some_and(|key| self.is_banned(&key)), "{seq}: blacklisted key");
                let of_ledger = data.scope.iter().all(|token| token.starts_with("ledger:"));
                assert!(!self.is_banned(&Target::All) || of_ledger, "{seq}: {}", data.scope);
                let (key, expires_at) = (data.key.clone(), data.expires_at);
                let token = AccessToken { grant, issued: seq, expires_at, key, is_dead: false };
                assert!(self.tokens.insert(data.digest.short(), token).is_none(), "{seq}");
            }
            Event::AccessTokenRevoked(data) => {
                let token = self.tokens.get_mut(&data.digest.short()).unwrap();
                assert!(!token.is_dead, "{seq}: revoked once");
                token.is_dead = true;
                assert!(!self.grants[&token.grant].is_dead, "{seq}: it was dead with its grant");
            }
            Event::GrantRevoked(_) => {
                let grant = self.grants.get_mut(&record.about.grant.unwrap()).unwrap();
                assert!(!grant.is_dead, "{seq}: revoked once");
                grant.is_dead = true;
            }
            Event::ClientAssertionUsed(data) => {
                assert!(record.at < data.expires_at.plus_seconds(60), "{seq}: too old to tell");
                let before = self.assertions.insert(data.digest, data.expires_at);
                let is_over = |expires_at: Timestamp| expires_at.plus_seconds(60) <= record.at;
                assert!(before.is_none_or(is_over), "{seq}: an assertion proves once");
            }
            Event::BlacklistAdded(_) | Event::BlacklistLifted(_) => self.read_blacklist(record),
            Event::LedgerCreated(_)
            | Event::LedgerOpened(_)
            | Event::LedgerClosed(_)
            | Event::ClockStepped(_)
            | Event::LedgerStalled(_)
            | Event::ClientRegistered(_)
            | Event::ClientUpdated(_)
            | Event::ClientSecretRotated(_)
            | Event::SubjectRegistered(_)
            | Event::CodeReplayed(_)
            | Event::CodeRefused(_)
            | Event::RefreshTokenReused(_)
            | Event::RefreshRefused(_)
            | Event::ClientAuthenticationFailed(_)
            | Event::KeyAdded(_)
            | Event::KeyRetired(_)
            | Event::AuditRead(_) => {}
        }
    }

    fn read_blacklist(&mut self, record: &Record) {
        let seq = record.seq;
        if let Event::BlacklistLifted(data) = &record.event {
            assert!(self.in_force.remove(&data.id).is_some(), "{seq}: lifted what is in force");
            assert!(self.lifted.insert(data.id), "{seq}: lifted once");
        }
        let Event::BlacklistAdded(data) = &record.event else { return };
        assert!(!self.lifted.contains(&data.id), "{seq}: an entry is new");
        assert!(self.in_force.insert(data.id, data.target.clone()).is_none(), "{seq}: new");
        match &data.target {
            Target::Token(digest) => {
                assert_eq!(data.watermark, None, "{seq}");
                if let Some(token) = self.tokens.get_mut(&digest.short()) {
                    token.is_dead = true;
                }
                if data.whole_grant {
                    self.grants.get_mut(&record.about.grant.unwrap()).unwrap().is_dead = true;
                }
            }
            Target::Grant(grant) => {
                assert_eq!(data.watermark, None, "{seq}");
                self.grants.get_mut(grant).unwrap().is_dead = true;
            }
            Target::Subject(_) | Target::Client(_) | Target::Key(_) | Target::All => {
                assert_eq!(data.watermark, Some(seq), "{seq}: up to and with the entry itself");
                self.marks.insert(format!("{:?}", data.target), seq);
            }
        }
    }

    fn is_banned(&self, target: &Target) -> bool {
        self.in_force.values().any(|have| have == target)
    }

    fn is_below(&self, target: &Target, seq: Seq) -> bool {
        self.marks.get(&format!("{target:?}")).is_some_and(|mark| seq <= *mark)
    }

    /// Whether what was issued under the grant at `seq` is dead by an entry above the grant.
    fn is_struck(&self, grant: &Authorization, seq: Seq) -> bool {
        let subject = grant.subject.map(Target::Subject);
        self.is_below(&Target::All, seq)
            || self.is_below(&Target::Client(grant.client.clone()), seq)
            || subject.is_some_and(|subject| self.is_below(&subject, seq))
            || grant.subject.is_some_and(|subject| self.erased.contains(&subject))
            || self.disabled.contains(&grant.client)
    }

    fn must_be_alive(&self, seq: Seq, grant: &Authorization) {
        assert!(!grant.is_dead, "{seq}: issued from a dead grant");
        assert!(!self.is_struck(grant, grant.created), "{seq}: issued from a blacklisted grant");
        assert!(!self.is_banned(&Target::Client(grant.client.clone())), "{seq}");
        let subject = grant.subject.map(Target::Subject);
        assert!(!subject.is_some_and(|subject| self.is_banned(&subject)), "{seq}");
        assert!(!self.is_banned(&Target::All) || grant.administers, "{seq}");
    }

    fn alive(&mut self, record: &Record) -> &mut Authorization {
        let id = record.about.grant.unwrap();
        let grant = &self.grants[&id];
        self.must_be_alive(record.seq, grant);
        assert_eq!(record.about.client.as_ref(), Some(&grant.client));
        assert_eq!(record.about.subject, grant.subject);
        self.grants.get_mut(&id).unwrap()
    }

    /// Whether the projection holds exactly what the records leave alive.
    pub(crate) fn compare(&self, state: &State, now: Timestamp) {
        let is_alive = |token: &AccessToken| {
            let grant = &self.grants[&token.grant];
            let key = token.key.clone().map(Target::Key);
            now < token.expires_at
                && !token.is_dead
                && !grant.is_dead
                && !self.is_struck(grant, token.issued)
                && !key.is_some_and(|key| self.is_below(&key, token.issued))
        };
        let alive: BTreeSet<_> =
            self.tokens.iter().filter(|(_, token)| is_alive(token)).map(|(d, _)| *d).collect();
        let active = state.tokens().filter(|token| state.is_active(token, now));
        assert_eq!(alive, active.map(|token| token.digest).collect(), "active access tokens");
        for grant in state.grants().filter(|grant| state.is_refreshable(grant, now)) {
            let known = &self.grants[&grant.id];
            self.must_be_alive(state.head().unwrap().seq, known);
            assert_eq!(grant.refresh_token().map(|refresh| refresh.generation), known.generation);
        }
        assert_eq!(state.grants().count(), self.grants.len(), "no grant is ever dropped");
    }
}
