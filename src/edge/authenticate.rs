//! Who is asking: client authentication (RFC 6749 section 2.3) and the ledger's own bearer tokens
//! (RFC 6750) for its administration.

use crate::crypto::digest;
use crate::domain::client::AuthMethod;
use crate::domain::command::Command;
use crate::domain::party::Client;
use crate::domain::record::Actor;
use crate::domain::refusal::Refusal;
use crate::domain::state::State;
use crate::edge::fault::Fault;
use crate::edge::throttle::Attempt;
use crate::edge::{Caller, Edge};
use crate::oauth::credentials::PresentedCredentials;
use crate::oauth::error::{ErrorCode, ErrorResponse};
use crate::types::id::ClientId;
use crate::types::scope::Scope;
use crate::types::secret::Secret;
use crate::types::time::Timestamp;

/// What a bearer token of the ledger may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `ledger:admin`: clients, blacklist, keys, erasure.
    Administrator,
    /// `ledger:grant`: grants on behalf of resource owners.
    Login,
    /// `ledger:audit`: reads everything, changes nothing.
    Auditor,
}

impl Role {
    /// The scope token that opens it.
    pub const fn scope(self) -> &'static str {
        match self {
            Self::Administrator => "ledger:admin",
            Self::Login => "ledger:grant",
            Self::Auditor => "ledger:audit",
        }
    }

    fn actor(self, client: ClientId) -> Actor {
        match self {
            Self::Administrator => Actor::Administrator(client),
            Self::Login => Actor::Login(client),
            Self::Auditor => Actor::Auditor(client),
        }
    }
}

/// A request that a client sends in its own name.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// What it presents of itself.
    pub presented: &'a PresentedCredentials,
    /// Which address it calls: the path below the issuer, with its slash.
    pub path: &'a str,
    /// Where it is.
    pub caller: &'a Caller,
}

impl Edge {
    /// The client that the credentials prove.
    ///
    /// # Errors
    /// [`Fault::Unauthenticated`], the same for an unknown client, a wrong secret, an assertion that
    /// proves nothing, and a method that the client is not registered for; a known client's failure
    /// is recorded. [`Fault::Throttled`] after too many of these from one address: come back after
    /// the time named. Unavailable where the use of an assertion could not be recorded.
    pub async fn authenticate(&self, asking: Asking<'_>) -> Result<ClientId, Fault> {
        self.authenticate_and(asking, |_, _, _| ()).await.map(|(client, ())| client)
    }

    /// The client that the credentials prove, and what `look` finds out for it: under the same look
    /// at the state that proves it, and by the same time, as each look waits for the writer. So
    /// `look` is as quick as a look-up.
    ///
    /// # Errors
    /// As [`Edge::authenticate`]; `look` is not asked then.
    pub(super) async fn authenticate_and<T>(
        &self,
        asking: Asking<'_>,
        look: impl FnOnce(&State, &Client, Timestamp) -> T,
    ) -> Result<(ClientId, T), Fault> {
        let Asking { presented, caller, .. } = asking;
        let attempt = Attempt::Client { client_id: presented.client_id(), address: caller.address };
        self.admit(attempt)?;
        let proven = match presented {
            PresentedCredentials::Assertion { client_id, assertion } => {
                let named = client_id.as_ref();
                let proven = self.authenticate_by_assertion(named, assertion, asking).await;
                proven.and_then(|client| {
                    let now = self.ledger.now();
                    let state = self.ledger.state();
                    let known = state.client(&client).ok_or(Refusal::UnknownClient)?;
                    let found = look(&state, known, now);
                    Ok((client, found))
                })
            }
            PresentedCredentials::Basic { .. }
            | PresentedCredentials::Post { .. }
            | PresentedCredentials::None { .. }
            | PresentedCredentials::Absent
            | PresentedCredentials::Malformed { .. } => self.prove(presented, caller, look),
        };
        if matches!(proven, Err(Fault::Unauthenticated { .. })) {
            self.throttle.count(attempt);
        }
        proven
    }

    fn admit(&self, attempt: Attempt<'_>) -> Result<(), Fault> {
        self.throttle.admit(attempt).map_err(|retry_after_s| Fault::Throttled { retry_after_s })
    }

