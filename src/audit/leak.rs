//! A token was found where it should not be: whose is it, is it alive, and which records say so. The
//! answer is as of one record: whatever was written after it changes nothing.

use std::sync::Arc;

use serde::Serialize;

use crate::audit::trail::{Reader, Step};
use crate::domain::client::{ClientMetadata, GrantType};
use crate::domain::event::{AccessTokenIssued, Event, Target};
use crate::domain::grant::{Grant, Standing};
use crate::domain::state::{Entry, State};
use crate::ledger::replay::LogError;
use crate::log::leaf::leaf_hash;
use crate::log::store::Store;
use crate::types::digest::Digest;
use crate::types::id::{ClientId, GrantId, KeyId, Seq, SubjectId};
use crate::types::time::Timestamp;

/// How a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It can be used.
    Valid,
    /// It can be used again once its client is enabled, or has back the grant type that it lost.
    Disabled,
    /// Its time is over.
    Expired,
    /// It was exchanged, or rotated away.
    Spent,
    /// It, or its grant, was revoked, or its resource owner erased.
    Revoked,
    /// It, or something it descends from, was blacklisted.
    Blacklisted,
}

/// A token's kind as an investigator reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An access token.
    AccessToken,
    /// A refresh token.
    RefreshToken,
    /// An authorization code.
    AuthorizationCode,
}

impl Kind {
    /// What its client must be registered for to use it.
    fn grant_type(self) -> Option<GrantType> {
        match self {
            Self::AccessToken => None,
            Self::RefreshToken => Some(GrantType::RefreshToken),
            Self::AuthorizationCode => Some(GrantType::AuthorizationCode),
        }
    }
}

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What it is.
    pub kind: Kind,
    /// How it stands.
    pub status: Status,
    /// Its generation, for a refresh token.
    pub generation: Option<u32>,
    /// The records that made it so: the one that issued it, then the one that ended it.
    pub why: Vec<Seq>,
}

/// What lies above a token of a grant as of one record: client, resource owner, and blacklist.
#[derive(Debug)]
pub struct Above {
    /// The grant's client.
    pub client: ClientId,
    /// The grant's resource owner.
    pub subject: Option<SubjectId>,
    grant: GrantId,
    digest: Digest,
    as_of: Seq,
    metadata: Arc<ClientMetadata>,
    disabled: bool,
    /// When the resource owner was erased.
    erased: Option<Seq>,
    /// The entries that may hit the token, in the order of their records.
    entries: Vec<Entry>,
    /// The records about clients, keys and the blacklist.
    control: Vec<Seq>,
    /// Whether there are more of those since, so that the client of today may be another one.
    has_moved: bool,
}

impl Above {
    /// One look at `state`, which may be further than `as_of`, for the token of `digest`. `None` where
    /// it does not know the grant.
    pub fn look(state: &State, grant: &GrantId, digest: Digest, as_of: Seq) -> Option<Self> {
        let grant = state.grant(grant)?;
        let client = state.client(&grant.client)?;
        let subject = grant.subject.and_then(|id| state.subject(&id));
        // An erasure is the last word on a person: no entry moves the mark further.
        let erased = subject.filter(|subject| subject.erased);
        let erased = erased.and_then(|subject| subject.ban().watermark);
        let was = |seq: &Seq| *seq <= as_of;
        let may_hit = |entry: &&Entry| match &entry.target {
            Target::Token(listed) => *listed == digest,
            Target::Grant(_) => false,
            Target::Subject(id) => grant.subject == Some(*id),
            Target::Client(id) => *id == client.id,
            Target::Key(_) | Target::All => true,
        };
        let listed = state.blacklist().filter(|entry| was(&entry.seq)).filter(may_hit);
        let mut entries: Vec<Entry> = listed.cloned().collect();
        entries.sort_unstable_by_key(|entry| entry.seq);
        let then = state.control().partition_point(was);
        let (control, since) = state.control().split_at_checked(then)?;
        Some(Self {
            client: client.id.clone(),
            subject: grant.subject,
            grant: grant.id,
            digest,
            as_of,
            metadata: Arc::clone(&client.metadata),
            disabled: client.disabled,
            erased: erased.filter(was),
            entries,
            control: control.to_vec(),
            has_moved: !since.is_empty(),
        })
    }

