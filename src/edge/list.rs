//! Live grants with their live tokens, as administrators see them.

use serde_json::{Value, json};

use crate::audit::past::valid_of_grant;
use crate::domain::grant::{Grant, Standing};
use crate::domain::lookup::GrantPage;
use crate::domain::refusal::Refusal;
use crate::domain::state::State;
use crate::edge::Edge;
use crate::edge::fault::Fault;
use crate::edge::inquire::AsOf;
use crate::oauth::error::ErrorCode;
use crate::types::id::{ClientId, GrantId, SubjectId};
use crate::types::time::Timestamp;

impl Edge {
    /// One grant with its live tokens.
    ///
    /// # Errors
    /// `not_found`.
    pub fn grant(&self, id: &GrantId) -> Result<Value, Fault> {
        let now = self.ledger.now();
        let state = self.ledger.state();
        let grant = state.grant(id).ok_or(Refusal::UnknownGrant)?;
        let mut shown = grant_json(&state, grant, now);
        if let Some(members) = shown.as_object_mut() {
            members.insert("as_of".to_owned(), json!(self.as_of(&state)?));
        }
        Ok(shown)
    }

    /// A page of a resource owner's live grants, newest first.
    ///
    /// # Errors
    /// `invalid_request` for the cursor of another list.
    pub fn grants_of_subject(
        &self,
        id: &SubjectId,
        after: Option<&GrantId>,
        limit: usize,
    ) -> Result<Value, Fault> {
        let now = self.ledger.now();
        let state = self.ledger.state();
        check_cursor(&state, after, |grant| grant.subject == Some(*id))?;
        let as_of = self.as_of(&state)?;
        Ok(page_json(&state, &state.grants_of_subject(id, after, limit), now, &as_of))
    }

    /// A page of a client's live grants, newest first.
    ///
    /// # Errors
    /// `not_found`, or `invalid_request` for the cursor of another list.
    pub fn grants_of_client(
        &self,
        id: &ClientId,
        after: Option<&GrantId>,
        limit: usize,
    ) -> Result<Value, Fault> {
        let now = self.ledger.now();
        let state = self.ledger.state();
        state.client(id).ok_or(Refusal::UnknownClient)?;
        check_cursor(&state, after, |grant| grant.client == *id)?;
        let as_of = self.as_of(&state)?;
        Ok(page_json(&state, &state.grants_of_client(id, after, limit), now, &as_of))
    }
}

/// A cursor leads on along the list that it stands in, so it must not be of another one.
fn check_cursor(
    state: &State,
    cursor: Option<&GrantId>,
    is_listed: impl Fn(&Grant) -> bool,
) -> Result<(), Fault> {
    match cursor {
        Some(id) if !state.grant(id).is_some_and(is_listed) => {
            let what = "cursor is not one that this list has given";
            Err(Fault::refused(ErrorCode::InvalidRequest, what))
        }
        Some(_) | None => Ok(()),
    }
}

/// How many live tokens are shown of one grant: a client of its own may have very many.
const TOKENS_SHOWN_MAX: usize = 100;

/// A page may hold fewer grants than asked for, as dead ones are left out; it is the last one where
/// there is no cursor.
fn page_json(state: &State, page: &GrantPage<'_>, now: Timestamp, as_of: &Option<AsOf>) -> Value {
    let live = page.grants.iter().filter(|grant| is_live(state, grant));
    let grants: Vec<Value> = live.map(|grant| grant_json(state, grant, now)).collect();
    json!({ "grants": grants, "next_cursor": page.next, "as_of": as_of })
}

fn is_live(state: &State, grant: &Grant) -> bool {
    grant.standing == Standing::Live && state.blocked(grant).is_none()
}

fn grant_json(state: &State, grant: &Grant, now: Timestamp) -> Value {
    let status = match grant.standing {
        Standing::Revoked(_) => "revoked",
        Standing::Blacklisted(_) => "blacklisted",
        Standing::Live if state.blocked(grant).is_some() => "blocked",
        Standing::Live => "live",
    };
    let mut tokens = valid_of_grant(state, grant, now, TOKENS_SHOWN_MAX + 1);
    let more = TOKENS_SHOWN_MAX < tokens.len();
    tokens.truncate(TOKENS_SHOWN_MAX);
    json!({
        "grant_id": grant.id,
        "client_id": grant.client,
        "subject": grant.subject,
        "how": grant.how,
        "scope": grant.scope,
        "resource": grant.resources,
        "created_at": grant.created_at,
        "status": status,
        "tokens": tokens,
        "more_tokens": more,
    })
}
