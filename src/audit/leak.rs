//! A token was found where it should not be: whose is it, is it alive, and which records say so.

use serde::Serialize;

use crate::audit::trail::Step;
use crate::domain::event::{AccessTokenIssued, Event, RefreshTokenRotated, Target};
use crate::domain::grant::{Grant, Standing};
use crate::domain::party::Ban;
use crate::domain::state::State;
use crate::types::digest::Digest;
use crate::types::id::Seq;
use crate::types::time::Timestamp;

/// How a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It can be used.
    Valid,
    /// It can be used again once its client is enabled.
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

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What it is.
    pub kind: Kind,
    /// How it stands.
    pub status: Status,
    /// Its generation, for a refresh token.
    pub generation: Option<u32>,
    /// The records that made it so: first the one that issued it.
    pub why: Vec<Seq>,
}

/// Judges the token of `digest` from the trail of its grant and the state at `at`. `None` where
/// the trail does not know it.
pub fn judge(
    state: &State,
    grant: &Grant,
    trail: &[Step],
    digest: &Digest,
    at: Timestamp,
) -> Option<Known> {
    let (issued, kind, generation) = trail.iter().find_map(|step| issuance(step, digest))?;
    let mut why = vec![issued];
    if let Some(known) = ended_itself(state, grant, trail, digest, at, (kind, generation)) {
        why.extend(known.1);
        return Some(Known { kind, status: known.0, generation, why });
    }
    let (status, because) = match grant.standing {
        Standing::Revoked(seq) => (Status::Revoked, Some(seq)),
        Standing::Blacklisted(seq) => (Status::Blacklisted, Some(seq)),
        Standing::Live => above(state, grant, trail, issued, kind),
    };
    why.extend(because);
    Some(Known { kind, status, generation, why })
}

fn issuance(step: &Step, digest: &Digest) -> Option<(Seq, Kind, Option<u32>)> {
    let seq = step.record.seq;
    if let Event::AccessTokenIssued(data) = &step.record.event {
        return (data.digest == *digest).then_some((seq, Kind::AccessToken, data.generation));
    }
    if let Event::RefreshTokenIssued(data) = &step.record.event {
        let generation = Some(data.generation);
        return (data.digest == *digest).then_some((seq, Kind::RefreshToken, generation));
    }
    if let Event::RefreshTokenRotated(data) = &step.record.event {
        return (data.digest == *digest).then_some((seq, Kind::RefreshToken, Some(data.to)));
    }
    if let Event::GrantCreated(data) = &step.record.event {
        data.code.as_ref().filter(|code| code.digest == *digest)?;
        return Some((seq, Kind::AuthorizationCode, None));
    }
    None
}

fn access_token(step: &Step) -> Option<&AccessTokenIssued> {
    if let Event::AccessTokenIssued(data) = &step.record.event { Some(data) } else { None }
}

/// What ended the token apart from its grant.
fn ended_itself(
    state: &State,
    grant: &Grant,
    trail: &[Step],
    digest: &Digest,
    at: Timestamp,
    (kind, generation): (Kind, Option<u32>),
) -> Option<(Status, Option<Seq>)> {
    for step in trail {
        let seq = Some(step.record.seq);
        if let Event::AccessTokenRevoked(data) = &step.record.event
            && data.digest == *digest
        {
            return Some((Status::Revoked, seq));
        }
        if let Event::BlacklistAdded(data) = &step.record.event
            && data.target == Target::Token(*digest)
        {
            return Some((Status::Blacklisted, seq));
        }
        if let Event::RefreshTokenRotated(RefreshTokenRotated { from, .. }) = &step.record.event
            && kind == Kind::RefreshToken
            && Some(*from) == generation
        {
            return Some((Status::Spent, seq));
        }
        if matches!(step.record.event, Event::CodeRedeemed(_)) && kind == Kind::AuthorizationCode {
            return Some((Status::Spent, seq));
        }
    }
    let expires_at = match kind {
        Kind::AccessToken => trail.iter().find_map(|step| {
            let data = access_token(step).filter(|data| data.digest == *digest)?;
            Some(data.expires_at)
        }),
        Kind::AuthorizationCode => grant.code().map(|code| code.expires_at),
        Kind::RefreshToken => state.client(&grant.client).and_then(|client| {
            let used_at = grant.refresh_token().map_or(grant.created_at, |refresh| refresh.used_at);
            grant.refresh_expires_at(used_at, &client.metadata)
        }),
    };
    let is_expired = expires_at.is_some_and(|expires_at| expires_at <= at);
    (is_expired && grant.standing == Standing::Live).then_some((Status::Expired, None))
}

/// What stands against a token from above its grant.
fn above(
    state: &State,
    grant: &Grant,
    trail: &[Step],
    issued: Seq,
    kind: Kind,
) -> (Status, Option<Seq>) {
    let client = state.client(&grant.client);
    let subject = grant.subject.and_then(|id| state.subject(&id));
    if let Some(subject) = subject.filter(|subject| subject.erased) {
        return (Status::Revoked, subject.ban().watermark);
    }
    let step = trail.iter().find(|step| step.record.seq == issued);
    let key = step.and_then(access_token).and_then(|data| data.key.clone());
    let bans = [
        client.map(|client| client.ban),
        subject.map(|subject| subject.ban()),
        Some(state.everything()),
        key.and_then(|kid| state.key(&kid)).map(|key| key.ban),
    ];
    // A refresh token or code is dead when its grant is older than the watermark; an access token
    // when it is itself.
    let since = if kind == Kind::AccessToken { issued } else { grant.created };
    for ban in bans.into_iter().flatten() {
        let holds_up = kind != Kind::AccessToken && Ban::is_in_force(&ban);
        if ban.covers(since) || holds_up {
            return (Status::Blacklisted, ban.watermark);
        }
    }
    if client.is_none_or(|client| client.disabled) {
        return (Status::Disabled, client.map(|client| client.head));
    }
    (Status::Valid, None)
}