    /// The first entry from above the grant, or on the key that signed, that `picked` picks.
    fn entry(&self, key: Option<&KeyId>, picked: impl Fn(&Entry) -> bool) -> Option<Seq> {
        let hits = |entry: &&Entry| match &entry.target {
            Target::Token(_) | Target::Grant(_) => false,
            Target::Key(id) => key == Some(id),
            Target::Subject(_) | Target::Client(_) | Target::All => true,
        };
        self.entries.iter().filter(hits).find(|entry| picked(entry)).map(|entry| entry.seq)
    }

    /// What the client was. It is read from the records only where the client of today does not say
    /// it: then each record about clients, keys and the blacklist is looked at.
    fn conduct(&self, store: &dyn Store, kind: Kind) -> Result<Conduct, LogError> {
        let lacks = |metadata: &ClientMetadata| {
            kind.grant_type().is_some_and(|needed| !metadata.grant_types.contains(&needed))
        };
        let mut conduct =
            Conduct { metadata: Arc::clone(&self.metadata), disabled: None, lacking: None };
        if !self.has_moved && !self.disabled && !lacks(&self.metadata) {
            return Ok(conduct);
        }
        let mut reader = Reader::new(store);
        for &seq in &self.control {
            let record = reader.step(seq)?.record;
            if record.about.client.as_ref() != Some(&self.client) {
                continue;
            }
            if matches!(record.event, Event::ClientDisabled(_)) {
                conduct.disabled.get_or_insert(seq);
            } else if matches!(record.event, Event::ClientEnabled(_)) {
                conduct.disabled = None;
            }
            let metadata = if let Event::ClientRegistered(data) = &record.event {
                &data.metadata
            } else if let Event::ClientUpdated(data) = &record.event {
                &data.metadata
            } else {
                continue;
            };
            conduct.metadata = Arc::new((**metadata).clone());
            let lacking = conduct.lacking.unwrap_or(seq);
            conduct.lacking = lacks(metadata).then_some(lacking);
        }
        Ok(conduct)
    }
}

/// A client as of a record, and the records that stand against its tokens for now.
struct Conduct {
    metadata: Arc<ClientMetadata>,
    disabled: Option<Seq>,
    lacking: Option<Seq>,
}

/// What was issued.
struct Issued {
    seq: Seq,
    kind: Kind,
    generation: Option<u32>,
    /// The key that signed it.
    key: Option<KeyId>,
    /// When it expires, where its own record says so.
    expires_at: Option<Timestamp>,
}

/// Judges a token at `at`, the time of the record that `above` is as of: from the trail of its grant up
/// to there, and from what lies above. `None` where the trail does not know it.
///
/// # Errors
/// [`LogError`] when a record that bears on it cannot be read.
pub fn judge(
    store: &dyn Store,
    above: &Above,
    trail: &[Step],
    at: Timestamp,
) -> Result<Option<Known>, LogError> {
    let digest = &above.digest;
    let issued = trail.iter().find_map(|step| issuance(step, digest));
    let mut past = State::small();
    for step in trail {
        past.apply(&step.record, leaf_hash(&step.bytes));
    }
    let (Some(issued), Some(grant)) = (issued, past.grant(&above.grant)) else { return Ok(None) };
    let conduct = above.conduct(store, issued.kind)?;
    let itself = ended_itself(trail, digest, &issued);
    let ended = [itself, ended_with_grant(grant), ended_from_above(above, grant, &issued)];
    // What ended it first is what ended it.
    let ended = ended.into_iter().flatten().min_by_key(|(_, seq)| *seq);
    let expires_at = match itself {
        Some(_) if issued.kind == Kind::RefreshToken => None,
        Some(_) | None => expiry(grant, &conduct.metadata, &issued),
    };
    let ended_at = match ended {
        Some((_, seq)) => Reader::new(store).step(seq)?.record.at,
        None => at,
    };
    let (status, because) = match ended {
        _ if expires_at.is_some_and(|expires_at| expires_at <= ended_at) => (Status::Expired, None),
        Some((status, seq)) => (status, Some(seq)),
        None => held_up(above, &conduct, issued.kind),
    };
    let why = [issued.seq].into_iter().chain(because).collect();
    Ok(Some(Known { kind: issued.kind, status, generation: issued.generation, why }))
}

