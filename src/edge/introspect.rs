//! Introspection (RFC 7662): a look-up by digest, never a signature check.

use std::sync::Arc;

use serde::Deserialize;

use crate::crypto::digest;
use crate::crypto::jwt::{IntrospectionClaims, decode_part};
use crate::crypto::presented::{Presented, PresentedRefresh};
use crate::domain::client::{AccessTokenFormat, ClientMetadata};
use crate::domain::grant::Grant;
use crate::domain::party::Client;
use crate::domain::state::State;
use crate::edge::Edge;
use crate::edge::authenticate::Asking;
use crate::edge::fault::Fault;
use crate::ledger::vault::VaultError;
use crate::oauth::error::ErrorResponse;
use crate::types::digest::ShortDigest;
use crate::types::id::{ClientId, SubjectId};
use crate::types::resource::Resources;
use crate::types::scope::Scope;
use crate::types::time::Timestamp;

/// What is said of an active token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// What it covers.
    pub scope: Scope,
    /// The client it was issued to.
    pub client_id: ClientId,
    /// Whether it is an access token: only then it has a `token_type`.
    pub is_access_token: bool,
    /// When it expires; none for a refresh token that never does.
    pub exp: Option<Timestamp>,
    /// When it was issued.
    pub iat: Timestamp,
    /// The resource owner, or the client itself.
    pub sub: Option<String>,
    /// The servers it is meant for.
    pub aud: Resources,
    /// The JWT's identifier.
    pub jti: Option<String>,
}

/// The answer to a client that proved who it is.
pub struct Introspected {
    /// Who asked.
    pub caller: ClientId,
    /// What the token stands for, as far as the caller may know; none where it is not active, or not
    /// the caller's business.
    pub active: Option<Active>,
}

/// What introspection takes from a JWT whose digest is known: nobody else made it.
#[derive(Deserialize)]
struct Payload {
    sub: String,
    jti: String,
    iat: u64,
}

/// A token, read before anything is looked up.
enum Asked {
    Refresh(PresentedRefresh),
    /// A code is no access token either; looking takes as long as for one.
    Access(ShortDigest),
}

/// What the state says of a token that is active.
enum Found {
    Refresh(Grant, Arc<ClientMetadata>),
    /// All but `sub` and `jti`, whose it is, and how it is made.
    Access(Active, Option<SubjectId>, AccessTokenFormat),
}

impl Edge {
    /// Proves the client, and says what `token` stands for at present.
    ///
    /// # Errors
    /// As [`Edge::authenticate`], for a public client too: it has proven nothing, and may not probe
    /// tokens (RFC 7662 section 2.1). That of `token` where the request names none. [`Fault`] when
    /// the vault cannot be read.
    pub async fn introspect(
        &self,
        asking: Asking<'_>,
        token: Result<&str, ErrorResponse>,
    ) -> Result<Introspected, Fault> {
        let asked = token.as_ref().map(|text| self.read(text));
        let look = |state: &State, client: &Client, now| {
            if client.metadata.is_public() {
                return Err(Fault::Unauthenticated { basic: asking.presented.used_header() });
            }
            match &asked {
                Ok(asked) => Ok(find(state, client, asked, now)),
                Err(refused) => Err(Fault::Refused((*refused).clone())),
            }
        };
        let (caller, found) = self.authenticate_and(asking, look).await?;
        let active = match found? {
            None => None,
            Some(Found::Refresh(grant, metadata)) => Some(self.refresh_token(&grant, &metadata)?),
            Some(Found::Access(active, subject, format)) => {
                Some(self.access_token(active, subject, format, token.unwrap_or_default())?)
            }
        };
        Ok(Introspected { caller, active })
    }

    fn read(&self, text: &str) -> Asked {
        match self.keyring.tokens().parse(text) {
            Presented::Refresh(presented) => Asked::Refresh(presented),
            Presented::Code(_) | Presented::Access(_) | Presented::Unknown => {
                Asked::Access(digest::access_token(text).short())
            }
        }
    }

    /// `answer`, signed for the client that asked (RFC 9701 section 5) by the algorithm that it
    /// registered.
    ///
    /// # Errors
    /// [`Fault`] when no key signs by it and none can be made.
    pub async fn sign_introspection(
        &self,
        caller: &ClientId,
        answer: &impl serde::Serialize,
    ) -> Result<String, Fault> {
        let alg = self.client(caller)?.metadata.introspection_signed_response_alg;
        let signer = self.signer_or_first(alg).await?;
        let claims = IntrospectionClaims {
            iss: self.issuer.as_str(),
            aud: caller,
            iat: self.ledger.now(),
            token_introspection: answer,
        };
        let signed = signer.sign_introspection(&claims);
        signed.map_err(|_| Fault::Broken("an introspection response is not signed"))
    }

