//! An API behind a guard, and its client.

use std::sync::Arc;

use actix_web::{App, HttpServer, web};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use token_ledger::clock::ManualClock;
use token_ledger::guard::Guard;
use token_ledger::guard::access::AccessToken;
use token_ledger::guard::options::{GuardOptions, IntrospectionOptions, JwksOptions};
use token_ledger::guard::refused::Refused;
use token_ledger::types::secret::Secret;
use token_ledger::types::time::Timestamp;

use super::issuer::{ISSUER, Issuer, NOW, RESOURCE};

/// A running API: `/photos` wants any valid token, `/photos/write` wants `photos.write` by its
/// wrap, `/photos/both` that and `photos.read`, `/photos/admin` by its handler, and `/open` has a handler but no guard.
pub(super) struct Api {
    pub(super) url: String,
    pub(super) clock: Arc<ManualClock>,
    client: reqwest::Client,
}

/// What the API answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

async fn show(access: AccessToken) -> web::Json<Value> {
    web::Json(json!({
        "sub": access.subject(), "client_id": access.client_id(), "jti": access.jti(),
        "scope": access.scope(), "exp": access.expires_at().seconds(),
    }))
}

async fn administer(access: AccessToken) -> Result<&'static str, Refused> {
    access.require("photos.write photos.admin")?;
    Ok("done")
}

async fn confused(access: AccessToken) -> Result<&'static str, Refused> {
    access.require("not\"a  scope")?;
    Ok("done")
}

pub(super) fn options() -> GuardOptions {
    let resource = RESOURCE.parse().unwrap();
    GuardOptions {
        realm: "photos".to_owned(),
        answer_timeout_ms: 10_000,
        ..GuardOptions::new(ISSUER, resource)
    }
}

pub(super) fn jwks(issuer: &Issuer) -> JwksOptions {
    JwksOptions::new(issuer.url.parse().unwrap())
}

pub(super) fn introspection(issuer: &Issuer) -> IntrospectionOptions {
    let client = "photos:api".parse().unwrap();
    IntrospectionOptions::new(issuer.url.parse().unwrap(), client, Secret::new("p%ss".to_owned()))
}

impl Api {
    pub(super) fn by_jwks(options: GuardOptions, jwks: JwksOptions) -> Self {
        Self::start(|clock| Guard::by_jwks(options, jwks, clock).unwrap())
    }

    pub(super) fn by_introspection(options: GuardOptions, asks: IntrospectionOptions) -> Self {
        Self::start(|clock| Guard::by_introspection(options, asks, clock).unwrap())
    }

    fn start(guard: impl FnOnce(Arc<ManualClock>) -> Guard) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(NOW)));
        let guard = guard(Arc::clone(&clock));
        let write = guard.scope("photos.write").unwrap();
        let both = write.scope("photos.read").unwrap().scope("").unwrap();
        let server = HttpServer::new(move || {
            let photos = web::scope("/photos")
                .wrap(guard.clone())
                .route("", web::to(show))
                .route("/admin", web::to(administer))
                .route("/confused", web::to(confused))
                .service(web::resource("/both").wrap(both.clone()).to(show))
                .service(web::resource("/write").wrap(write.clone()).to(show));
            App::new().service(photos).route("/open", web::to(show))
        });
        let server = server.workers(2).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        actix_web::rt::spawn(server.run());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, clock, client }
    }

    /// Asks for `path` with these `Authorization` headers.
    pub(super) async fn ask(&self, path: &str, authorization: &[&str]) -> Answer {
        let mut request = self.client.get(format!("{}{path}", self.url));
        for value in authorization {
            request = request.header("authorization", *value);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, body: answer.text().await.unwrap() }
    }

    /// Asks for `/photos` with this token.
    pub(super) async fn show(&self, token: &str) -> Answer {
        self.ask("/photos", &[&format!("Bearer {token}")]).await
    }

    /// Asks for `/photos` with all of these tokens at once.
    pub(super) async fn show_all(&self, tokens: &[String]) -> Vec<Answer> {
        let asked: Vec<_> = tokens.iter().map(|token| Box::pin(self.show(token))).collect();
        let mut running: Vec<_> = asked.into_iter().map(Some).collect();
        let mut answers = Vec::new();
        std::future::poll_fn(|context| {
            for slot in &mut running {
                if let Some(asked) = slot
                    && let std::task::Poll::Ready(answer) = asked.as_mut().poll(context)
                {
                    answers.push(answer);
                    *slot = None;
                }
            }
            if running.iter().all(Option::is_none) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        answers
    }
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} stands there twice: {self:?}");
        value
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether this is the refusal of `status` and `error`, complete in header and body.
    pub(super) fn assert_refused(&self, status: u16, error: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let json = self.json();
        assert_eq!(json["error"], error, "{self:?}");
        let description = json["error_description"].as_str().unwrap();
        assert_eq!(json.as_object().unwrap().len(), 2);
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("content-type"), Some("application/json"));
        let challenge = self.header("www-authenticate").unwrap();
        let start = format!(
            "Bearer realm=\"photos\", error=\"{error}\", error_description=\"{description}\""
        );
        assert!(challenge.starts_with(&start), "{challenge}");
        for attribute in ["realm=", "error=", "error_description=", "scope="] {
            assert!(challenge.matches(&format!(" {attribute}")).count() <= 1, "{challenge}");
        }
        assert_eq!(self.header("retry-after"), None);
    }

    pub(super) fn assert_unavailable(&self) {
        assert_eq!(self.status, 503, "{self:?}");
        assert_eq!(self.json()["error"], "temporarily_unavailable");
        assert!(0 < self.header("retry-after").unwrap().parse::<u32>().unwrap());
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("www-authenticate"), None);
    }
}
