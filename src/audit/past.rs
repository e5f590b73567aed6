//! What was valid then: the same fold as the present's, fed with the records that bear on the
//! question and stopped at the instant.

use serde::Serialize;

use crate::audit::records::decode;
use crate::audit::trail::{Reader, Trail, walk};
use crate::domain::client::AccessTokenFormat;
use crate::domain::grant::Grant;
use crate::domain::state::State;
use crate::ledger::replay::LogError;
use crate::log::leaf::leaf_hash;
use crate::log::store::{Store, records_from};
use crate::types::id::{ClientId, GrantId, Seq, SubjectId};
use crate::types::resource::Resources;
use crate::types::scope::Scope;
use crate::types::time::Timestamp;

/// A token that was valid at the instant asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValidToken {
    /// `access_token` or `refresh_token`.
    pub kind: &'static str,
    /// JWT or opaque; refresh tokens have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<AccessTokenFormat>,
    /// The grant it descends from.
    pub grant_id: GrantId,
    /// The client it was issued to.
    pub client_id: ClientId,
    /// The resource owner's pseudonym.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectId>,
    /// What it covers.
    pub scope: Scope,
    /// The servers it is meant for.
    pub audience: Resources,
    /// When it was issued, or last used for a refresh token.
    pub issued_at: Timestamp,
    /// When it expires; none means never.
    pub expires_at: Option<Timestamp>,
    /// The refresh token's generation, or that which asked for the access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// The record that issued it.
    pub seq: Seq,
}

/// What the fold of the past is to know, apart from clients, keys and the blacklist.
#[derive(Debug, Clone)]
pub enum Extent {
    /// One trail, walked along the back links: the cost is the size of the trail.
    Along(Trail, Seq),
    /// Everything of one client, read from the start: a client's trail may be most of the log.
    OfClient(ClientId),
    /// Nothing but clients, keys and the blacklist.
    Nothing,
}

/// Folds the past at `at`: the control records and those of `extent`, up to `end` (exclusive).
/// `None` where the trail has more than `limit` records.
///
/// # Errors
/// [`LogError`] naming the record that cannot be read.
pub fn fold(
    store: &dyn Store,
    control: &[Seq],
    extent: &Extent,
    at: Timestamp,
    limit: usize,
) -> Result<Option<State>, LogError> {
    let mut wanted: Vec<Seq> = control.to_vec();
    match extent {
        Extent::Nothing => {}
        Extent::OfClient(client) => return fold_client(store, client, at).map(Some),
        Extent::Along(trail, head) => {
            let (steps, more) = walk(store, trail, *head, limit)?;
            if more.is_some() {
                return Ok(None);
            }
            wanted.extend(steps.iter().map(|step| step.record.seq));
            wanted.sort_unstable();
            wanted.dedup();
        }
    }
    let mut state = State::small();
    let mut reader = Reader::new(store);
    for seq in wanted {
        let step = reader.step(seq)?;
        if at < step.record.at {
            break;
        }
        state.apply(&step.record, leaf_hash(&step.bytes));
    }
    Ok(Some(state))
}

fn fold_client(store: &dyn Store, client: &ClientId, at: Timestamp) -> Result<State, LogError> {
    let mut state = State::small();
    for block in records_from(store, Seq(0)) {
        for (seq, bytes) in block?.iter() {
            let record = decode(seq, bytes)?;
            if at < record.at {
                return Ok(state);
            }
            let about_subject = record.about.subject.is_some() && record.about.client.is_none();
            if record.event.is_control()
                || about_subject
                || record.about.client.as_ref() == Some(client)
            {
                state.apply(&record, leaf_hash(bytes));
            }
        }
    }
    Ok(state)
}

/// The tokens that `state` holds valid at `at`, of the grants that `wanted` picks: ordered by the
/// record that issued them. `None` where there are more than `limit`.
pub fn valid(
    state: &State,
    at: Timestamp,
    limit: usize,
    wanted: impl Fn(&Grant) -> bool,
) -> Option<Vec<ValidToken>> {
    let mut valid = Vec::new();
    for grant in state.grants().filter(|grant| wanted(grant)) {
        valid.extend(valid_of_grant(state, grant, at, limit.saturating_add(1) - valid.len()));
        if limit < valid.len() {
            return None;
        }
    }
    valid.sort_unstable_by_key(|token| token.seq);
    Some(valid)
}

/// The tokens of one grant that are valid at `at`, `limit` at most: the newest ones.
pub fn valid_of_grant(
    state: &State,
    grant: &Grant,
    at: Timestamp,
    limit: usize,
) -> Vec<ValidToken> {
    let mut valid = Vec::new();
    let common = |kind, scope, audience, seq| ValidToken {
        kind,
        format: None,
        grant_id: grant.id,
        client_id: grant.client.clone(),
        subject: grant.subject,
        scope,
        audience,
        issued_at: at,
        expires_at: None,
        generation: None,
        seq,
    };
    if let Some(refresh) = grant.refresh_token().filter(|_| state.is_refreshable(grant, at)) {
        let policy = state.client(&grant.client).map(|client| &client.metadata);
        let scope = grant.scope.clone();
        valid.push(ValidToken {
            issued_at: refresh.used_at,
            expires_at: policy.and_then(|p| grant.refresh_expires_at(refresh.used_at, p)),
            generation: Some(refresh.generation),
            ..common("refresh_token", scope, grant.resources.clone(), refresh.issued)
        });
    }
    let active = state.tokens_of(&grant.id).filter(|token| state.is_active(token, at));
    for token in active.take(limit.saturating_sub(valid.len())) {
        let (scope, audience) = (token.scope.clone(), token.audience.clone());
        valid.push(ValidToken {
            format: Some(token.format),
            issued_at: token.issued_at,
            expires_at: Some(token.expires_at),
            generation: token.generation,
            ..common("access_token", scope, audience, token.issued)
        });
    }
    valid
}
