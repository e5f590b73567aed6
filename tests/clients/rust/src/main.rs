//! The crate `oauth2`, unmodified, against the server in the environment. The crate has no discovery:
//! the metadata is a plain request of its own HTTP client.

mod losing;

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;

use oauth2::basic::{BasicClient, BasicErrorResponseType, BasicTokenResponse, BasicTokenType};
use oauth2::reqwest::blocking::Client as Http;
use oauth2::reqwest::{Certificate, redirect::Policy};
use oauth2::{
    AccessToken, AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet,
    IntrospectionUrl, PkceCodeChallenge, RedirectUrl, RefreshToken, RequestTokenError,
    RevocationUrl, Scope, StandardRevocableToken, TokenIntrospectionResponse, TokenResponse,
    TokenUrl,
};
use serde_json::{Value, json};

use crate::losing::Losing;

type Client = BasicClient<EndpointNotSet, EndpointNotSet, EndpointSet, EndpointSet, EndpointSet>;
type Outcome = Result<(), Box<dyn Error>>;

const GENERATIONS: usize = 10;
const SCOPES: [&str; 2] = ["photos.read", "photos.write"];

macro_rules! check {
    ($holds:expr) => {
        if !$holds {
            return Err(format!("{}:{}: {}", file!(), line!(), stringify!($holds)).into());
        }
    };
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: start this by tests/clients/run"))
}

struct World {
    http: Http,
    metadata: Value,
}

impl World {
    fn discover() -> Result<Self, Box<dyn Error>> {
        let front = Certificate::from_pem(&std::fs::read(variable("LEDGER_TLS_CERTIFICATE"))?)?;
        let http = Http::builder().redirect(Policy::none()).add_root_certificate(front).build()?;
        let issuer = variable("LEDGER_ISSUER");
        let url = format!("{issuer}/.well-known/oauth-authorization-server");
        let metadata: Value = serde_json::from_str(&http.get(url).send()?.text()?)?;
        check!(metadata["issuer"] == issuer.as_str());
        let methods = metadata["code_challenge_methods_supported"].as_array();
        check!(methods.is_some_and(|methods| methods.contains(&json!("S256"))));
        Ok(Self { http, metadata })
    }

    fn endpoint(&self, name: &str) -> String {
        self.metadata[name].as_str().unwrap_or_default().to_owned()
    }

    fn client(&self, method: &AuthType, name: &str) -> Result<Client, Box<dyn Error>> {
        // The crate revokes over https only, also on loopback: by the TLS front.
        let revocation = self.endpoint("revocation_endpoint");
        let revocation =
            revocation.replace(&variable("LEDGER_ISSUER"), &variable("LEDGER_TLS_FRONT"));
        let client = BasicClient::new(ClientId::new(variable(&format!("{name}_ID"))))
            .set_auth_type(method.clone())
            .set_token_uri(TokenUrl::new(self.endpoint("token_endpoint"))?)
            .set_introspection_url(IntrospectionUrl::new(self.endpoint("introspection_endpoint"))?)
            .set_revocation_url(RevocationUrl::new(revocation)?)
            .set_redirect_uri(RedirectUrl::new(variable("LEDGER_REDIRECT_URI"))?);
        Ok(match std::env::var(format!("{name}_SECRET")) {
            Ok(secret) => client.set_client_secret(ClientSecret::new(secret)),
            Err(_) => client,
        })
    }

    /// The login application: a person said yes.
    fn consent(
        &self,
        client: &Client,
        challenge: &PkceCodeChallenge,
    ) -> Result<AuthorizationCode, Box<dyn Error>> {
        let body = json!({
            "client_id": client.client_id().as_str(), "subject": "alice", "scope": SCOPES.join(" "),
            "resource": [variable("LEDGER_RESOURCE")], "redirect_uri": variable("LEDGER_REDIRECT_URI"),
            "code_challenge": challenge.as_str(), "code_challenge_method": challenge.method().as_str(),
        });
        let answer = self
            .http
            .post(format!("{}/admin/grants", variable("LEDGER_ADMIN")))
            .bearer_auth(variable("LEDGER_LOGIN_TOKEN"))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()?
            .text()?;
        let answer: Value = serde_json::from_str(&answer)?;
        let code = answer["code"].as_str().ok_or_else(|| answer.to_string())?;
        Ok(AuthorizationCode::new(code.to_owned()))
    }
}

/// One client and the tokens that it holds.
struct Party<'a> {
    world: &'a World,
    client: Client,
    api: Client,
    tokens: Option<BasicTokenResponse>,
}

