//! `private_key_jwt` (RFC 7523 sections 2.2 and 3): an assertion becomes a proven client, once. All
//! refusals are one and the same to the client; the trace has the reason, never the assertion.

use std::sync::Arc;

use crate::crypto::assertion::{
    Assertion, AssertionRefusal, AudienceRule, ExpectedAssertion, Proven,
};
use crate::crypto::jwk_set::PublicJwkSet;
use crate::domain::client::{AuthMethod, ClientMetadata};
use crate::domain::command::Command;
use crate::domain::record::Actor;
use crate::domain::refusal::Refusal;
use crate::edge::authenticate::Asking;
use crate::edge::fault::Fault;
use crate::edge::{Caller, Edge};
use crate::ledger::handle::SubmitError;
use crate::oauth::response::Metadata;
use crate::types::id::ClientId;
use crate::types::secret::Secret;

/// What is expected of assertions.
#[derive(Debug, Clone, Copy)]
pub struct AssertionLimits {
    /// Which audiences they may name.
    pub audience: AudienceRule,
    /// How far ahead their `exp` may lie, in seconds.
    pub lifetime_s_max: u64,
    /// How far the clocks of both sides may be apart, in seconds; at most
    /// [`crate::domain::assertions::ASSERTION_LEEWAY_S_MAX`].
    pub leeway_s: u64,
    /// How many used ones are remembered at once.
    pub kept_max: usize,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
enum Unproven {
    #[error(transparent)]
    Refused(#[from] AssertionRefusal),
    #[error("the client is unknown, or registered for another method")]
    Client,
    #[error("the client_id beside the assertion is another")]
    OtherClient,
    #[error("the client's keys cannot be had from its jwks_uri")]
    NoKeys,
    #[error("the ledger says: {0}")]
    Ledger(Refusal),
    /// Not known: an answer of its own.
    #[error(transparent)]
    Unavailable(#[from] SubmitError),
}

impl Edge {
    /// The client that `text` proves. That it was used is durable then.
    ///
    /// # Errors
    /// [`Fault::Unauthenticated`] for everything that is wrong with it, recorded where the client
    /// is known; unavailable where its use could not be recorded. The client makes another.
    pub(super) async fn authenticate_by_assertion(
        &self,
        named: Option<&ClientId>,
        text: &Secret,
        asking: Asking<'_>,
    ) -> Result<ClientId, Fault> {
        let read = Assertion::parse(Secret::new(text.expose().to_owned()));
        let claimed = named.or_else(|| read.as_ref().ok().map(Assertion::client)).cloned();
        let proven = match &read {
            Ok(assertion) => self.prove_assertion(named, assertion, asking).await,
            Err(refusal) => Err((*refusal).into()),
        };
        match proven {
            Ok(client) => Ok(client),
            Err(Unproven::Unavailable(error)) => Err(error.into()),
            Err(
                reason @ (Unproven::Refused(_)
                | Unproven::Client
                | Unproven::OtherClient
                | Unproven::NoKeys
                | Unproven::Ledger(_)),
            ) => {
                let client = claimed.as_ref().map_or("", ClientId::as_str);
                tracing::info!(client, %reason, "an assertion was refused");
                if let Some(client) = claimed {
                    self.note_failure(client, AuthMethod::PrivateKeyJwt, asking.caller);
                }
                Err(Fault::Unauthenticated { basic: false })
            }
        }
    }

    async fn prove_assertion(
        &self,
        named: Option<&ClientId>,
        assertion: &Assertion,
        asking: Asking<'_>,
    ) -> Result<ClientId, Unproven> {
        let client = assertion.client();
        let token_endpoint = self.issuer.endpoint(Metadata::TOKEN_PATH);
        let endpoint = self.issuer.endpoint(asking.path);
        let AssertionLimits { audience, lifetime_s_max, leeway_s, .. } = self.assertion_limits;
        let expected = ExpectedAssertion {
            issuer: self.issuer.as_str(),
            endpoints: [&token_endpoint, &endpoint],
            audience,
            lifetime_s_max,
            leeway_s,
        };
        if named.is_some_and(|named| named != client) {
            return Err(Unproven::OtherClient);
        }
        let metadata = {
            let state = self.ledger.state();
            state.client(client).map(|client| Arc::clone(&client.metadata))
        };
        let has_keys = |metadata: &Arc<ClientMetadata>| {
            metadata.token_endpoint_auth_method == AuthMethod::PrivateKeyJwt
        };
        let Some(metadata) = metadata.filter(has_keys) else {
            assertion.prove_in_vain(&expected, self.ledger.now());
            return Err(Unproven::Client);
        };
        let fetched;
        let keys = match &metadata.jwks {
            Some(registered) => registered,
            None => {
                fetched = self.fetched_keys_of(client, &metadata, assertion).await;
                let Some(fetched) = &fetched else {
                    assertion.prove_in_vain(&expected, self.ledger.now());
                    return Err(Unproven::NoKeys);
                };
                fetched
            }
        };
        // By the log's time, by which what was used is forgotten: by a clock that was set back an
        // assertion would prove a second time.
        let proven = assertion.prove(keys, &expected, self.ledger.now())?;
        self.use_up(client, proven, asking.caller).await?;
        Ok(client.clone())
    }

    async fn fetched_keys_of(
        &self,
        client: &ClientId,
        metadata: &ClientMetadata,
        assertion: &Assertion,
    ) -> Option<Arc<PublicJwkSet>> {
        let lacks = |keys: &PublicJwkSet| assertion.needs_other_keys(keys);
        let uri = metadata.jwks_uri.as_ref()?;
        self.client_keys.of(client, uri, self.ledger.now(), lacks).await
    }

    /// Makes it durable that the assertion was used, before the request goes on: it proves nothing
    /// a second time, also after a restart (RFC 7523 section 3, item 7).
    async fn use_up(
        &self,
        client: &ClientId,
        proven: Proven,
        caller: &Caller,
    ) -> Result<(), Unproven> {
        let command = Command::UseAssertion {
            client: client.clone(),
            digest: proven.digest,
            expires_at: proven.expires_at,
            kept_max: self.assertion_limits.kept_max,
        };
        let actor = Actor::Client(client.clone());
        let asked = self.asked(actor, Some(caller.in_clear()), command);
        match self.ledger.submit(asked).await?.outcome {
            Ok(_) => Ok(()),
            Err(Refusal::AssertionsFull) => {
                tracing::warn!("assertions_kept_max is reached: no assertion is accepted for now");
                Err(SubmitError::Overloaded.into())
            }
            Err(refusal) => Err(Unproven::Ledger(refusal)),
        }
    }
}
