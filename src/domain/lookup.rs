//! Questions to the projection: who is known, what is valid at an instant, and why not.

use crate::domain::client::GrantType;
use crate::domain::event::RefreshRefusal;
use crate::domain::grant::{Grant, Standing};
use crate::domain::party::{Ban, Client, Subject};
use crate::domain::state::{Entry, Head, Key, State, grant_of};
use crate::domain::table::Slot;
use crate::domain::tokens::Token;
use crate::types::digest::ShortDigest;
use crate::types::id::{BlacklistId, ClientId, GrantId, KeyId, Seq, SubjectId};
use crate::types::time::Timestamp;

/// How many entries the projection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Registered clients.
    pub clients: usize,
    /// Resource owners.
    pub subjects: usize,
    /// Grants, dead ones too.
    pub grants: usize,
    /// Access tokens that were not dropped yet.
    pub access_tokens: usize,
    /// Blacklist entries, lifted ones too.
    pub blacklist: usize,
}

/// A page of grants and where the next one starts.
#[derive(Debug)]
pub struct GrantPage<'a> {
    /// The grants, newest first.
    pub grants: Vec<&'a Grant>,
    /// The grant that the next page starts after.
    pub next: Option<GrantId>,
}

impl State {
    /// The newest record.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// The position of the next record.
    pub fn next_seq(&self) -> Seq {
        self.head.map_or(Seq(0), |head| head.seq.next())
    }

    /// A client by its identifier.
    pub fn client(&self, id: &ClientId) -> Option<&Client> {
        self.clients.get(id)
    }

    /// Some client, to be judged in place of one that is not known: the time of an answer then does
    /// not tell whether there is such a client.
    pub fn some_client(&self) -> Option<&Client> {
        self.clients.values().next()
    }

    /// All clients, by identifier.
    pub fn clients(&self) -> Vec<&Client> {
        let mut clients: Vec<_> = self.clients.values().collect();
        clients.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        clients
    }

    /// A resource owner by pseudonym.
    pub fn subject(&self, id: &SubjectId) -> Option<&Subject> {
        self.subjects.find(id.as_bytes())
    }

    /// The resource owners whose keys must be gone.
    pub fn erased_subjects(&self) -> impl Iterator<Item = SubjectId> {
        self.subjects.iter().filter(|subject| subject.erased).map(|subject| subject.id)
    }

    /// The newest resource owners, `most` of them at the most, without those that were erased.
    pub fn newest_subjects(&self, most: usize) -> impl Iterator<Item = SubjectId> {
        let older = self.subjects.len().saturating_sub(most);
        let newest = self.subjects.iter().skip(older);
        newest.filter(|subject| !subject.erased).map(|subject| subject.id)
    }

    /// The pseudonyms of those who are not erased.
    pub fn remembered_subjects(&self) -> impl Iterator<Item = SubjectId> {
        self.subjects.iter().filter(|subject| !subject.erased).map(|subject| subject.id)
    }

    /// A grant by its identifier, dead or alive.
    pub fn grant(&self, id: &GrantId) -> Option<&Grant> {
        grant_of(self, id).map(|entry| &entry.grant)
    }

