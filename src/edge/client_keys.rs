//! The keys that clients publish at their `jwks_uri`: fetched when needed, by one request for each
//! client at a time, bounded in time and size. Whose keys cannot be had proves nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{StatusCode, redirect};

use crate::crypto::jwk_set::{NotAJwkSet, PublicJwkSet};
use crate::domain::client::keys::JwksUri;
use crate::types::id::ClientId;
use crate::types::time::Timestamp;

/// How many bytes a client's key set may take.
pub const CLIENT_JWKS_BYTES_MAX: usize = 64 * 1024;

/// The bounds of fetching.
#[derive(Debug, Clone, Copy)]
pub struct ClientKeyLimits {
    /// How long fetched keys are used, in seconds.
    pub max_age_s: u64,
    /// The shortest time between two fetches for one client, in seconds.
    pub refetch_min_s: u64,
    /// How long a fetch may take, in milliseconds.
    pub timeout_ms: u64,
    /// How many clients' keys are kept.
    pub clients_max: usize,
}

/// The fetched keys of all clients. The time comes in as an argument.
pub struct ClientKeys {
    http: reqwest::Client,
    limits: ClientKeyLimits,
    clients: Mutex<HashMap<ClientId, Arc<Published>>>,
}

/// What one client publishes.
struct Published {
    uri: JwksUri,
    state: Mutex<State>,
    /// Held while a fetch is under way.
    flight: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    /// The last set that came whole, and when.
    fetched: Option<(Arc<PublicJwkSet>, Timestamp)>,
    attempted_at: Option<Timestamp>,
    used_at: Timestamp,
    /// Counts the fetches, so that who waited for one does not start the next.
    attempts: u64,
}

/// Why keys could not be fetched; for the trace only.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no whole answer came: {0}")]
    Transport(#[source] reqwest::Error),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("the answer is longer than 65536 bytes")]
    TooLong,
    #[error(transparent)]
    Document(#[from] NotAJwkSet),
}

impl ClientKeys {
    /// No keys yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up, for want of root certificates say.
    pub fn new(limits: ClientKeyLimits) -> Result<Self, reqwest::Error> {
        // Only where the client registered: neither by a redirect nor by a proxy that the
        // environment names. Fetches are rare, and a kept connection would be found broken.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_millis(limits.timeout_ms))
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { http, limits, clients: Mutex::default() })
    }

    /// The keys that `client` publishes at `uri`, fetched again where those at hand are too old or
    /// `lacks` says that the wanted one is not among them. `None` where none could be had.
    pub async fn of(
        &self,
        client: &ClientId,
        uri: &JwksUri,
        now: Timestamp,
        lacks: impl Fn(&PublicJwkSet) -> bool,
    ) -> Option<Arc<PublicJwkSet>> {
        let published = self.published(client, uri, now);
        let kept = published.younger_than(self.limits.max_age_s, now);
        if let Some(kept) = kept.filter(|keys| !lacks(keys)) {
            return Some(kept);
        }
        self.refetch(client, &published, now).await;
        published.younger_than(self.limits.max_age_s, now)
    }

    /// The entry of `client`; that of another URI is of no use any more.
    fn published(&self, client: &ClientId, uri: &JwksUri, now: Timestamp) -> Arc<Published> {
        let mut clients = self.clients.lock();
        if let Some(kept) = clients.get(client).filter(|kept| kept.uri == *uri) {
            kept.state.lock().used_at = now;
            return Arc::clone(kept);
        }
        if self.limits.clients_max <= clients.len() && !clients.contains_key(client) {
            let oldest = clients.iter().min_by_key(|(_, kept)| kept.state.lock().used_at);
            if let Some(oldest) = oldest.map(|(client, _)| client.clone()) {
                clients.remove(&oldest);
            }
        }
        let state = Mutex::new(State { used_at: now, ..State::default() });
        let fresh = Arc::new(Published { uri: uri.clone(), state, flight: Arc::default() });
        clients.insert(client.clone(), Arc::clone(&fresh));
        fresh
    }

    /// Fetches, or waits for the fetch that is under way; does nothing where the last one was too
    /// recent. Returns when there is nothing more to wait for, with or without new keys.
    async fn refetch(&self, client: &ClientId, published: &Arc<Published>, now: Timestamp) {
        let seen = published.state.lock().attempts;
        let flight = Arc::clone(&published.flight).lock_owned().await;
        {
            let mut state = published.state.lock();
            if state.attempts != seen || !state.is_due(now, self.limits.refetch_min_s) {
                return;
            }
            state.attempts += 1;
            state.attempted_at = Some(now);
        }
        // A task of its own: a caller who hangs up must not take the fetch down with him.
        let (http, published) = (self.http.clone(), Arc::clone(published));
        let client = client.clone();
        let task = tokio::spawn(async move {
            match fetch(&http, &published.uri).await {
                Ok(keys) => {
                    tracing::debug!(%client, keys = keys.keys().len(), "fetched a client's keys");
                    published.state.lock().fetched = Some((Arc::new(keys), now));
                }
                Err(failure) => {
                    let uri = published.uri.as_str();
                    tracing::warn!(%client, uri, %failure, "a client's keys could not be fetched");
                }
            }
            drop(flight);
        });
        if task.await.is_err() {
            tracing::warn!("a fetch of a client's keys was cut short");
        }
    }
}

impl Published {
    fn younger_than(&self, age_s: u64, now: Timestamp) -> Option<Arc<PublicJwkSet>> {
        let state = self.state.lock();
        let (keys, at) = state.fetched.as_ref()?;
        (now.seconds_since(*at) < age_s).then(|| Arc::clone(keys))
    }
}

impl State {
    fn is_due(&self, now: Timestamp, refetch_min_s: u64) -> bool {
        self.attempted_at.is_none_or(|at| refetch_min_s <= now.seconds_since(at))
    }
}

/// One bounded question; only 200 is an answer.
async fn fetch(http: &reqwest::Client, uri: &JwksUri) -> Result<PublicJwkSet, FetchError> {
    let transport = |error: reqwest::Error| FetchError::Transport(error.without_url());
    let mut answer = http.get(uri.as_str()).send().await.map_err(transport)?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status(answer.status()));
    }
    let announced = answer.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| (CLIENT_JWKS_BYTES_MAX as u64) < length) {
        return Err(FetchError::TooLong);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(transport)? {
        if CLIENT_JWKS_BYTES_MAX < bytes.len() + chunk.len() {
            return Err(FetchError::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(PublicJwkSet::decode(&bytes)?)
}
