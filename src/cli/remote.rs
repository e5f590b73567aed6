//! Talks to a running server as one of its clients. Each question ends in time and takes no more
//! than was allowed; it goes to the addresses of the profile and nowhere else.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Client, Method, RequestBuilder, Response, redirect};
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::cli::console::InputError;
use crate::cli::error::CliError;
use crate::cli::profile::Profile;
use crate::cli::remote_error::{Refused, RemoteError};
use crate::types::id::Seq;
use crate::types::secret::Secret;

/// How many bytes of one answer are read.
pub const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a whole answer may take, in seconds.
pub const ANSWER_TIMEOUT_S: u64 = 30;
/// How long a connection may take, in seconds.
const CONNECT_TIMEOUT_S: u64 = 10;
/// The header that names the next page.
const NEXT_CURSOR: &str = "next-cursor";
/// The header that names the record of the reading.
const AS_OF_SEQ: &str = "as-of-seq";

/// A question to the admin listener.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    answer_bytes_max: usize,
}

impl Call {
    /// A question about what stands at `path`, given by its segments.
    pub fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path)
    }

    /// Something new, or something to be done.
    pub fn post(path: &[&str]) -> Self {
        Self::new(Method::POST, path)
    }

    /// A change of some members.
    pub fn patch(path: &[&str]) -> Self {
        Self::new(Method::PATCH, path)
    }

    /// An end.
    pub fn delete(path: &[&str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: &[&str]) -> Self {
        let path = path.iter().map(|segment| (*segment).to_owned()).collect();
        let answer_bytes_max = ANSWER_BYTES_MAX;
        Self { method, path, query: Vec::new(), body: None, answer_bytes_max }
    }

    /// With an answer that may be longer than [`ANSWER_BYTES_MAX`].
    #[must_use]
    pub fn answer_bytes_max(mut self, bytes_max: usize) -> Self {
        self.answer_bytes_max = bytes_max;
        self
    }

    /// With a parameter in the query, where there is a value for it.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.retain(|(known, _)| *known != name);
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// The URL behind `base`.
    ///
    /// # Errors
    /// [`InputError::DotSegment`] for an identifier that URLs take for a step in the path.
    fn url(&self, base: &Url) -> Result<Url, InputError> {
        if let Some(id) = self.path.iter().find(|segment| matches!(segment.as_str(), "." | "..")) {
            return Err(InputError::DotSegment { id: id.clone() });
        }
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        Ok(url)
    }
}

/// A good answer.
#[derive(Debug)]
pub struct Answer {
    /// The bytes of its body.
    pub body: Vec<u8>,
    /// Where the next page begins, if the headers say so.
    pub next_cursor: Option<String>,
    /// The record of the reading, if the headers name it.
    pub as_of_seq: Option<Seq>,
    server: String,
}

impl Answer {
    /// The body as JSON of the shape `T`.
    ///
    /// # Errors
    /// [`RemoteError::Unexpected`] when it has another shape.
    pub fn json<T: for<'de> Deserialize<'de>>(&self) -> Result<T, RemoteError> {
        serde_json::from_slice(&self.body).map_err(|_| self.unexpected("it is no such JSON"))
    }

    /// For an answer that makes no sense.
    pub fn unexpected(&self, what: &'static str) -> RemoteError {
        RemoteError::Unexpected { server: self.server.clone(), what }
    }
}

/// A successful token response (RFC 6749 section 5.1), as far as it is needed.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    scope: String,
}

/// An error answer (RFC 6749 section 5.2).
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorAnswer {
    error: String,
    error_description: String,
}

/// A server, and the client as which it is asked. The access token lives as long as the run.
pub struct Remote {
    http: Client,
    profile: Profile,
    token: Option<Secret>,
}

