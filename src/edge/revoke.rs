//! Revocation at the client's request (RFC 7009).

use crate::crypto::digest;
use crate::crypto::presented::Presented;
use crate::domain::command::{Command, TokenRef};
use crate::domain::record::Actor;
use crate::edge::fault::Fault;
use crate::edge::{Caller, Edge};
use crate::types::id::{ClientId, GrantId};

impl Edge {
    /// Revokes `token` for its own client; durable when it returns. A token that is unknown,
    /// expired or revoked already is fine (RFC 7009 section 2.2).
    ///
    /// # Errors
    /// `unauthorized_client` for another client's token, which stays as it is; unavailable when it
    /// is not known to be durable: the client must assume that the token still exists.
    pub async fn revoke(
        &self,
        client: &ClientId,
        token: &str,
        caller: &Caller,
    ) -> Result<(), Fault> {
        // The token names its own kind, so a hint has nothing to add.
        let (reference, grant) = match self.keyring.tokens().parse(token) {
            Presented::Refresh(presented) => {
                (TokenRef::OfGrant(presented.grant), Some(presented.grant))
            }
            Presented::Code(presented) => {
                let grant = Some(presented.grant).filter(|grant| self.is_code_revocable(grant));
                (TokenRef::OfGrant(presented.grant), grant)
            }
            Presented::Access(_) | Presented::Unknown => {
                let digest = digest::access_token(token);
                let state = self.ledger.state();
                let kept = state.token(&digest.short());
                let grant = kept.and_then(|kept| state.grant_of(kept)).map(|grant| grant.id);
                (TokenRef::Access(digest), grant)
            }
        };
        let Some(grant) = grant else { return Ok(()) };
        let origin = self.origin_of_grant(&grant, caller)?;
        let command = Command::RevokeToken { client: client.clone(), token: reference };
        let asked = self.asked(Actor::Client(client.clone()), origin, command);
        self.submit(asked).await?.outcome?;
        Ok(())
    }

    /// Whether a code may call its grant back: not once it was exchanged, nor where nobody proves to be
    /// the client, for whoever saw a code pass by must not end a session with it (OAuth 2.1 section
    /// 7.5.2; a code is no token of RFC 7009).
    fn is_code_revocable(&self, grant: &GrantId) -> bool {
        let state = self.ledger.state();
        let Some(grant) = state.grant(grant) else { return false };
        let is_public =
            state.client(&grant.client).is_none_or(|client| client.metadata.is_public());
        !is_public && grant.code().is_some_and(|code| !code.redeemed)
    }

    /// Where a request about a grant came from: sealed where a resource owner gave it.
    pub(super) fn origin_of_grant(
        &self,
        grant: &GrantId,
        caller: &Caller,
    ) -> Result<Option<crate::domain::record::Origin>, Fault> {
        let subject = self.ledger.state().grant(grant).map(|grant| grant.subject);
        match subject {
            Some(Some(subject)) => match self.vault.person(&subject)? {
                Some(person) => Ok(Some(self.sealed_origin(caller, &person)?)),
                None => Ok(None),
            },
            Some(None) | None => Ok(Some(caller.in_clear())),
        }
    }
}
