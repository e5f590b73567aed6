//! Clients, grants and tokens for the rows, made over HTTP as any client would make them.

use serde_json::{Value, json};

use super::generator::{Script, form, member};
use super::server::Ledger;

/// A client that can prove itself.
#[derive(Clone)]
pub struct BenchClient {
    pub id: String,
    pub basic: String,
}

pub struct Prepared {
    http: reqwest::Client,
    public: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    bearer: String,
    jwt: BenchClient,
    opaque: BenchClient,
    keeping: BenchClient,
}

/// A row that is still to be prepared: what it needs may take a while.
#[derive(Clone, Copy)]
pub enum Row {
    RefreshJwt,
    RefreshOpaque,
    RefreshKept,
    RefreshShared,
    ClientCredentials,
    IntrospectJwt,
    IntrospectOpaque,
    IntrospectInactive,
    CodeExchange(u64),
    Revoke(u64),
    BlacklistedRefresh,
}

pub struct Pending {
    row: Row,
    connections: usize,
}

impl Pending {
    pub async fn make(self, prepared: &Prepared) -> Vec<Script> {
        prepared.scripts(self.row, self.connections).await
    }
}

fn basic(id: &str, secret: &str) -> String {
    use base64::Engine;
    let pair = format!("{id}:{secret}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

impl Prepared {
    pub async fn new(ledger: &Ledger) -> Self {
        let http = reqwest::Client::new();
        let answer = http
            .post(format!("http://{}/oauth/token", ledger.public))
            .header("authorization", basic(&ledger.client_id, &ledger.client_secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials")
            .send()
            .await
            .unwrap();
        let token: Value = answer.json().await.unwrap();
        let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
        let mut prepared = Self {
            http,
            public: ledger.public,
            admin: ledger.admin,
            bearer,
            jwt: BenchClient { id: String::new(), basic: String::new() },
            opaque: BenchClient { id: String::new(), basic: String::new() },
            keeping: BenchClient { id: String::new(), basic: String::new() },
        };
        prepared.jwt = prepared.client(json!({ "access_token_format": "jwt" })).await;
        prepared.opaque = prepared.client(json!({ "access_token_format": "opaque" })).await;
        prepared.keeping = prepared.client(json!({ "rotation": "never" })).await;
        prepared
    }

    async fn client(&self, more: Value) -> BenchClient {
        let mut body = json!({
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "redirect_uris": ["https://app.example/callback"],
            "scope": "photos.read photos.write",
            "resources": ["https://photos.example"],
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let made = self.post("/admin/clients", &body).await;
        let id = made["client_id"].as_str().unwrap().to_owned();
        let basic = basic(&id, made["client_secret"].as_str().unwrap());
        BenchClient { id, basic }
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self
            .http
            .post(format!("http://{}{path}", self.admin))
            .header("authorization", &self.bearer)
            .json(body)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn code(&self, client: &BenchClient, subject: &str) -> String {
        let body = json!({ "client_id": client.id, "subject": subject });
        let made = self.post("/admin/grants", &body).await;
        made["code"].as_str().unwrap().to_owned()
    }

    async fn tokens(&self, client: &BenchClient, subject: &str) -> Value {
        let code = self.code(client, subject).await;
        let answer = self
            .http
            .post(format!("http://{}/oauth/token", self.public))
            .header("authorization", &client.basic)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("grant_type=authorization_code&code={code}"))
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success());
        answer.json().await.unwrap()
    }

    pub async fn rows(&self, connections: usize, seconds: u64) -> Vec<(&'static str, Pending)> {
        // One-time things are prepared for as many answers as a fast machine gives.
        let once = seconds * 400;
        let rows = [
            ("refresh, rotating, JWT (EdDSA)", Row::RefreshJwt),
            ("refresh, rotating, opaque", Row::RefreshOpaque),
            ("refresh, same token, JWT", Row::RefreshKept),
            ("refresh, one token by all", Row::RefreshShared),
            ("client credentials, JWT", Row::ClientCredentials),
            ("introspection, active JWT", Row::IntrospectJwt),
            ("introspection, active opaque", Row::IntrospectOpaque),
            ("introspection, inactive", Row::IntrospectInactive),
            ("code exchange, JWT (prepared)", Row::CodeExchange(once)),
            ("revocation, access token", Row::Revoke(seconds * 3000)),
            ("refresh, client blacklisted", Row::BlacklistedRefresh),
        ];
        rows.into_iter().map(|(name, row)| (name, Pending { row, connections })).collect()
    }

    async fn scripts(&self, row: Row, connections: usize) -> Vec<Script> {
        match row {
            Row::RefreshJwt => self.chains(&self.jwt, connections).await,
            Row::RefreshOpaque => self.chains(&self.opaque, connections).await,
            Row::RefreshKept => self.chains(&self.keeping, connections).await,
            Row::RefreshShared => {
                let tokens = self.tokens(&self.jwt, "shared").await;
                let refresh = tokens["refresh_token"].as_str().unwrap();
                self.same(&refresh_form(&self.jwt, refresh), connections, 200)
            }
            Row::ClientCredentials => {
                let body = "grant_type=client_credentials";
                let request = form("/oauth/token", Some(&self.jwt.basic), body);
                self.same(&request, connections, 200)
            }
            Row::IntrospectJwt => self.introspect(&self.jwt, connections).await,
            Row::IntrospectOpaque => self.introspect(&self.opaque, connections).await,
            Row::IntrospectInactive => {
                let body = "token=tla_this-was-never-a-token-of-this-ledger";
                let request = form("/oauth/introspect", Some(&self.jwt.basic), body);
                self.same(&request, connections, 200)
            }
            Row::CodeExchange(count) => {
                let mut codes = Vec::new();
                for i in 0..count {
                    let code = self.code(&self.jwt, &format!("code-{}", i % 100)).await;
                    let body = format!("grant_type=authorization_code&code={code}");
                    codes.push(form("/oauth/token", Some(&self.jwt.basic), &body));
                }
                self.each_once(codes, connections)
            }
            Row::Revoke(count) => {
                let mut requests = Vec::new();
                for _ in 0..count {
                    let answer = self
                        .http
                        .post(format!("http://{}/oauth/token", self.public))
                        .header("authorization", &self.opaque.basic)
                        .header("content-type", "application/x-www-form-urlencoded")
                        .body("grant_type=client_credentials")
                        .send()
                        .await
                        .unwrap();
                    let body = answer.bytes().await.unwrap();
                    let body = format!("token={}", member(&body, "access_token").unwrap());
                    requests.push(form("/oauth/revoke", Some(&self.opaque.basic), &body));
                }
                self.each_once(requests, connections)
            }
            Row::BlacklistedRefresh => {
                let tokens = self.tokens(&self.keeping, "banned").await;
                let target = json!({ "type": "client", "id": self.keeping.id });
                let body = json!({ "target": target, "reason": "bench" });
                self.post("/admin/blacklist", &body).await;
                let refresh = tokens["refresh_token"].as_str().unwrap();
                self.same(&refresh_form(&self.keeping, refresh), connections, 400)
            }
        }
    }

    async fn introspect(&self, client: &BenchClient, connections: usize) -> Vec<Script> {
        let tokens = self.tokens(client, "introspected").await;
        let body = format!("token={}", tokens["access_token"].as_str().unwrap());
        self.same(&form("/oauth/introspect", Some(&client.basic), &body), connections, 200)
    }

    fn same(&self, request: &[u8], connections: usize, status: u16) -> Vec<Script> {
        let script = || {
            let request = request.to_vec();
            let next = Box::new(move |_: Option<&[u8]>| Some(request.clone()));
            Script { address: self.public, next, status }
        };
        (0..connections).map(|_| script()).collect()
    }

    fn each_once(&self, mut requests: Vec<Vec<u8>>, connections: usize) -> Vec<Script> {
        let share = requests.len() / connections;
        let mut script = || {
            let mut own = requests.split_off(requests.len() - share);
            let next = Box::new(move |_: Option<&[u8]>| own.pop());
            Script { address: self.public, next, status: 200 }
        };
        (0..connections).map(|_| script()).collect()
    }

    /// One chain of refreshes a connection, each with the token that the last answer gave.
    async fn chains(&self, client: &BenchClient, connections: usize) -> Vec<Script> {
        let mut scripts = Vec::new();
        for i in 0..connections {
            let tokens = self.tokens(client, &format!("owner-{i}")).await;
            let mut token = tokens["refresh_token"].as_str().unwrap().to_owned();
            let client = client.clone();
            let next = Box::new(move |answer: Option<&[u8]>| {
                if let Some(fresh) = answer.and_then(|body| member(body, "refresh_token")) {
                    fresh.clone_into(&mut token);
                }
                Some(refresh_form(&client, &token))
            });
            scripts.push(Script { address: self.public, next, status: 200 });
        }
        scripts
    }
}

fn refresh_form(client: &BenchClient, token: &str) -> Vec<u8> {
    let body = format!("grant_type=refresh_token&refresh_token={token}");
    form("/oauth/token", Some(&client.basic), &body)
}
