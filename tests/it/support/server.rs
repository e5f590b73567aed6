//! A real service on loopback port 0 over a real directory: the only constructor of one for tests.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;
use token_ledger::clock::{Clock, ManualClock};
use token_ledger::config::settings::{Config, RawConfig};
use token_ledger::domain::client::{ClientMetadata, GrantType};
use token_ledger::entropy::OsEntropy;
use token_ledger::ledger::open::{Beginning, create};
use token_ledger::oauth::pkce::CodeChallenge;
use token_ledger::run::error::RunError;
use token_ledger::run::{Running, start};
use token_ledger::types::secret::Secret;
use token_ledger::types::time::Timestamp;

use crate::support::wire::{Answer, Call, Wire};

/// When every test begins.
pub(crate) const NOW_S: u64 = 1_800_000_000;
/// The issuer of every test; its path is part of the addresses.
pub(crate) const ISSUER: &str = "https://ledger.example/t";
/// The resource that the client `photos` gets tokens for, and `api` asks about.
pub(crate) const API: &str = "https://api.example/photos";
/// Another one, of both.
pub(crate) const API2: &str = "https://api.example/prints";
pub(crate) const CALLBACK: &str = "https://photos.example/cb";
/// The verifier of every code.
pub(crate) const VERIFIER: &str = "canary-verifier-0123456789-abcdefghijklmnopqr";
/// The cache that tests give a database.
pub(crate) const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// A client as its owner knows it.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    pub(crate) id: String,
    pub(crate) secret: Option<String>,
}

/// What a token request gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) grant: String,
}

/// A service with its administrator and a handful of clients.
pub(crate) struct Server {
    pub(crate) directory: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) config: Config,
    pub(crate) wire: Wire,
    running: Option<Running>,
    pub(crate) administrator: Party,
    /// A web application: codes, refresh tokens, `read write` at `API` and `API2`.
    pub(crate) photos: Party,
    /// The resource server behind `API`.
    pub(crate) api: Party,
    login: Party,
    auditor: Party,
    pub(crate) admin_token: String,
    pub(crate) login_token: String,
    pub(crate) audit_token: String,
    seen: Arc<Mutex<Vec<String>>>,
}

/// The configuration of every test, changed by `change`.
pub(crate) fn config(change: impl FnOnce(&mut RawConfig)) -> Config {
    let mut raw = RawConfig {
        listen: "127.0.0.1:0".to_owned(),
        admin_listen: "127.0.0.1:0".to_owned(),
        workers: 1,
        sled_cache_bytes_max: CACHE_BYTES,
        ..RawConfig::default()
    };
    change(&mut raw);
    Config::try_from(raw).unwrap()
}

/// The first administrator's metadata.
pub(crate) fn administrator() -> ClientMetadata {
    ClientMetadata {
        grant_types: [GrantType::ClientCredentials].into(),
        scope: "ledger:admin".parse().unwrap(),
        access_token_lifetime_s: 86_400,
        ..ClientMetadata::default()
    }
}