fn issuance(step: &Step, digest: &Digest) -> Option<Issued> {
    let seq = step.record.seq;
    let refresh = |generation: u32| Issued {
        seq,
        kind: Kind::RefreshToken,
        generation: Some(generation),
        key: None,
        expires_at: None,
    };
    if let Some(data) = access_token(step).filter(|data| data.digest == *digest) {
        let (kind, expires_at) = (Kind::AccessToken, Some(data.expires_at));
        let (generation, key) = (data.generation, data.key.clone());
        return Some(Issued { seq, kind, generation, key, expires_at });
    }
    if let Event::RefreshTokenIssued(data) = &step.record.event {
        return (data.digest == *digest).then(|| refresh(data.generation));
    }
    if let Event::RefreshTokenRotated(data) = &step.record.event {
        return (data.digest == *digest).then(|| refresh(data.to));
    }
    if let Event::GrantCreated(data) = &step.record.event {
        let code = data.code.as_ref().filter(|code| code.digest == *digest)?;
        let (kind, expires_at) = (Kind::AuthorizationCode, Some(code.expires_at));
        return Some(Issued { seq, kind, generation: None, key: None, expires_at });
    }
    None
}

fn access_token(step: &Step) -> Option<&AccessTokenIssued> {
    if let Event::AccessTokenIssued(data) = &step.record.event { Some(data) } else { None }
}

/// What ended the token apart from its grant, as the trail says.
fn ended_itself(trail: &[Step], digest: &Digest, issued: &Issued) -> Option<(Status, Seq)> {
    trail.iter().find_map(|step| {
        let seq = step.record.seq;
        if let Event::AccessTokenRevoked(data) = &step.record.event {
            return (data.digest == *digest).then_some((Status::Revoked, seq));
        }
        let is_spent = match issued.kind {
            Kind::AccessToken => false,
            Kind::RefreshToken => {
                rotated_from(step).is_some_and(|from| Some(from) == issued.generation)
            }
            Kind::AuthorizationCode => matches!(step.record.event, Event::CodeRedeemed(_)),
        };
        is_spent.then_some((Status::Spent, seq))
    })
}

fn rotated_from(step: &Step) -> Option<u32> {
    if let Event::RefreshTokenRotated(data) = &step.record.event { Some(data.from) } else { None }
}

fn ended_with_grant(grant: &Grant) -> Option<(Status, Seq)> {
    match grant.standing {
        Standing::Live => None,
        Standing::Revoked(seq) => Some((Status::Revoked, seq)),
        Standing::Blacklisted(seq) => Some((Status::Blacklisted, seq)),
    }
}

/// What ended the token from above its grant; or an entry on the token itself, which is on no trail
/// where it came long after the token.
fn ended_from_above(above: &Above, grant: &Grant, issued: &Issued) -> Option<(Status, Seq)> {
    // A refresh token or code is dead when its grant is older than the entry; an access token when
    // it is itself.
    let since = if issued.kind == Kind::AccessToken { issued.seq } else { grant.created };
    let covering = above.entry(issued.key.as_ref(), |entry| since <= entry.seq);
    let own = above.entries.iter().find(|entry| entry.target == Target::Token(above.digest));
    let listed = covering.into_iter().chain(own.map(|entry| entry.seq)).min();
    let listed = listed.map(|seq| (Status::Blacklisted, seq));
    let erased = above.erased.map(|seq| (Status::Revoked, seq));
    listed.into_iter().chain(erased).min_by_key(|(_, seq)| *seq)
}

/// When it expires by itself. Nothing is kept of a dead grant's refresh token, so not of its expiry.
fn expiry(grant: &Grant, policy: &ClientMetadata, issued: &Issued) -> Option<Timestamp> {
    match (issued.kind, grant.refresh_token()) {
        (Kind::AccessToken | Kind::AuthorizationCode, _) => issued.expires_at,
        (Kind::RefreshToken, None) => None,
        (Kind::RefreshToken, Some(current)) => grant.refresh_expires_at(current.used_at, policy),
    }
}

/// What keeps a token that is not dead from being used for now.
fn held_up(above: &Above, conduct: &Conduct, kind: Kind) -> (Status, Option<Seq>) {
    let is_in_force = |entry: &Entry| entry.lifted.is_none_or(|lifted| above.as_of < lifted);
    // Of what is issued while an entry is in force, access tokens are not looked at again.
    let banned = if kind == Kind::AccessToken { None } else { above.entry(None, is_in_force) };
    if banned.is_some() {
        return (Status::Blacklisted, banned);
    }
    match conduct.disabled.or(conduct.lacking) {
        Some(seq) => (Status::Disabled, Some(seq)),
        None => (Status::Valid, None),
    }
}