    /// All grants, in no order that may be observed.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().map(|entry| &entry.grant)
    }

    /// An access token that is kept, valid or not.
    pub fn token(&self, digest: &ShortDigest) -> Option<&Token> {
        self.tokens.find(digest.as_bytes())
    }

    /// Some access token, to be judged in place of one that is not known: the time of an answer
    /// then does not tell whether there is such a token.
    pub fn some_token(&self) -> Option<&Token> {
        self.tokens.some()
    }

    /// The grant of a token that is kept.
    pub fn grant_of(&self, token: &Token) -> Option<&Grant> {
        self.grants.at(token.grant).map(|entry| &entry.grant)
    }

    /// The access tokens of a grant that are kept, newest first.
    pub fn tokens_of(&self, grant: &GrantId) -> impl Iterator<Item = &Token> {
        self.tokens_from(grant_of(self, grant).and_then(|entry| entry.tokens))
    }

    /// All access tokens that are kept, in no order that may be observed.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter()
    }

    /// A key by its identifier.
    pub fn key(&self, id: &KeyId) -> Option<&Key> {
        self.keys.get(id)
    }

    /// All keys that were ever added.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.values()
    }

    /// A blacklist entry by its identifier.
    pub fn entry(&self, id: &BlacklistId) -> Option<&Entry> {
        self.blacklist.get(id)
    }

    /// All blacklist entries, lifted ones too.
    pub fn blacklist(&self) -> impl Iterator<Item = &Entry> {
        self.blacklist.values()
    }

    /// The blacklist entries on everything.
    pub fn everything(&self) -> Ban {
        self.everything
    }

    /// The records about clients, keys and the blacklist, in order.
    pub fn control(&self) -> &[Seq] {
        &self.control
    }

    /// How many entries there are.
    pub fn counts(&self) -> Counts {
        Counts {
            clients: self.clients.len(),
            subjects: self.subjects.len(),
            grants: self.grants.len(),
            access_tokens: self.tokens.len(),
            blacklist: self.blacklist.len(),
        }
    }

    /// What stands against new tokens of `grant`, apart from the grant's own standing.
    pub fn blocked(&self, grant: &Grant) -> Option<RefreshRefusal> {
        blocked(
            grant,
            self.client(&grant.client),
            grant.subject.and_then(|id| self.subject(&id)),
            self.everything,
        )
    }

    /// Whether a kept access token is valid at `at` (RFC 7662 section 4: all applicable checks).
    pub fn is_active(&self, token: &Token, at: Timestamp) -> bool {
        let Some(grant) = self.grant_of(token) else { return false };
        let Some(client) = self.client(&grant.client) else { return false };
        let subject = grant.subject.map(|id| self.subject(&id));
        let dead_subject = match subject {
            None => false,
            Some(None) => true,
            Some(Some(subject)) => subject.erased || subject.ban().covers(token.issued),
        };
        let key = token.key.as_ref().and_then(|kid| self.key(kid));
        at < token.expires_at
            && grant.standing == Standing::Live
            && !client.disabled
            && !client.ban.covers(token.issued)
            && !dead_subject
            && !self.everything.covers(token.issued)
            && !key.is_some_and(|key| key.ban.covers(token.issued))
    }

    /// Whether the grant's refresh token could be used at `at`.
    pub fn is_refreshable(&self, grant: &Grant, at: Timestamp) -> bool {
        let Some(client) = self.client(&grant.client) else { return false };
        grant.refresh_token().is_some()
            && client.metadata.grant_types.contains(&GrantType::RefreshToken)
            && grant.standing == Standing::Live
            && !grant.is_refresh_expired(at, &client.metadata)
            && self.blocked(grant).is_none()
    }

    /// The grants of a resource owner, newest first, `limit` at most, after `after`.
    pub fn grants_of_subject(
        &self,
        id: &SubjectId,
        after: Option<&GrantId>,
        limit: usize,
    ) -> GrantPage<'_> {
        let first = self.subject(id).and_then(|subject| subject.grants);
        self.grant_page(first, after, limit, |entry| entry.next_of_subject)
    }

    /// The grants of a client, newest first, `limit` at most, after `after`.
    pub fn grants_of_client(
        &self,
        id: &ClientId,
        after: Option<&GrantId>,
        limit: usize,
    ) -> GrantPage<'_> {
        let first = self.client(id).and_then(|client| client.grants);
        self.grant_page(first, after, limit, |entry| entry.next_of_client)
    }

    fn grant_page(
        &self,
        first: Option<Slot>,
        after: Option<&GrantId>,
        limit: usize,
        next: impl Fn(&super::state::GrantEntry) -> Option<Slot>,
    ) -> GrantPage<'_> {
        let mut at = match after {
            None => first,
            Some(id) => grant_of(self, id).and_then(&next),
        };
        let mut page = GrantPage { grants: Vec::new(), next: None };
        while let Some(entry) = at.and_then(|slot| self.grants.at(slot)) {
            if limit <= page.grants.len() {
                page.next = page.grants.last().map(|grant: &&Grant| grant.id);
                break;
            }
            page.grants.push(&entry.grant);
            at = next(entry);
        }
        page
    }

    /// The whole projection as sorted text: two folds of the same log have the same text.
    pub fn canonical(&self) -> Vec<String> {
        let at = self.head.map_or(Timestamp::default(), |head| head.at);
        let mut lines = Vec::new();
        for c in self.clients.values() {
            lines.push(format!(
                "client {} {:?} {:?} disabled={} {:?} own={:?} {} {}",
                c.id,
                c.metadata,
                c.secrets,
                c.disabled,
                c.ban,
                c.own_grant,
                c.registered_at,
                c.head
            ));
        }
        for s in self.subjects.iter() {
            lines.push(format!("subject {} {:?} erased={} {}", s.id, s.ban(), s.erased, s.head));
        }
        lines.extend(self.grants().map(|grant| format!("grant {grant:?}")));
        for t in self.tokens.iter().filter(|token| at < token.expires_at) {
            let grant = self.grant_of(t).map(|grant| grant.id);
            lines.push(format!(
                "token {:?} {grant:?} {} {} {} {} {:?} {:?} {:?} {:?}",
                t.digest,
                t.issued,
                t.issued_at,
                t.expires_at,
                t.scope,
                t.audience,
                t.format,
                t.key,
                t.generation
            ));
        }
        lines.extend(self.assertions.canonical(at));
        lines.extend(self.blacklist.values().map(|entry| format!("blacklist {entry:?}")));
        lines.extend(self.keys.values().map(|key| format!("key {key:?}")));
        lines.push(format!("everything {:?}", self.everything));
        lines.push(format!("control {:?}", self.control));
        lines.push(format!("{:?}", self.pauses));
        lines.sort_unstable();
        lines.insert(0, format!("head {:?} issuer {}", self.head, self.issuer()));
        lines
    }
}

/// What stands against new tokens of a grant, apart from its own standing.
pub(super) fn blocked(
    grant: &Grant,
    client: Option<&Client>,
    subject: Option<&Subject>,
    everything: Ban,
) -> Option<RefreshRefusal> {
    let hits = |ban: &Ban| ban.is_in_force() || ban.covers(grant.created);
    let Some(client) = client else { return Some(RefreshRefusal::Blacklisted) };
    if client.disabled {
        return Some(RefreshRefusal::ClientDisabled);
    }
    if hits(&client.ban) || hits(&everything) {
        return Some(RefreshRefusal::Blacklisted);
    }
    match (grant.subject, subject) {
        (None, _) => None,
        (Some(_), None) => Some(RefreshRefusal::Revoked),
        (Some(_), Some(subject)) if subject.erased => Some(RefreshRefusal::Revoked),
        (Some(_), Some(subject)) => hits(&subject.ban()).then_some(RefreshRefusal::Blacklisted),
    }
}