fn nobody() -> Party {
    Party { id: String::new(), secret: None }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut RawConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(NOW_S)));
        let beginning = Beginning {
            issuer: ISSUER,
            origin: "ledger.example/t",
            administrator: administrator(),
        };
        let path = directory.path().join("data");
        let first = create(&path, beginning, CACHE_BYTES, clock.clone(), &OsEntropy).unwrap();
        let secret = Some(first.secret.expose().to_owned());
        let administrator = Party { id: first.client.to_string(), secret };
        let mut server = Self {
            directory,
            clock,
            config: config(change),
            wire: Wire::new("127.0.0.1", "operator/1"),
            running: None,
            administrator,
            photos: nobody(),
            api: nobody(),
            login: nobody(),
            auditor: nobody(),
            admin_token: String::new(),
            login_token: String::new(),
            audit_token: String::new(),
            seen: Arc::default(),
        };
        server.running = Some(server.run().await.unwrap());
        server.renew_admin().await;
        server.cast().await;
        server.renew().await;
        server
    }

    /// Runs the service on what is in the directory.
    pub(crate) async fn run(&self) -> Result<Running, RunError> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        start(&self.data(), &self.config, clock, Arc::new(OsEntropy), |_| {}).await
    }

    async fn cast(&mut self) {
        let operator = |id: &str, scope: &str| {
            json!({ "client_id": id, "grant_types": ["client_credentials"], "scope": scope,
                    "access_token_lifetime_s": 86_400 })
        };
        self.login = self.register(operator("login", "ledger:grant")).await;
        self.auditor = self.register(operator("auditor", "ledger:audit")).await;
        self.photos = self.register(photos("photos")).await;
        let api = json!({ "client_id": "api", "grant_types": [], "resources": [API, API2] });
        self.api = self.register(api).await;
    }

    /// New tokens for those who administer, after the old ones died.
    pub(crate) async fn renew(&mut self) {
        self.renew_admin().await;
        self.login_token = self.own_token(&self.login, &[]).await;
        self.audit_token = self.own_token(&self.auditor, &[]).await;
    }

    pub(crate) async fn renew_admin(&mut self) {
        self.admin_token = self.own_token(&self.administrator, &[]).await;
    }

    /// An access token by client credentials.
    pub(crate) async fn own_token(&self, client: &Party, more: &[(&str, &str)]) -> String {
        let form = [&[("grant_type", "client_credentials")], more].concat();
        let token = self.token(client, &form).await.is(200).text("access_token");
        self.keep(&token);
        token
    }

    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// Stops cleanly.
    pub(crate) async fn stop(&mut self) {
        self.running.take().unwrap().stop().await.unwrap();
    }

    pub(crate) fn take_running(&mut self) -> Running {
        self.running.take().unwrap()
    }

    /// Stops cleanly, and starts again on the same directory.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.running = Some(self.run().await.unwrap());
    }

    pub(crate) async fn resume(&mut self) {
        self.running = Some(self.run().await.unwrap());
    }

    /// The URL of a path at the public listener.
    pub(crate) fn public(&self, path: &str) -> String {
        format!("http://{}{path}", self.running().public)
    }

    /// The URL of a path at the admin listener.
    pub(crate) fn admin(&self, path: &str) -> String {
        format!("http://{}{path}", self.running().admin)
    }

    /// A request of a client at a form endpoint, by the method that it is registered for.
    pub(crate) fn ask(&self, path: &str, client: &Party, form: &[(&str, &str)]) -> Call {
        let call = Call::new("POST", self.public(&format!("/t{path}")));
        match &client.secret {
            Some(secret) => call.form(form).basic(&client.id, secret),
            None => call.form(&[&[("client_id", client.id.as_str())], form].concat()),
        }
    }

    pub(crate) async fn token(&self, client: &Party, form: &[(&str, &str)]) -> Answer {
        self.wire.send(self.ask("/oauth/token", client, form)).await
    }

    pub(crate) async fn refresh(&self, client: &Party, token: &str) -> Answer {
        self.refresh_from(&self.wire, client, token, &[]).await
    }

    /// A refresh from another host.
    pub(crate) async fn refresh_from(
        &self,
        wire: &Wire,
        client: &Party,
        token: &str,
        more: &[(&str, &str)],
    ) -> Answer {
        let form = [&[("grant_type", "refresh_token"), ("refresh_token", token)], more].concat();
        let answer = wire.send(self.ask("/oauth/token", client, &form)).await;
        if answer.status == 200 {
            self.keep(&answer.text("access_token"));
            self.keep(&answer.text("refresh_token"));
        }
        answer
    }

    /// A refresh that must succeed: the access token and the refresh token from now on.
    pub(crate) async fn refreshed(&self, tokens: &Tokens) -> Tokens {
        let answer = self.refresh(&self.photos, &tokens.refresh).await.is(200);
        Tokens {
            access: answer.text("access_token"),
            refresh: answer.text("refresh_token"),
            grant: tokens.grant.clone(),
        }
    }

    pub(crate) async fn introspect(&self, client: &Party, token: &str) -> Answer {
        self.wire.send(self.ask("/oauth/introspect", client, &[("token", token)])).await
    }

    /// Whether the resource server takes `token` for active.
    pub(crate) async fn is_active(&self, token: &str) -> bool {
        let answer = self.introspect(&self.api, token).await.is(200);
        answer.json()["active"].as_bool().unwrap()
    }

    pub(crate) async fn revoke(&self, client: &Party, token: &str) -> Answer {
        self.wire.send(self.ask("/oauth/revoke", client, &[("token", token)])).await
    }

    /// A request of the administrator.
    pub(crate) async fn administer(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let call = Call::new(method, self.admin(path)).bearer(&self.admin_token);
        self.wire.send(body.map_or(call.clone(), |body| call.json(&body))).await
    }

    /// A question of somebody without any token, at the admin listener.
    pub(crate) async fn stranger(&self, path: &str) -> Answer {
        self.wire.send(Call::new("GET", self.admin(path))).await
    }

    /// A question of the auditor.
    pub(crate) async fn audit(&self, path: &str) -> Answer {
        self.wire.send(Call::new("GET", self.admin(path)).bearer(&self.audit_token)).await
    }

    pub(crate) async fn register(&self, metadata: Value) -> Party {
        let answer = self.administer("POST", "/admin/clients", Some(metadata)).await.is(201);
        let secret = answer.json()["client_secret"].as_str().map(str::to_owned);
        secret.iter().for_each(|secret| self.keep(secret));
        Party { id: answer.text("client_id"), secret }
    }

    pub(crate) async fn blacklist(&self, target: Value) -> Answer {
        let body = json!({ "target": target, "reason": "a test" });
        self.administer("POST", "/admin/blacklist", Some(body)).await
    }

    /// What the login application asks for.
    pub(crate) async fn grant(&self, body: Value) -> Answer {
        let call = Call::new("POST", self.admin("/admin/grants")).bearer(&self.login_token);
        let answer = self.wire.send(call.json(&body)).await;
        if answer.status == 201 {
            self.keep(&answer.text("code"));
        }
        answer
    }

    /// A grant of `sub` to `client` with a challenge: its identifier and its code.
    pub(crate) async fn code(&self, client: &Party, sub: &str) -> (String, String) {
        let answer = self.grant(asking(&client.id, sub)).await.is(201);
        (answer.text("grant_id"), answer.text("code"))
    }

    pub(crate) async fn exchange(&self, client: &Party, code: &str) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.token(client, &form).await
    }

    /// Tokens of `sub` for the client `photos`.
    pub(crate) async fn tokens(&self, sub: &str) -> Tokens {
        self.tokens_of(&self.photos, sub).await
    }

    pub(crate) async fn tokens_of(&self, client: &Party, sub: &str) -> Tokens {
        let (grant, code) = self.code(client, sub).await;
        let answer = self.exchange(client, &code).await.is(200);
        let (access, refresh) = (answer.text("access_token"), answer.text("refresh_token"));
        [&access, &refresh].into_iter().for_each(|token| self.keep(token));
        Tokens { access, refresh, grant }
    }

    /// Remembers a secret that must stand in no file.
    pub(crate) fn keep(&self, secret: &str) {
        self.seen.lock().unwrap().push(secret.to_owned());
    }

    /// Every secret that was seen, the administrator's included.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.extend(self.administrator.secret.clone());
        seen.push(VERIFIER.to_owned());
        seen
    }
}

/// The metadata of a web application like `photos`.
pub(crate) fn photos(id: &str) -> Value {
    json!({
        "client_id": id,
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": [CALLBACK],
        "scope": "read write",
        "resources": [API, API2],
    })
}

/// What a login application sends for a grant with a challenge.
pub(crate) fn asking(client: &str, sub: &str) -> Value {
    json!({
        "client_id": client,
        "subject": sub,
        "redirect_uri": CALLBACK,
        "code_challenge": challenge(VERIFIER),
        "code_challenge_method": "S256",
    })
}

pub(crate) fn challenge(verifier: &str) -> String {
    CodeChallenge::of(&Secret::new(verifier.to_owned())).to_string()
}
