//! Requests and answers of the demonstration: made, sent over real HTTP, and shown by `narrate`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, USER_AGENT};
use reqwest::{Client, Method};
use serde_json::Value;
use url::form_urlencoded;

use crate::types::secret::Secret;

/// How long one answer may take, in seconds: a step that hangs must end, too.
const ANSWER_TIMEOUT_S: u64 = 15;

/// How a request says who sends it.
#[derive(Clone)]
pub(super) enum Proof {
    /// Not at all.
    None,
    /// `client_secret_basic` (RFC 6749 section 2.3.1).
    Basic { id: String, secret: String },
    /// A bearer token (RFC 6750 section 2.1).
    Bearer(String),
}

/// What a request sends.
#[derive(Clone)]
pub(super) enum Body {
    /// Nothing.
    None,
    /// A form.
    Form(Vec<(&'static str, String)>),
    /// JSON.
    Json(Value),
}

/// A request. It has no `Debug`: it holds tokens.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Where the server is: `http://127.0.0.1:PORT`.
    pub(super) base: String,
    /// Path and query.
    pub(super) path: String,
    pub(super) proof: Proof,
    pub(super) body: Body,
}

impl Call {
    pub(super) fn get(base: &str, path: impl Into<String>) -> Self {
        Self::new(Method::GET, base, path)
    }

    pub(super) fn post(base: &str, path: impl Into<String>) -> Self {
        Self::new(Method::POST, base, path)
    }

    pub(super) fn new(method: Method, base: &str, path: impl Into<String>) -> Self {
        let (base, path) = (base.to_owned(), path.into());
        Self { method, base, path, proof: Proof::None, body: Body::None }
    }

    pub(super) fn bearer(mut self, token: &Secret) -> Self {
        self.proof = Proof::Bearer(token.expose().to_owned());
        self
    }

    pub(super) fn basic(mut self, id: &str, secret: &Secret) -> Self {
        self.proof = Proof::Basic { id: id.to_owned(), secret: secret.expose().to_owned() };
        self
    }

    pub(super) fn form(mut self, members: &[(&'static str, &str)]) -> Self {
        let members = members.iter().map(|(name, value)| (*name, (*value).to_owned()));
        self.body = Body::Form(members.collect());
        self
    }

    pub(super) fn json(mut self, body: Value) -> Self {
        self.body = Body::Json(body);
        self
    }
}

/// An answer.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: &'static str,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// A member of the body that is a text.
    pub(super) fn text_of(&self, name: &str) -> Option<String> {
        Some(self.json().get(name)?.as_str()?.to_owned())
    }

    /// A header, where it is there once and is text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The lines of a body of JSON Lines.
    pub(super) fn lines(&self) -> Vec<Value> {
        self.text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// Someone who sends requests.
#[derive(Clone)]
pub(super) struct Caller {
    /// As the transcript calls it.
    pub(super) name: &'static str,
    http: Client,
}

impl Caller {
    /// A caller that shares the connections of `http`.
    pub(super) fn new(name: &'static str, http: &Client) -> Self {
        Self { name, http: http.clone() }
    }

    /// Sends `call` and reads the whole answer.
    ///
    /// # Errors
    /// What kept the answer away.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer, reqwest::Error> {
        let url = format!("{}{}", call.base, call.path);
        let agent = format!("{}/1.0", self.name);
        let mut request = self.http.request(call.method.clone(), url).header(USER_AGENT, agent);
        request = match &call.proof {
            Proof::None => request,
            Proof::Basic { id, secret } => {
                let pair = STANDARD.encode(format!("{}:{}", form_encode(id), form_encode(secret)));
                request.header(AUTHORIZATION, format!("Basic {pair}"))
            }
            Proof::Bearer(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
        };
        request = match &call.body {
            Body::None => request,
            Body::Form(members) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(members);
                let kind = "application/x-www-form-urlencoded";
                request.header(CONTENT_TYPE, kind).body(form.finish())
            }
            Body::Json(body) => request.json(body),
        };
        let answer = request.send().await?;
        let status = answer.status();
        let headers = answer.headers().clone();
        let text = answer.text().await?;
        let reason = status.canonical_reason().unwrap_or_default();
        Ok(Answer { status: status.as_u16(), reason, headers, text })
    }
}

/// Both halves of Basic credentials are form-encoded first (RFC 6749 section 2.3.1).
fn form_encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// What all callers share: no proxy, and a connection of its own for each request, so that no idle
/// one delays the stop of a server.
///
/// # Errors
/// When the TLS library finds no roots.
pub(super) fn http_client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .timeout(std::time::Duration::from_secs(ANSWER_TIMEOUT_S))
        .build()
}