    fn prove<T>(
        &self,
        presented: &PresentedCredentials,
        caller: &Caller,
        look: impl FnOnce(&State, &Client, Timestamp) -> T,
    ) -> Result<(ClientId, T), Fault> {
        let now = self.ledger.now();
        let failed = Fault::Unauthenticated { basic: presented.used_header() };
        let (client_id, method, secret) = match presented {
            PresentedCredentials::Basic { client_id, secret } => {
                (client_id, AuthMethod::ClientSecretBasic, Some(secret))
            }
            PresentedCredentials::Post { client_id, secret } => {
                (client_id, AuthMethod::ClientSecretPost, Some(secret))
            }
            PresentedCredentials::None { client_id } => (client_id, AuthMethod::None, None),
            PresentedCredentials::Assertion { .. }
            | PresentedCredentials::Absent
            | PresentedCredentials::Malformed { .. } => return Err(failed),
        };
        // The digest is taken before the look-up, so that an unknown client takes as long.
        let digest = secret.map(|secret| digest::client_secret(secret.expose()));
        // All is looked at before anything is said, for the same reason.
        let proven = |client: &Client| {
            let accepted = digest.as_ref().is_none_or(|digest| client.accepts(digest, now));
            accepted & (client.metadata.token_endpoint_auth_method == method)
        };
        let found = {
            let state = self.ledger.state();
            let known = state.client(client_id);
            let is_proven = known.or_else(|| state.some_client()).is_some_and(proven);
            known.filter(|_| is_proven).map(|client| look(&state, client, now))
        };
        if let Some(found) = found {
            return Ok((client_id.clone(), found));
        }
        self.note_failure(client_id.clone(), method, caller);
        Err(failed)
    }

    /// Records that a known client did not prove itself. Of a stranger the ledger records nothing; that
    /// is for the writer to find, or the time of the answer would tell.
    pub(super) fn note_failure(&self, client: ClientId, method: AuthMethod, caller: &Caller) {
        let is_public = {
            let state = self.ledger.state();
            state.client(&client).is_some_and(|client| client.metadata.is_public())
        };
        let actor = Actor::Client(client.clone());
        let command = Command::FailAuthentication { client, method: method.as_str().to_owned() };
        // A public client runs on the device of a person, whose address must not stay.
        let origin = (!is_public).then(|| caller.in_clear());
        // Nobody waits for it: an answer that took longer would tell that it exists.
        self.ledger.post(self.asked(actor, origin, command));
    }

    /// The actor that a bearer token of this ledger stands for, in `role`.
    ///
    /// # Errors
    /// [`Fault::Bearer`] when there is no token, it is not valid now, it is not meant for the
    /// ledger itself, or it has another scope. [`Fault::Throttled`] in place of that after too many
    /// tokens from one address that were not valid: come back after the time named. Who has a valid one
    /// is let in all the same: nobody guesses 256 bits, and the door of an emergency stays open.
    pub fn authorize_bearer(
        &self,
        bearer: Option<&Secret>,
        role: Role,
        caller: &Caller,
    ) -> Result<Actor, Fault> {
        let needed = || role.scope().parse::<Scope>().ok();
        let Some(bearer) = bearer else {
            return Err(Fault::Bearer { error: None, scope: needed() });
        };
        let attempt = Attempt::Bearer { address: caller.address };
        let invalid = || {
            if let Err(throttled) = self.admit(attempt) {
                return throttled;
            }
            self.throttle.count(attempt);
            let what = "the access token is unknown, expired, revoked, or not for this server";
            let error = Some(ErrorResponse::new(ErrorCode::InvalidToken, what));
            Fault::Bearer { error, scope: None }
        };
        let now = self.ledger.now();
        let state = self.ledger.state();
        let token = state.token(&digest::access_token(bearer.expose()).short());
        let token = token.filter(|token| state.is_active(token, now)).ok_or_else(invalid)?;
        let grant = state.grant_of(token).ok_or_else(invalid)?;
        if !token.audience.contains(&self.own_resource) {
            return Err(invalid());
        }
        if !token.scope.contains(role.scope()) {
            let what = "the access token does not have the scope that this needs";
            let error = Some(ErrorResponse::new(ErrorCode::InsufficientScope, what));
            return Err(Fault::Bearer { error, scope: needed() });
        }
        Ok(role.actor(grant.client.clone()))
    }
}