impl Remote {
    /// Makes ready; nothing is sent yet.
    ///
    /// # Errors
    /// [`RemoteError::NoHttp`] when the system lacks what TLS needs.
    pub fn new(profile: Profile) -> Result<Self, RemoteError> {
        let mut builder = Client::builder();
        if profile.public.scheme() == "http" && profile.admin.scheme() == "http" {
            // A machine without certificates can still administer a ledger of its own.
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(CONNECT_TIMEOUT_S))
            .timeout(Duration::from_secs(ANSWER_TIMEOUT_S))
            .user_agent(concat!("token-ledger/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| RemoteError::NoHttp { why: innermost(&error) })?;
        Ok(Self { http, profile, token: None })
    }

    /// Whom it talks to, and as whom.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Asks the admin listener.
    ///
    /// # Errors
    /// [`RemoteError`], and [`InputError::DotSegment`]; the hint says whether to ask again.
    pub async fn ask(&mut self, call: &Call) -> Result<Answer, CliError> {
        let url = call.url(&self.profile.admin)?;
        let known = self.token.is_some();
        match self.ask_once(call, &url).await {
            // It expired in a long run. A request that was not authenticated was not done either.
            Err(RemoteError::Refused(refused)) if known && refused.status == 401 => {
                self.token = None;
                Ok(self.ask_once(call, &url).await?)
            }
            answer => Ok(answer?),
        }
    }

    async fn ask_once(&mut self, call: &Call, url: &Url) -> Result<Answer, RemoteError> {
        if self.token.is_none() {
            self.log_in().await?;
        }
        let bearer = self.token.as_ref().map_or("", Secret::expose);
        let header = sensitive(&format!("Bearer {bearer}"));
        let mut request = self.http.request(call.method.clone(), url.clone());
        request = request.header(AUTHORIZATION, header);
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let server = server_of(&self.profile.admin);
        let changes = call.method != Method::GET;
        let (answer, body) = exchange(request, &server, changes, call.answer_bytes_max).await?;
        if !answer.status.is_success() {
            return Err(RemoteError::Refused(Box::new(refused(&answer, &body))));
        }
        let next_cursor = text_of(&answer.headers, NEXT_CURSOR).filter(|c| !c.is_empty());
        let as_of_seq = text_of(&answer.headers, AS_OF_SEQ).and_then(|seq| seq.parse().ok());
        Ok(Answer { body, next_cursor, as_of_seq, server })
    }

    /// The access token, fetched if there is none yet.
    ///
    /// # Errors
    /// As [`Remote::log_in`].
    pub async fn bearer(&mut self) -> Result<Secret, CliError> {
        if self.token.is_none() {
            self.log_in().await?;
        }
        Ok(Secret::new(self.token.as_ref().map_or("", Secret::expose).to_owned()))
    }

    /// Forgets the access token: it may have expired.
    pub fn forget_token(&mut self) {
        self.token = None;
    }

    /// Gets an access token by client credentials (RFC 6749 section 4.4), for all the scope that
    /// the client has. Answers that scope.
    ///
    /// # Errors
    /// [`RemoteError`]; [`RemoteError::NoToken`] when the server does not want this client.
    pub async fn log_in(&mut self) -> Result<String, RemoteError> {
        let url = Call::post(&["oauth", "token"]).url(&self.profile.public);
        let server = server_of(&self.profile.public);
        let unexpected = |what| RemoteError::Unexpected { server: server.clone(), what };
        let url = url.map_err(|_| unexpected("it has no token endpoint"))?;
        let request = self
            .http
            .post(url)
            .header(AUTHORIZATION, self.basic())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials");
        let (answer, body) = exchange(request, &server, false, ANSWER_BYTES_MAX).await?;
        let body = Zeroizing::new(body);
        if !answer.status.is_success() {
            let refusal = Box::new(refused(&answer, &body));
            let client_id = self.profile.client_id.to_string();
            return Err(RemoteError::NoToken { server, client_id, refusal });
        }
        let tokens: TokenAnswer =
            serde_json::from_slice(&body).map_err(|_| unexpected("it is no token response"))?;
        self.token = Some(Secret::new(tokens.access_token));
        Ok(tokens.scope)
    }

    /// A fresh access token, for one who talks to the server by other means.
    ///
    /// # Errors
    /// As [`Remote::log_in`].
    pub async fn into_token(mut self) -> Result<Secret, RemoteError> {
        self.log_in().await?;
        let server = server_of(&self.profile.public);
        self.token.ok_or(RemoteError::Unexpected { server, what: "it holds no token" })
    }

    /// The client's credentials, each form-encoded first (RFC 6749 section 2.3.1).
    fn basic(&self) -> HeaderValue {
        let id = byte_serialize(self.profile.client_id.as_str().as_bytes());
        let secret = byte_serialize(self.profile.client_secret.expose().as_bytes());
        let pair = Zeroizing::new(id.chain([":"]).chain(secret).collect::<String>());
        sensitive(&format!("Basic {}", STANDARD.encode(pair.as_bytes())))
    }
}

/// The head of an answer.
struct Head {
    status: reqwest::StatusCode,
    headers: HeaderMap,
}

async fn exchange(
    request: RequestBuilder,
    server: &str,
    changes: bool,
    bytes_max: usize,
) -> Result<(Head, Vec<u8>), RemoteError> {
    let failed = |error: reqwest::Error| {
        let (server, why) = (server.to_owned(), innermost(&error));
        if error.is_connect() {
            return RemoteError::Unreachable { server, why };
        }
        let late = format!("more than {ANSWER_TIMEOUT_S} s passed");
        let why = if error.is_timeout() { late } else { why };
        RemoteError::NoAnswer { server, why, changes }
    };
    let mut answer: Response = request.send().await.map_err(failed)?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if bytes_max < body.len() + chunk.len() {
            return Err(RemoteError::TooLong { bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok((Head { status: answer.status(), headers: answer.headers().clone() }, body))
}

fn refused(head: &Head, body: &[u8]) -> Refused {
    let said: ErrorAnswer = serde_json::from_slice(body).unwrap_or_default();
    let challenge = text_of(&head.headers, WWW_AUTHENTICATE.as_str());
    Refused {
        status: head.status.as_u16(),
        error: said.error,
        error_description: said.error_description,
        retry_after_s: text_of(&head.headers, RETRY_AFTER.as_str()).and_then(|s| s.parse().ok()),
        scope: challenge.as_deref().and_then(scope_of),
    }
}

/// The `scope` of a challenge (RFC 6750 section 3).
fn scope_of(challenge: &str) -> Option<String> {
    let (_, rest) = challenge.split_once("scope=\"")?;
    let (scope, _) = rest.split_once('"')?;
    Some(scope.to_owned())
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// A header that the HTTP library neither prints nor compresses.
fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Scheme, host and port: what a person recognises, without a path that may hold an identifier.
fn server_of(base: &Url) -> String {
    base.origin().ascii_serialization()
}

/// The cause at the bottom, where the system speaks; what is above it only says that it failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
