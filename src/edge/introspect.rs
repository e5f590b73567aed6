//! Introspection (RFC 7662): a look-up by digest, never a signature check.

use serde::Deserialize;

use crate::crypto::digest;
use crate::crypto::jwt::IntrospectionClaims;
use crate::crypto::presented::Presented;
use crate::domain::client::AccessTokenFormat;
use crate::domain::grant::Grant;
use crate::edge::Edge;
use crate::edge::fault::Fault;
use crate::ledger::vault::VaultError;
use crate::types::id::{ClientId, SubjectId};
use crate::types::resource::Resources;
use crate::types::scope::Scope;
use crate::types::secret::Secret;
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

/// What introspection takes from a JWT whose digest is known: nobody else made it.
#[derive(Deserialize)]
struct Payload {
    sub: String,
    jti: String,
    iat: u64,
}

impl Edge {
    /// What `token` stands for at present, as far as the calling client may know; none where it is
    /// not active, or not the caller's business.
    ///
    /// # Errors
    /// [`Fault`] when the vault cannot be read.
    pub fn introspect(&self, caller: &ClientId, token: &Secret) -> Result<Option<Active>, Fault> {
        if !self.may_ask(caller) {
            return Ok(None);
        }
        match self.keyring.tokens().parse(token.expose()) {
            Presented::Refresh(presented) => {
                let now = self.ledger.now();
                let found = {
                    let state = self.ledger.state();
                    let grant = state.grant(&presented.grant);
                    // All is looked at before anything is said, as for access tokens.
                    let current = grant.filter(|grant| {
                        let is_own = grant.client == *caller;
                        let is_current = grant.refresh_token().is_some_and(|refresh| {
                            (refresh.generation == presented.generation)
                                & (refresh.digest == presented.digest)
                        });
                        is_own & is_current & state.is_refreshable(grant, now)
                    });
                    current.map(|grant| {
                        let metadata = state.client(&grant.client).map(|c| c.metadata.clone());
                        (grant.clone(), metadata)
                    })
                };
                let Some((grant, Some(metadata))) = found else { return Ok(None) };
                let used_at =
                    grant.refresh_token().map_or(grant.created_at, |refresh| refresh.used_at);
                let exp = grant.refresh_expires_at(used_at, &metadata);
                self.refresh_token(&grant, exp, used_at).map(Some)
            }
            // A code is no access token either; looking takes as long as for one.
            Presented::Code(_) | Presented::Access(_) | Presented::Unknown => {
                self.access_token(caller, token.expose())
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

    /// A client that was disabled or blacklisted learns nothing more: its secret may be stolen.
    fn may_ask(&self, caller: &ClientId) -> bool {
        let state = self.ledger.state();
        state.client(caller).is_some_and(|client| !client.disabled && !client.ban.is_in_force())
    }

    fn refresh_token(
        &self,
        grant: &Grant,
        exp: Option<Timestamp>,
        iat: Timestamp,
    ) -> Result<Active, Fault> {
        Ok(Active {
            scope: grant.scope.clone(),
            client_id: grant.client.clone(),
            is_access_token: false,
            exp,
            iat,
            sub: self.sub_of(grant.subject.as_ref())?,
            aud: grant.resources.clone(),
            jti: None,
        })
    }

    fn access_token(&self, caller: &ClientId, text: &str) -> Result<Option<Active>, Fault> {
        let digest = digest::access_token(text).short();
        let now = self.ledger.now();
        let (mut active, subject, format) = {
            let state = self.ledger.state();
            let known = state.token(&digest);
            // All is looked at before anything is said: unknown, expired, revoked and foreign take
            // the same steps, and so the same time.
            let Some(token) = known.or_else(|| state.some_token()) else { return Ok(None) };
            let Some(grant) = state.grant_of(token) else { return Ok(None) };
            let is_active = state.is_active(token, now);
            // RFC 7662 section 4: usable at the calling resource server, or its own client's.
            let asking = state.client(caller).map(|client| &client.metadata.resources);
            let addressed = asking.is_some_and(|resources| {
                token.audience.iter().any(|resource| resources.contains(resource))
            });
            let is_own = grant.client == *caller;
            if known.is_none() || !is_active || !(is_own || addressed) {
                return Ok(None);
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
            (active, grant.subject, token.format)
        };
        if format == AccessTokenFormat::Jwt {
            // Its digest is ours, so is every byte of it: the claims need no vault.
            let payload = payload(text).ok_or(Fault::Broken("a JWT of ours does not parse"))?;
            active.sub = Some(payload.sub);
            active.jti = Some(payload.jti);
            active.iat = Timestamp::from_seconds(payload.iat);
            return Ok(Some(active));
        }
        active.sub = match subject {
            Some(subject) => self.sub_of(Some(&subject))?,
            None => Some(active.client_id.to_string()),
        };
        Ok(Some(active))
    }

    fn sub_of(&self, subject: Option<&SubjectId>) -> Result<Option<String>, Fault> {
        let Some(subject) = subject else { return Ok(None) };
        let Some(person) = self.vault.person(subject)? else { return Ok(None) };
        Ok(Some(person.sub().map_err(VaultError::from)?.to_string()))
    }
}

fn payload(jwt: &str) -> Option<Payload> {
    let encoded = jwt.split('.').nth(1)?;
    serde_json::from_slice(&crate::crypto::jwt::decode_part(encoded)?).ok()
}