    fn refresh_token(&self, grant: &Grant, metadata: &ClientMetadata) -> Result<Active, Fault> {
        let used_at = grant.refresh_token().map_or(grant.created_at, |refresh| refresh.used_at);
        Ok(Active {
            scope: grant.scope.clone(),
            client_id: grant.client.clone(),
            is_access_token: false,
            exp: grant.refresh_expires_at(used_at, metadata),
            iat: used_at,
            sub: self.sub_of(grant.subject.as_ref())?,
            aud: grant.resources.clone(),
            jti: None,
        })
    }

    /// `active` with what the state does not hold.
    fn access_token(
        &self,
        mut active: Active,
        subject: Option<SubjectId>,
        format: AccessTokenFormat,
        text: &str,
    ) -> Result<Active, Fault> {
        if format == AccessTokenFormat::Jwt {
            // Its digest is ours, so is every byte of it: the claims need no vault.
            let payload = payload(text).ok_or(Fault::Broken("a JWT of ours does not parse"))?;
            active.sub = Some(payload.sub);
            active.jti = Some(payload.jti);
            active.iat = Timestamp::from_seconds(payload.iat);
            return Ok(active);
        }
        active.sub = match subject {
            Some(subject) => self.sub_of(Some(&subject))?,
            None => Some(active.client_id.to_string()),
        };
        Ok(active)
    }

    fn sub_of(&self, subject: Option<&SubjectId>) -> Result<Option<String>, Fault> {
        let Some(subject) = subject else { return Ok(None) };
        let Some(person) = self.vault.person(subject)? else { return Ok(None) };
        Ok(Some(person.sub().map_err(VaultError::from)?.to_string()))
    }
}

fn find(state: &State, caller: &Client, asked: &Asked, now: Timestamp) -> Option<Found> {
    // A client that was disabled or blacklisted learns nothing more: its secret may be stolen.
    if caller.disabled || caller.ban.is_in_force() {
        return None;
    }
    match asked {
        Asked::Refresh(presented) => find_refresh(state, caller, presented, now),
        Asked::Access(digest) => find_access(state, caller, digest, now),
    }
}

fn find_refresh(
    state: &State,
    caller: &Client,
    presented: &PresentedRefresh,
    now: Timestamp,
) -> Option<Found> {
    // All is looked at before anything is said, as for access tokens.
    let current = state.grant(&presented.grant).filter(|grant| {
        let is_own = grant.client == caller.id;
        let is_current = grant.refresh_token().is_some_and(|refresh| {
            (refresh.generation == presented.generation) & (refresh.digest == presented.digest)
        });
        is_own & is_current & state.is_refreshable(grant, now)
    });
    current.map(|grant| Found::Refresh(grant.clone(), Arc::clone(&caller.metadata)))
}

fn find_access(
    state: &State,
    caller: &Client,
    digest: &ShortDigest,
    now: Timestamp,
) -> Option<Found> {
    let known = state.token(digest);
    // All is looked at before anything is said: unknown, expired, revoked and foreign take the same
    // steps, and so the same time.
    let token = known.or_else(|| state.some_token())?;
    let grant = state.grant_of(token)?;
    let is_active = state.is_active(token, now);
    // RFC 7662 section 4: usable at the calling resource server, or its own client's.
    let own = &caller.metadata.resources;
    let addressed = token.audience.iter().any(|resource| own.contains(resource));
    let is_own = grant.client == caller.id;
    if known.is_none() || !is_active || !(is_own || addressed) {
        return None;
    }
    let active = Active {
        scope: token.scope.clone(),
        client_id: grant.client.clone(),
        is_access_token: true,
        exp: Some(token.expires_at),
        iat: token.issued_at,
        sub: None,
        aud: token.audience.clone(),
        jti: None,
    };
    Some(Found::Access(active, grant.subject, token.format))
}

fn payload(jwt: &str) -> Option<Payload> {
    let encoded = jwt.split('.').nth(1)?;
    serde_json::from_slice(&decode_part(encoded)?).ok()
}
