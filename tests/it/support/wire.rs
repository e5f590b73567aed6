//! Requests and answers over HTTP as the tests see them: nothing of an answer is passed over.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use serde_json::Value;

/// A form's content type.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// A client of the service, and everything that errors told it.
#[derive(Clone)]
pub(crate) struct Wire {
    http: reqwest::Client,
    errors: Arc<Mutex<Vec<String>>>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// The same, where it is no text.
    pub(crate) bytes: Vec<u8>,
}

/// A request before it is sent.
#[derive(Clone)]
pub(crate) struct Call {
    method: Method,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Wire {
    /// A client at `address` that calls itself `user_agent`.
    pub(crate) fn new(address: &str, user_agent: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .local_address(address)
            .user_agent(user_agent)
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Self { http, errors: Arc::default() }
    }

    /// Sends `call`, or says why there is no answer.
    pub(crate) async fn try_send(&self, call: Call) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.request(call.method, &call.url);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        if let Some(body) = call.body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?.to_vec();
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let answer = Answer { status, headers, body, bytes };
        if 400 <= status {
            self.errors.lock().unwrap().push(format!("{:?} {}", answer.headers, answer.body));
        }
        Ok(answer)
    }

    /// Sends `call`.
    pub(crate) async fn send(&self, call: Call) -> Answer {
        self.try_send(call).await.unwrap()
    }

    /// Every error answer so far, with its headers.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap().clone()
    }
}

impl Call {
    pub(crate) fn new(method: &str, url: impl Into<String>) -> Self {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Self { method, url: url.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header(CONTENT_TYPE.as_str(), content_type)
    }

    pub(crate) fn form(self, parameters: &[(&str, &str)]) -> Self {
        self.body(FORM, encode(parameters))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn basic(self, id: &str, secret: &str) -> Self {
        let pair = format!("{}:{}", encode_one(id), encode_one(secret));
        self.header(AUTHORIZATION.as_str(), format!("Basic {}", STANDARD.encode(pair)))
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), format!("Bearer {token}"))
    }
}

/// A form, percent-encoded.
pub(crate) fn encode(parameters: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(parameters).finish()
}

fn encode_one(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// One header, empty where it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The answer, which must be `status`.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Checks that it is the JSON of an error (RFC 6749 section 5.2), as no cache may keep it.
    #[track_caller]
    pub(crate) fn fails_with(self, status: u16, error: &str) -> Self {
        assert_eq!((self.status, self.json()["error"].as_str()), (status, Some(error)), "{self:?}");
        let body = self.json();
        let description = body["error_description"].as_str().unwrap_or_default();
        let allowed = |c: u8| matches!(c, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        assert!(description.bytes().all(allowed), "{self:?}");
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        self.uncached()
    }

    /// Checks that no cache may keep it (RFC 6749 section 5.1).
    #[track_caller]
    pub(crate) fn uncached(self) -> Self {
        let caching = (self.header("cache-control"), self.header("pragma"));
        assert_eq!(caching, ("no-store", "no-cache"), "{self:?}");
        self
    }

    /// A member of the JSON body that is a string.
    #[track_caller]
    pub(crate) fn text(&self, member: &str) -> String {
        let body = self.json();
        body[member].as_str().unwrap_or_else(|| panic!("no {member}: {self:?}")).to_owned()
    }

    /// The records of an answer in JSON Lines.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The types of the records, oldest first.
    pub(crate) fn types(&self) -> Vec<String> {
        self.records().iter().map(|record| record["type"].as_str().unwrap().to_owned()).collect()
    }
}

/// Runs all of them at once; the answers in their order.
pub(crate) async fn together<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for (one, answer) in waiting.iter_mut().filter(|(_, answer)| answer.is_none()) {
            match one.as_mut().poll(context) {
                Poll::Ready(ready) => *answer = Some(ready),
                Poll::Pending => is_done = false,
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, answer)| answer).collect()
}
