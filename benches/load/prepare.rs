//! Clients, grants and tokens for the rows, made over HTTP as any client would make them.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::generator::{Gathered, Script, each_once, form, gather, json_post, member, same};
use super::server::Ledger;

/// A client that can prove itself.
#[derive(Clone)]
pub struct BenchClient {
    pub id: String,
    pub basic: String,
}

pub struct Prepared {
    http: reqwest::Client,
    public: SocketAddr,
    admin: SocketAddr,
    root: String,
    bearer: String,
    jwt: BenchClient,
    opaque: BenchClient,
    keeping: BenchClient,
}

/// A row of the table, prepared only when its turn comes.
#[derive(Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    kind: Kind,
    /// How many records each answer stands for at least, all durable before it.
    pub records: u64,
}

impl Row {
    /// Whether it can be measured more than once: not where what it does to a client stays.
    pub fn repeats(&self) -> bool {
        !matches!(self.kind, Kind::BlacklistedRefresh)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    RefreshJwt,
    RefreshOpaque,
    RefreshKept,
    RefreshShared,
    RefreshReused,
    ClientCredentials,
    CodeExchange,
    IntrospectJwt,
    IntrospectOpaque,
    IntrospectDeadJwt,
    IntrospectDeadOpaque,
    IntrospectUnknown,
    Revoke,
    BlacklistedRefresh,
}

/// In this order: the last row blacklists a client. Refusals of one grant are counted together, so
/// most of them have no record of their own.
pub const ROWS: [Row; 14] = [
    row("refresh, rotating, JWT (EdDSA)", Kind::RefreshJwt, 2),
    row("refresh, rotating, opaque", Kind::RefreshOpaque, 2),
    row("refresh, without rotation, JWT", Kind::RefreshKept, 2),
    row("refresh, one token by all, JWT", Kind::RefreshShared, 2),
    row("refresh, spent token by all", Kind::RefreshReused, 0),
    row("client credentials, JWT", Kind::ClientCredentials, 1),
    row("code exchange, JWT", Kind::CodeExchange, 3),
    row("introspection, active JWT", Kind::IntrospectJwt, 0),
    row("introspection, active opaque", Kind::IntrospectOpaque, 0),
    row("introspection, revoked JWT", Kind::IntrospectDeadJwt, 0),
    row("introspection, revoked opaque", Kind::IntrospectDeadOpaque, 0),
    row("introspection, unknown token", Kind::IntrospectUnknown, 0),
    row("revocation, access token", Kind::Revoke, 1),
    row("refresh, client blacklisted", Kind::BlacklistedRefresh, 0),
];

const fn row(name: &'static str, kind: Kind, records: u64) -> Row {
    Row { name, kind, records }
}

/// What can be used once is prepared for so many answers a second.
const ONCE_PER_SECOND: u64 = 30_000;

fn basic(id: &str, secret: &str) -> String {
    use base64::Engine;
    let pair = format!("{id}:{secret}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

impl Prepared {
    pub async fn new(ledger: &Ledger) -> Self {
        let nobody = || BenchClient { id: String::new(), basic: String::new() };
        let mut prepared = Self {
            http: reqwest::Client::new(),
            public: ledger.public,
            admin: ledger.admin,
            root: basic(&ledger.client_id, &ledger.client_secret),
            bearer: String::new(),
            jwt: nobody(),
            opaque: nobody(),
            keeping: nobody(),
        };
        prepared.log_in().await;
        prepared.jwt = prepared.client(json!({ "access_token_format": "jwt" })).await;
        prepared.opaque = prepared.client(json!({ "access_token_format": "opaque" })).await;
        prepared.keeping = prepared.client(json!({ "rotation": "never" })).await;
        prepared
    }

    /// The administrator's token may be old by the time a row is prepared.
    async fn log_in(&mut self) {
        let answer = self.posted(&self.root, "/oauth/token", CREDENTIALS).await;
        let token: Value = serde_json::from_str(&answer).unwrap();
        self.bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
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
        let made = self.administer("/admin/clients", &body).await;
        let id = made["client_id"].as_str().unwrap().to_owned();
        let basic = basic(&id, made["client_secret"].as_str().unwrap());
        BenchClient { id, basic }
    }

    async fn administer(&self, path: &str, body: &Value) -> Value {
        let url = format!("http://{}{path}", self.admin);
        let request = self.http.post(url).header("authorization", &self.bearer).json(body);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn posted(&self, basic: &str, path: &str, body: &str) -> String {
        let request = self.http.post(format!("http://{}{path}", self.public));
        let request = request
            .header("authorization", basic)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.to_owned());
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.text().await.unwrap()
    }

    /// A code for each of `count` grants, of `subjects` resource owners in turn.
    async fn codes(&self, client: &BenchClient, count: u64, subjects: u64) -> Vec<String> {
        let requests = (0..count).map(|i| {
            let body =
                json!({ "client_id": client.id, "subject": format!("owner-{}", i % subjects) });
            json_post("/admin/grants", &self.bearer, &body.to_string())
        });
        self.gathered(self.admin, requests.collect(), 201, "code").await
    }

    /// The first refresh token and access token of `count` grants.
    async fn tokens(&self, client: &BenchClient, count: u64) -> Vec<(String, String)> {
        let codes = self.codes(client, count, count).await;
        let requests = codes.iter().map(|code| exchange_form(client, code)).collect();
        let answers = gather(self.public, requests, 200).await;
        let one = |Gathered(body): &Gathered, name| member(body, name).unwrap().to_owned();
        let pair = |body| (one(body, "refresh_token"), one(body, "access_token"));
        answers.iter().map(pair).collect()
    }

    async fn access_tokens(&self, client: &BenchClient, count: u64) -> Vec<String> {
        let request = form("/oauth/token", Some(&client.basic), CREDENTIALS);
        let requests = vec![request; usize::try_from(count).unwrap()];
        self.gathered(self.public, requests, 200, "access_token").await
    }

    async fn gathered(
        &self,
        address: SocketAddr,
        requests: Vec<Vec<u8>>,
        status: u16,
        name: &str,
    ) -> Vec<String> {
        let answers = gather(address, requests, status).await;
        answers.iter().map(|Gathered(body)| member(body, name).unwrap().to_owned()).collect()
    }

    pub async fn scripts(&mut self, row: Row, connections: usize, seconds: u64) -> Vec<Script> {
        self.log_in().await;
        let (public, once) = (self.public, seconds * ONCE_PER_SECOND);
        let (jwt, opaque, keeping) = (&self.jwt, &self.opaque, &self.keeping);
        match row.kind {
            Kind::RefreshJwt => self.chains(jwt, connections).await,
            Kind::RefreshOpaque => self.chains(opaque, connections).await,
            Kind::RefreshKept => self.chains(keeping, connections).await,
            Kind::RefreshShared => {
                let (refresh, _) = self.tokens(keeping, 1).await.remove(0);
                same(public, &refresh_form(keeping, &refresh), connections, 200)
            }
            Kind::RefreshReused => {
                let spent = self.spent(jwt).await;
                same(public, &refresh_form(jwt, &spent), connections, 400)
            }
            Kind::ClientCredentials => {
                let request = form("/oauth/token", Some(&jwt.basic), CREDENTIALS);
                same(public, &request, connections, 200)
            }
            Kind::CodeExchange => {
                let codes = self.codes(jwt, once, 1_000).await;
                let requests = codes.iter().map(|code| exchange_form(jwt, code)).collect();
                each_once(public, requests, connections)
            }
            Kind::IntrospectJwt => self.introspect(jwt, false, connections).await,
            Kind::IntrospectOpaque => self.introspect(opaque, false, connections).await,
            Kind::IntrospectDeadJwt => self.introspect(jwt, true, connections).await,
            Kind::IntrospectDeadOpaque => self.introspect(opaque, true, connections).await,
            Kind::IntrospectUnknown => {
                let body = "token=tla_this-was-never-a-token-of-this-ledger";
                let request = form("/oauth/introspect", Some(&jwt.basic), body);
                same(public, &request, connections, 200)
            }
            Kind::Revoke => {
                let tokens = self.access_tokens(opaque, once).await;
                let revoke = |token: &String| {
                    form("/oauth/revoke", Some(&opaque.basic), &format!("token={token}"))
                };
                each_once(public, tokens.iter().map(revoke).collect(), connections)
            }
            Kind::BlacklistedRefresh => {
                let (refresh, _) = self.tokens(keeping, 1).await.remove(0);
                let target = json!({ "type": "client", "id": keeping.id });
                let body = json!({ "target": target, "reason": "bench" });
                self.administer("/admin/blacklist", &body).await;
                same(public, &refresh_form(keeping, &refresh), connections, 400)
            }
        }
    }

    /// A refresh token whose successor was used: coming back, it is taken for stolen.
    async fn spent(&self, client: &BenchClient) -> String {
        let (spent, _) = self.tokens(client, 1).await.remove(0);
        let rotated = gather(self.public, vec![refresh_form(client, &spent)], 200).await;
        let successor = member(&rotated[0].0, "refresh_token").unwrap();
        gather(self.public, vec![refresh_form(client, successor)], 200).await;
        spent
    }

    async fn introspect(
        &self,
        client: &BenchClient,
        revoked: bool,
        connections: usize,
    ) -> Vec<Script> {
        let (_, access) = self.tokens(client, 1).await.remove(0);
        let body = format!("token={access}");
        if revoked {
            self.posted(&client.basic, "/oauth/revoke", &body).await;
        }
        let request = form("/oauth/introspect", Some(&client.basic), &body);
        same(self.public, &request, connections, 200)
    }

    /// One chain of refreshes a connection, each with the token that the last answer gave.
    async fn chains(&self, client: &BenchClient, connections: usize) -> Vec<Script> {
        let tokens = self.tokens(client, connections as u64).await;
        let chain = |(mut token, _): (String, String)| {
            let client = client.clone();
            let next = Box::new(move |answer: Option<&[u8]>| {
                if let Some(fresh) = answer.and_then(|body| member(body, "refresh_token")) {
                    fresh.clone_into(&mut token);
                }
                Some(refresh_form(&client, &token))
            });
            Script { address: self.public, next, status: 200 }
        };
        tokens.into_iter().map(chain).collect()
    }
}

const CREDENTIALS: &str = "grant_type=client_credentials";

fn refresh_form(client: &BenchClient, token: &str) -> Vec<u8> {
    let body = format!("grant_type=refresh_token&refresh_token={token}");
    form("/oauth/token", Some(&client.basic), &body)
}

fn exchange_form(client: &BenchClient, code: &str) -> Vec<u8> {
    let body = format!("grant_type=authorization_code&code={code}");
    form("/oauth/token", Some(&client.basic), &body)
}
