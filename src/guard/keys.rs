//! The issuer's keys, fetched when they are needed: by one request at a time, and never more often
//! than `jwks_refetch_min_s`, whatever the tokens of strangers name.

use std::sync::Arc;

use parking_lot::RwLock;
use url::Url;

use crate::clock::Clock;
use crate::types::id::KeyId;
use crate::types::time::Timestamp;

use super::fetch::{self, FetchError};
use super::jwks::{Found, JWKS_BYTES_MAX, KeySet, NotAKeySet, VerificationKey};
use super::options::{GuardFault, GuardOptions, JwksOptions, SignatureAlgorithm};
use super::refused::Cause;

/// The cached keys of one issuer.
pub(super) struct Keys(Arc<Shared>);

struct Shared {
    client: reqwest::Client,
    jwks_uri: Url,
    algorithms: Vec<SignatureAlgorithm>,
    refetch_min_s: u32,
    max_age_s: u32,
    stale_max_s: u32,
    clock: Arc<dyn Clock>,
    /// Written only by the fetch that holds `flight`.
    state: RwLock<State>,
    /// Held while a fetch is under way.
    flight: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    /// The last set that came whole, and when.
    fetched: Option<(Arc<KeySet>, Timestamp)>,
    attempted_at: Option<Timestamp>,
    /// Counts the fetches, so that who waited for one does not start the next.
    attempts: u64,
    last_failed: bool,
}

/// Why the keys could not be fetched; for the trace only.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Document(#[from] NotAKeySet),
}

impl Keys {
    pub(super) fn new(
        options: &GuardOptions,
        jwks: JwksOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, GuardFault> {
        jwks.check()?;
        options.check_uri("jwks_uri", &jwks.jwks_uri)?;
        // Fetches are rare: a kept connection would only be found broken.
        let client = fetch::client(options)?
            .pool_max_idle_per_host(0)
            .build()
            .map_err(GuardFault::HttpClient)?;
        Ok(Self(Arc::new(Shared {
            client,
            jwks_uri: jwks.jwks_uri,
            algorithms: jwks.algorithms,
            refetch_min_s: jwks.jwks_refetch_min_s,
            max_age_s: jwks.jwks_max_age_s,
            stale_max_s: jwks.jwks_stale_max_s,
            clock,
            state: RwLock::default(),
            flight: Arc::default(),
        })))
    }

    pub(super) fn algorithms(&self) -> &[SignatureAlgorithm] {
        &self.0.algorithms
    }

    /// The key for a token whose header names `key_id` and `algorithm`.
    pub(super) async fn find(
        &self,
        key_id: Option<&KeyId>,
        algorithm: SignatureAlgorithm,
    ) -> Result<Arc<VerificationKey>, Cause> {
        if self.0.younger_than(self.0.max_age_s).is_none() {
            Shared::refetch(&self.0).await;
        }
        let mut found = self.0.find(key_id, algorithm)?;
        if matches!(found, Found::Unknown) {
            // Perhaps the issuer has changed its keys since we looked.
            Shared::refetch(&self.0).await;
            found = self.0.find(key_id, algorithm)?;
        }
        match found {
            Found::Key(key) => Ok(key),
            // The key may be a new one that cannot be had now: no reason to call the token bad.
            Found::Unknown if self.0.state.read().last_failed => Err(self.0.unavailable()),
            Found::Unknown | Found::Mismatch => {
                Err(Cause::InvalidToken("the access token is not signed by a key of the issuer"))
            }
        }
    }
}

impl Shared {
    fn find(&self, key_id: Option<&KeyId>, algorithm: SignatureAlgorithm) -> Result<Found, Cause> {
        let keys = self.younger_than(self.stale_max_s);
        keys.map(|keys| keys.find(key_id, algorithm)).ok_or_else(|| self.unavailable())
    }

    /// The keys, if there are any that were fetched less than `age_s` ago. An empty set counts as
    /// none: the issuer has withdrawn all keys, or is about to publish its first.
    fn younger_than(&self, age_s: u32) -> Option<Arc<KeySet>> {
        let now = self.clock.now();
        let state = self.state.read();
        let (keys, at) = state.fetched.as_ref()?;
        // A clock that was set back does not make them young again.
        let is_young = *at <= now && now.seconds_since(*at) < u64::from(age_s);
        let usable = !keys.is_empty() && is_young;
        usable.then(|| Arc::clone(keys))
    }

    fn unavailable(&self) -> Cause {
        Cause::Unavailable { retry_after_s: self.refetch_min_s }
    }

    /// Fetches the keys, or waits for the fetch that is under way; does nothing when the last one
    /// was too recent. Returns when there is nothing more to wait for, with or without new keys.
    async fn refetch(shared: &Arc<Self>) {
        let seen = shared.state.read().attempts;
        let flight = Arc::clone(&shared.flight).lock_owned().await;
        {
            let mut state = shared.state.write();
            let now = shared.clock.now();
            if state.attempts != seen || !state.is_due(now, shared.refetch_min_s) {
                return;
            }
            state.attempts += 1;
            state.attempted_at = Some(now);
        }
        // A task of its own: a caller who hangs up must not take the fetch down with him.
        let shared = Arc::clone(shared);
        let fetch = tokio::spawn(async move {
            let fetched = shared.fetch().await;
            shared.keep(fetched);
            drop(flight);
        });
        if fetch.await.is_err() {
            tracing::warn!("a fetch of the issuer's keys was cut short");
        }
    }

    async fn fetch(&self) -> Result<KeySet, Failure> {
        let answer = fetch::send(self.client.get(self.jwks_uri.clone())).await?;
        let bytes = fetch::body(answer, JWKS_BYTES_MAX).await?;
        Ok(KeySet::decode(&bytes, &self.algorithms)?)
    }

    fn keep(&self, fetched: Result<KeySet, Failure>) {
        let now = self.clock.now();
        let mut state = self.state.write();
        state.last_failed = fetched.is_err();
        match fetched {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "fetched the issuer's keys");
                state.fetched = Some((Arc::new(keys), now));
            }
            Err(failure) => {
                let uri = self.jwks_uri.as_str();
                tracing::warn!(uri, %failure, "the issuer's keys could not be fetched");
            }
        }
    }
}

impl State {
    fn is_due(&self, now: Timestamp, refetch_min_s: u32) -> bool {
        self.attempted_at.is_none_or(|at| {
            // A clock that was set back must not put the next fetch off until it has caught up.
            now < at || u64::from(refetch_min_s) <= now.seconds_since(at)
        })
    }
}
