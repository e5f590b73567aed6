//! Making an access token before the decision is known: it is shown only when the ledger has it.

use std::sync::Arc;

use crate::crypto::digest;
use crate::crypto::jwt::{AccessTokenClaims, new_jti};
use crate::domain::client::{AccessTokenFormat, ClientMetadata};
use crate::domain::command::{Draft, NoDraft};
use crate::edge::Edge;
use crate::edge::fault::Fault;
use crate::oauth::credentials::BEARER_BYTES_MAX;
use crate::types::id::{ClientId, GrantId};
use crate::types::resource::Resources;
use crate::types::scope::Scope;
use crate::types::secret::Secret;
use crate::types::time::Timestamp;

/// What an access token is made of.
pub(super) struct Wanted<'a> {
    /// The grant it descends from.
    pub(super) grant: GrantId,
    /// The client it is for.
    pub(super) client: &'a ClientId,
    /// The client's metadata of today.
    pub(super) metadata: &'a ClientMetadata,
    /// The resource owner's `sub`, or the client's identifier where there is none.
    pub(super) sub: &'a str,
    /// What was granted.
    pub(super) granted: &'a Scope,
    /// For which servers it was granted.
    pub(super) resources: &'a Resources,
    /// What is asked for of it; none leaves it whole.
    pub(super) scope: Option<&'a Scope>,
    /// Which of the servers; none leaves all.
    pub(super) audience: Option<&'a Resources>,
    /// No token of the grant lives longer than this.
    pub(super) not_after: Option<Timestamp>,
}

/// An access token that nobody has seen yet.
pub(super) struct Prepared {
    /// What the command needs of it.
    pub(super) draft: Box<Draft>,
    /// What the client gets.
    pub(super) token: Secret,
    /// Seconds until it expires.
    pub(super) expires_in: u64,
}

impl Edge {
    /// The issuer itself.
    pub(super) fn own_resources(&self) -> Resources {
        Resources::new(vec![self.own_resource.clone()]).unwrap_or_default()
    }

    /// Makes an access token as `wanted`.
    ///
    /// # Errors
    /// The outer error is a fault of this server; the inner one is for the decision to refuse.
    pub(super) fn prepare(
        &self,
        now: Timestamp,
        wanted: &Wanted<'_>,
    ) -> Result<Result<Prepared, NoDraft>, Fault> {
        let scope = match wanted.scope {
            Some(asked) if !asked.is_within(wanted.granted) => return Ok(Err(NoDraft::Scope)),
            Some(asked) => asked.clone(),
            None => wanted.granted.clone(),
        };
        // A grant without resources is for the issuer itself: the default of RFC 9068 section 3.
        let granted = match wanted.resources.is_empty() {
            true => self.own_resources(),
            false => wanted.resources.clone(),
        };
        let audience = match wanted.audience {
            Some(asked) if !asked.is_within(&granted) => return Ok(Err(NoDraft::Target)),
            Some(asked) => asked.clone(),
            None => granted,
        };
        let wall = self.ledger.wall_clock();
        let lifetime_s = u64::from(wanted.metadata.access_token_lifetime_s);
        // Whole seconds, as on the wire: the record says exactly what the token says.
        let issued_at = Timestamp::from_seconds(now.seconds());
        let expires_at = issued_at.plus_seconds(lifetime_s);
        let expires_at = wanted.not_after.map_or(expires_at, |last| expires_at.min(last));
        let expires_at = Timestamp::from_seconds(expires_at.seconds());
        let expires_in = expires_at.seconds_since(issued_at);
        let format = wanted.metadata.access_token_format;
        let (token, jti, key) = match format {
            AccessTokenFormat::Opaque => {
                let minted = self.keyring.tokens().mint_access(wanted.grant, self.entropy.as_ref());
                (minted.token, None, None)
            }
            AccessTokenFormat::Jwt => {
                let jti = new_jti(wanted.grant, self.entropy.as_ref());
                let claims = AccessTokenClaims {
                    iss: Arc::from(self.issuer.as_str()),
                    sub: Arc::from(wanted.sub),
                    aud: audience.clone(),
                    client_id: wanted.client.clone(),
                    scope: scope.clone(),
                    // Where the clock was put forward and right again, nobody is shown the future.
                    iat: issued_at.min(Timestamp::from_seconds(wall.seconds())),
                    exp: expires_at,
                    jti: jti.clone(),
                };
                let signer = self.signer(wanted.metadata.access_token_signing_alg, now)?;
                let signed = signer.sign_access_token(&claims);
                let token = signed.map_err(|_| Fault::Broken("an access token is not signed"))?;
                // Nobody could show it anywhere: it is the audience that makes a token so long.
                if BEARER_BYTES_MAX < token.expose().len() {
                    return Ok(Err(NoDraft::Target));
                }
                (token, Some(jti), Some(signer.kid().clone()))
            }
        };
        let digest = digest::access_token(token.expose());
        let draft = Draft { digest, jti, format, key, scope, audience, expires_at };
        Ok(Ok(Prepared { draft: Box::new(draft), token, expires_in }))
    }
}