impl Party<'_> {
    fn access(&self) -> Result<&AccessToken, Box<dyn Error>> {
        Ok(self.tokens.as_ref().ok_or("there is no token")?.access_token())
    }

    fn refresh_token(&self) -> Result<RefreshToken, Box<dyn Error>> {
        let tokens = self.tokens.as_ref().ok_or("there is no token")?;
        Ok(tokens.refresh_token().ok_or("there is no refresh token")?.clone())
    }

    fn refresh(&mut self) -> Outcome {
        let token = self.refresh_token()?;
        let tokens = self.client.exchange_refresh_token(&token).request(&self.world.http)?;
        self.tokens = Some(tokens);
        Ok(())
    }

    fn is_active(&self, token: &AccessToken) -> Result<bool, Box<dyn Error>> {
        Ok(self.api.introspect(token).request(&self.world.http)?.active())
    }

    fn exchange(&mut self) -> Outcome {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let code = self.world.consent(&self.client, &challenge)?;
        let exchange = self.client.exchange_code(code).set_pkce_verifier(verifier);
        let tokens = exchange.request(&self.world.http)?;
        check!(*tokens.token_type() == BasicTokenType::Bearer);
        check!(tokens.scopes().is_some_and(|s| s.iter().map(|s| s.as_str()).eq(SCOPES)));
        check!(tokens.expires_in().is_some() && tokens.refresh_token().is_some());
        self.tokens = Some(tokens);
        Ok(())
    }

    fn client_credentials(&mut self) -> Outcome {
        let asked =
            self.client.exchange_client_credentials().add_scope(Scope::new(SCOPES[0].to_owned()));
        let asked = asked.add_extra_param("resource", variable("LEDGER_RESOURCE"));
        let own = asked.request(&self.world.http)?;
        check!(own.refresh_token().is_none());
        let seen = self.client.introspect(own.access_token()).request(&self.world.http)?;
        check!(seen.active() && seen.sub() == Some(self.client.client_id().as_str()));
        Ok(())
    }

    fn generations(&mut self) -> Outcome {
        let mut seen = BTreeSet::from([self.refresh_token()?.into_secret()]);
        for _ in 0..GENERATIONS {
            self.refresh()?;
            seen.insert(self.refresh_token()?.into_secret());
        }
        check!(seen.len() == GENERATIONS + 1);
        Ok(())
    }

    fn dropped(&mut self) -> Outcome {
        let direct = self.client.token_uri().url().clone();
        let address = direct.socket_addrs(|| None)?.first().copied().ok_or("no address")?;
        let proxy = Losing::before(address)?;
        let mut through = direct.clone();
        through.set_port(Some(proxy.address.port())).map_err(|()| "no port")?;
        self.client = self.client.clone().set_token_uri(TokenUrl::from_url(through));
        proxy.cut();
        let token = self.refresh_token()?;
        let lost = self.client.exchange_refresh_token(&token).request(&self.world.http);
        check!(matches!(lost, Err(RequestTokenError::Request(_))));
        check!(proxy.lost().len() == 1);
        self.refresh()?;
        check!(proxy.lost()[0]["refresh_token"] == self.refresh_token()?.secret().as_str());
        self.refresh()?;
        self.client = self.client.clone().set_token_uri(TokenUrl::from_url(direct));
        Ok(())
    }

    fn introspection(&mut self) -> Outcome {
        let seen = self.api.introspect(self.access()?).request(&self.world.http)?;
        check!(
            seen.active()
                && seen.sub() == Some("alice")
                && seen.client_id() == Some(self.client.client_id())
        );
        check!(seen.aud().is_some_and(|aud| *aud == [variable("LEDGER_RESOURCE")]));
        check!(seen.exp().is_some() && seen.token_type() == Some(&BasicTokenType::Bearer));
        check!(!self.is_active(&AccessToken::new("tla_unknown".to_owned()))?);
        Ok(())
    }

    fn revocation(&mut self) -> Outcome {
        let token = StandardRevocableToken::from(self.access()?.clone());
        self.client.revoke_token(token)?.request(&self.world.http)?;
        check!(!self.is_active(self.access()?)?);
        self.refresh()?;
        let token = StandardRevocableToken::from(self.refresh_token()?);
        self.client.revoke_token(token)?.request(&self.world.http)?;
        check!(!self.is_active(self.access()?)?);
        let token = self.refresh_token()?;
        let refused = self.client.exchange_refresh_token(&token).request(&self.world.http);
        check!(matches!(
            refused,
            Err(RequestTokenError::ServerResponse(error)) if *error.error() == BasicErrorResponseType::InvalidGrant
        ));
        Ok(())
    }
}

#[derive(Default)]
struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    fn step(&mut self, name: &str, outcome: Outcome) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok    {name}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAIL  {name}: {error:?}");
            }
        }
    }
}

fn run(report: &mut Report) -> Outcome {
    let world = World::discover()?;
    report.step("discovery", Ok(()));
    for (name, auth, environment) in [
        ("client_secret_basic", AuthType::BasicAuth, "BASIC"),
        ("client_secret_post", AuthType::RequestBody, "POST"),
        ("none", AuthType::RequestBody, "PUBLIC"),
    ] {
        let client = world.client(&auth, environment)?;
        let api = world.client(&AuthType::BasicAuth, "API")?;
        let mut party = Party { world: &world, client, api, tokens: None };
        report.step(&format!("{name}: code exchange with PKCE"), party.exchange());
        if environment != "PUBLIC" {
            report.step(&format!("{name}: client credentials"), party.client_credentials());
        }
        let what = format!("{name}: refresh with rotation, {GENERATIONS} generations");
        report.step(&what, party.generations());
        let what = format!("{name}: refresh after a dropped connection gives the same successor");
        report.step(&what, party.dropped());
        report.step(&format!("{name}: introspection"), party.introspection());
        report.step(&format!("{name}: revocation"), party.revocation());
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut report = Report::default();
    if let Err(error) = run(&mut report) {
        report.step("the world around the client", Err(error));
    }
    println!("{} passed, {} failed", report.passed, report.failed);
    if report.failed == 0 && report.passed != 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
