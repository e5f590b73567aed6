//! A log as a live server gives it out. It believes nothing that the server says, reads no more
//! than was allowed, and never follows it elsewhere.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, StatusCode, redirect};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::source::{CHECKPOINT, LogSource, SourceError, bytes_max};
use crate::log::tile::{TileId, TileKind};
use crate::types::secret::Secret;

/// How long one file may take, in seconds.
const ANSWER_TIMEOUT_S: u64 = 30;
/// How long a connection may take, in seconds.
const CONNECT_TIMEOUT_S: u64 = 10;

/// The files below a prefix, such as `http://127.0.0.1:8081/log`.
pub struct UrlSource {
    prefix: Url,
    bearer: Option<HeaderValue>,
    client: Client,
    runtime: Runtime,
}

/// Why a server cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum NotAskable {
    /// The text is no address of a server.
    #[error("{text} is no http or https URL")]
    Url {
        /// The text.
        text: String,
    },
    /// The system gives no sockets or threads, or no certificates.
    #[error("no HTTP client can be set up: {0}")]
    Client(String),
}

impl UrlSource {
    /// The log below `prefix`. The records of a ledger that keeps them to auditors need the access
    /// token `bearer`. Nothing is sent yet. Not for use on an asynchronous thread: it waits.
    ///
    /// # Errors
    /// [`NotAskable`].
    pub fn new(prefix: &str, bearer: Option<&Secret>) -> Result<Self, NotAskable> {
        let wrong = || NotAskable::Url { text: prefix.to_owned() };
        let mut url: Url = prefix.parse().map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
            return Err(wrong());
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let bearer = bearer.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))?;
            value.set_sensitive(true);
            Ok(value)
        });
        let bearer = bearer.transpose().map_err(|_: reqwest::header::InvalidHeaderValue| {
            NotAskable::Client("the access token is no token".to_owned())
        })?;
        let mut builder = Client::builder();
        if url.scheme() == "http" {
            // A machine without certificates can still read a ledger of its own.
            builder = builder.tls_certs_only([]);
        }
        let client = builder
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(CONNECT_TIMEOUT_S))
            .timeout(Duration::from_secs(ANSWER_TIMEOUT_S))
            .user_agent(concat!("token-ledger/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| NotAskable::Client(error.to_string()))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| NotAskable::Client(error.to_string()))?;
        Ok(Self { prefix: url, bearer, client, runtime })
    }

    fn fetch(&self, name: &str, kind: Option<TileKind>) -> Result<Option<Vec<u8>>, SourceError> {
        self.runtime.block_on(self.exchange(name, bytes_max(kind)))
    }

    async fn exchange(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let name = self.place(name);
        let failed = |error: reqwest::Error| {
            let why = innermost(&error);
            SourceError::Unreachable { name: name.clone(), why }
        };
        let mut request = self.client.get(&name);
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer.clone());
        }
        let mut answer = request.send().await.map_err(failed)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            other => return Err(SourceError::Refused { name, status: other.as_u16() }),
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes_max < body.len() + chunk.len() {
                return Err(SourceError::TooLong { name, bytes_max });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }
}

impl LogSource for UrlSource {
    fn place(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SourceError> {
        self.fetch(CHECKPOINT, None)
    }

    fn tile(&self, tile: TileId) -> Result<Option<Vec<u8>>, SourceError> {
        self.fetch(&tile.to_string(), Some(tile.kind()))
    }
}

/// The cause at the bottom, where the system speaks; what is above it only says that it failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
