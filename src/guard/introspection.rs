//! Asking the issuer about a token (RFC 7662). An answer that is not understood is no answer: it
//! never lets a request through, and never calls a token bad either.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use tokio::sync::Semaphore;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::types::id::ClientId;
use crate::types::secret::Secret;
use crate::types::time::Timestamp;

use super::access::Access;
use super::cache::Cache;
use super::claims::Claims;
use super::fetch::{self, FetchError};
use super::options::{GuardFault, GuardOptions, IntrospectionOptions};
use super::refused::Cause;

/// How many bytes an introspection answer may take.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// After how many seconds a client may try again when the issuer did not answer.
const RETRY_AFTER_S: u32 = 5;

/// Asks one issuer, as one client.
pub(super) struct Introspector {
    client: reqwest::Client,
    endpoint: Url,
    authorization: HeaderValue,
    calls: Semaphore,
    /// Absent unless the options ask for it.
    cache: Option<Mutex<Cache>>,
}

#[derive(serde::Deserialize)]
struct Answer {
    active: bool,
}

/// Why there is no answer; for the trace only.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the answer is not that of RFC 7662 section 2.2")]
    Malformed(#[from] serde_json::Error),
    #[error("too many questions are under way")]
    Overloaded,
}

impl Introspector {
    pub(super) fn new(
        options: &GuardOptions,
        introspection: IntrospectionOptions,
    ) -> Result<Self, GuardFault> {
        introspection.check()?;
        let endpoint = introspection.introspection_endpoint;
        options.check_uri("introspection_endpoint", &endpoint)?;
        let client = fetch::client(options)?.build().map_err(GuardFault::HttpClient)?;
        let authorization = basic(&introspection.client_id, &introspection.client_secret)?;
        let cache = (0 < introspection.cache_s_max).then(|| {
            Mutex::new(Cache::new(introspection.cache_s_max, introspection.cache_entries_max))
        });
        let calls = Semaphore::new(introspection.calls_max.min(Semaphore::MAX_PERMITS));
        Ok(Self { client, endpoint, authorization, calls, cache })
    }

    /// What the issuer says of `token`; only if it is active, and an access token.
    pub(super) async fn introspect(&self, token: &str) -> Result<Claims, Cause> {
        let answered = self.ask(token).await.map_err(|failure| {
            tracing::warn!(%failure, "the issuer gave no usable introspection answer");
            Cause::Unavailable { retry_after_s: RETRY_AFTER_S }
        })?;
        let claims = answered.ok_or(Cause::InvalidToken("the access token is not active"))?;
        // A refresh token may be active, too; it has no `token_type` (RFC 7662 section 2.2 names
        // the types of RFC 6749 section 5.1), and must not open an API.
        match claims.token_type.as_deref() {
            Some(kind) if kind.eq_ignore_ascii_case("Bearer") => Ok(claims),
            Some(_) | None => Err(Cause::InvalidToken("the token is not a bearer access token")),
        }
    }

    async fn ask(&self, token: &str) -> Result<Option<Claims>, Failure> {
        let _call = self.calls.try_acquire().map_err(|_| Failure::Overloaded)?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let request = self
            .client
            .post(self.endpoint.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let answer = fetch::send(request).await?;
        let bytes = fetch::body(answer, ANSWER_BYTES_MAX).await?;
        // Of an inactive token nothing else is read.
        let Answer { active } = serde_json::from_slice(&bytes)?;
        Ok(if active { Some(serde_json::from_slice(&bytes)?) } else { None })
    }

    /// What the issuer said of `token` not long ago.
    pub(super) fn remembered(&self, token: &str, now: Timestamp) -> Option<Access> {
        self.cache.as_ref()?.lock().recall(token, now)
    }

    /// Keeps the answer to a question of `asked_at`.
    pub(super) fn remember(&self, token: &str, access: &Access, asked_at: Timestamp) {
        if let Some(cache) = &self.cache {
            cache.lock().keep(token, access.clone(), asked_at);
        }
    }
}

/// `client_secret_basic`: both halves are form-encoded first (RFC 6749 section 2.3.1).
fn basic(client_id: &ClientId, client_secret: &Secret) -> Result<HeaderValue, GuardFault> {
    let encode = |text: &str| {
        Zeroizing::new(form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>())
    };
    let (id, secret) = (encode(client_id.as_str()), encode(client_secret.expose()));
    let pair = Zeroizing::new(format!("{}:{}", *id, *secret));
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    let mut header = HeaderValue::from_str(&text).map_err(|_| GuardFault::Credentials)?;
    // Keeps it out of every `Debug`.
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_of_the_credentials_are_form_encoded() {
        let client = "photos:api".parse().expect("a client id");
        let header = basic(&client, &Secret::new("a b+c%".to_owned())).expect("a header");
        let text = header.to_str().expect("ASCII").strip_prefix("Basic ").expect("the scheme");
        let pair = STANDARD.decode(text).expect("base64");
        assert_eq!(pair, b"photos%3Aapi:a+b%2Bc%25");
        assert!(!format!("{header:?}").contains("Basic"));
    }
}
