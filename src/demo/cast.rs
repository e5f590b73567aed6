//! Who takes part: the programs that are registered before the story begins, and how a person signs
//! in and gives one of them a grant.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::demo::call::{Call, Caller, http_client};
use crate::demo::error::DemoError;
use crate::demo::narrate::Narrator;
use crate::demo::photos;
use crate::demo::stage::Stage;
use crate::entropy::{OsEntropy, bytes};
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::response::Metadata;
use crate::types::id::ClientId;
use crate::types::secret::Secret;

/// For how many seconds the first access tokens live: long enough for a slow machine to use one,
/// short enough to wait for its end.
pub(super) const ACCESS_TOKEN_LIFETIME_S: u64 = 3;
/// For how many seconds those live that are to die by a decision.
pub(super) const LATER_LIFETIME_S: u64 = 600;
/// Where the login page sends a person back to.
pub(super) const REDIRECT_URI: &str = "https://prints.example/callback";

/// A registered client with what proves it.
pub(super) struct Program {
    pub(super) caller: Caller,
    pub(super) secret: Secret,
}

/// Someone with a token for the ledger's own administration.
pub(super) struct Official {
    pub(super) caller: Caller,
    pub(super) bearer: Secret,
}

/// Everybody.
pub(super) struct Cast {
    /// A shop that prints photos.
    pub(super) prints: Program,
    /// An app that shows photos on a television, with opaque access tokens.
    pub(super) slideshow: Program,
    /// The resource server, as a client of the ledger's introspection.
    pub(super) photos: Program,
    /// The page at which people sign in.
    pub(super) login: Official,
    pub(super) operator: Official,
    pub(super) auditor: Official,
    pub(super) thief: Caller,
}

/// The tokens of one grant.
pub(super) struct Tokens {
    pub(super) grant: String,
    pub(super) access: Secret,
    pub(super) refresh: Secret,
}

/// A PKCE pair (RFC 7636).
pub(super) struct Proof {
    pub(super) verifier: Secret,
    pub(super) challenge: String,
}

impl Proof {
    pub(super) fn new() -> Self {
        let verifier = Secret::new(URL_SAFE_NO_PAD.encode(bytes::<32>(&OsEntropy)));
        let challenge = String::from(CodeChallenge::of(&verifier));
        Self { verifier, challenge }
    }
}

impl Program {
    /// The exchange of a code (RFC 6749 section 4.1.3).
    pub(super) fn exchange_code(&self, issuer: &str, code: &str, proof: &Proof) -> Call {
        self.token_request(issuer).form(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", proof.verifier.expose()),
        ])
    }

    /// A refresh (RFC 6749 section 6).
    pub(super) fn refresh(&self, issuer: &str, token: &Secret) -> Call {
        self.token_request(issuer)
            .form(&[("grant_type", "refresh_token"), ("refresh_token", token.expose())])
    }

    /// The question about a token (RFC 7662 section 2.1).
    pub(super) fn introspect(&self, issuer: &str, token: &Secret) -> Call {
        Call::post(issuer, Metadata::INTROSPECTION_PATH)
            .basic(self.caller.name, &self.secret)
            .form(&[("token", token.expose())])
    }

    fn token_request(&self, issuer: &str) -> Call {
        Call::post(issuer, Metadata::TOKEN_PATH).basic(self.caller.name, &self.secret)
    }
}

impl Official {
    /// A token for the ledger itself (RFC 6749 section 4.4).
    async fn appointed(
        tell: &mut Narrator<'_>,
        stage: &Stage,
        caller: Caller,
        id: &str,
        secret: &Secret,
    ) -> Result<Self, DemoError> {
        let form = [("grant_type", "client_credentials")];
        let call = Call::post(&stage.issuer, Metadata::TOKEN_PATH).basic(id, secret).form(&form);
        let answer = tell.ask(&caller, "ledger", &call).await?;
        tell.brief(caller.name, "ledger", &call, &answer, "a token for the admin interface")?;
        tell.stated().status(200, &answer)?;
        let bearer = Secret::new(tell.stated().member("access_token", &answer)?);
        Ok(Self { caller, bearer })
    }
}

/// Registers everybody and opens the resource server.
///
/// # Errors
/// [`DemoError`].
pub(super) async fn gather(stage: &mut Stage, tell: &mut Narrator<'_>) -> Result<Cast, DemoError> {
    let http = http_client().map_err(DemoError::HttpClient)?;
    let named = |name| Caller::new(name, &http);
    let administrator = &stage.administrator;
    let (id, secret) = (administrator.client.to_string(), &administrator.secret);
    let operator = Official::appointed(tell, stage, named("operator"), &id, secret).await?;
    let administers = |name: &str, scope: &str| {
        let grant_types = ["client_credentials"];
        json!({ "client_id": name, "grant_types": grant_types, "scope": scope })
    };
    let login = administers("login", "ledger:grant");
    let login = register(stage, tell, &operator, named("login"), login).await?;
    let auditor = administers("auditor", "ledger:audit");
    let auditor = register(stage, tell, &operator, named("auditor"), auditor).await?;
    let api = json!({ "client_id": "photos", "grant_types": [], "resources": [stage.api] });
    let photos = register(stage, tell, &operator, named("photos"), api).await?;
    let prints = client(stage, "prints", "jwt", ACCESS_TOKEN_LIFETIME_S);
    let prints = register(stage, tell, &operator, named("prints"), prints).await?;
    let slideshow = client(stage, "slideshow", "opaque", LATER_LIFETIME_S);
    let slideshow = register(stage, tell, &operator, named("slideshow"), slideshow).await?;
    let Program { caller, secret } = login;
    let login = Official::appointed(tell, stage, caller, "login", &secret).await?;
    let Program { caller, secret } = auditor;
    let auditor = Official::appointed(tell, stage, caller, "auditor", &secret).await?;
    let id: ClientId = photos.caller.name.parse().expect("letters are a client_id");
    stage.open_photos(&id, Secret::new(photos.secret.expose().to_owned()))?;
    let thief = named("thief");
    Ok(Cast { prints, slideshow, photos, login, operator, auditor, thief })
}

fn client(stage: &Stage, name: &str, format: &str, lifetime_s: u64) -> Value {
    json!({
        "client_id": name,
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": [REDIRECT_URI],
        "scope": photos::SCOPE,
        "resources": [stage.api],
        "access_token_format": format,
        "access_token_lifetime_s": lifetime_s,
    })
}

async fn register(
    stage: &Stage,
    tell: &mut Narrator<'_>,
    operator: &Official,
    caller: Caller,
    metadata: Value,
) -> Result<Program, DemoError> {
    let call = Call::post(&stage.admin, "/admin/clients").bearer(&operator.bearer).json(metadata);
    let answer = tell.ask(&operator.caller, "ledger", &call).await?;
    let secret = answer.text_of("client_secret").unwrap_or_default();
    let note = format!("{}, with the secret {secret}", caller.name);
    tell.brief("operator", "ledger", &call, &answer, &note)?;
    tell.stated().status(201, &answer)?;
    let secret = Secret::new(tell.stated().member("client_secret", &answer)?);
    Ok(Program { caller, secret })
}

/// What the login page asks for once `person` has signed in and said yes.
pub(super) fn consent(
    stage: &Stage,
    cast: &Cast,
    person: &str,
    program: &Program,
    proof: &Proof,
) -> Call {
    Call::post(&stage.admin, "/admin/grants").bearer(&cast.login.bearer).json(json!({
        "client_id": program.caller.name,
        "subject": person,
        "scope": photos::SCOPE,
        "redirect_uri": REDIRECT_URI,
        "code_challenge": proof.challenge,
        "code_challenge_method": "S256",
    }))
}

/// Consent and exchange in two lines.
///
/// # Errors
/// [`DemoError`].
pub(super) async fn sign_in(
    stage: &Stage,
    tell: &mut Narrator<'_>,
    cast: &Cast,
    person: &str,
    program: &Program,
) -> Result<Tokens, DemoError> {
    let proof = Proof::new();
    let call = consent(stage, cast, person, program, &proof);
    let answer = tell.ask(&cast.login.caller, "ledger", &call).await?;
    let note = format!("{person} says yes to {}", program.caller.name);
    tell.brief("login", "ledger", &call, &answer, &note)?;
    tell.stated().status(201, &answer)?;
    let grant = tell.stated().member("grant_id", &answer)?;
    let code = tell.stated().member("code", &answer)?;
    let call = program.exchange_code(&stage.issuer, &code, &proof);
    let answer = tell.ask(&program.caller, "ledger", &call).await?;
    let note = format!(
        "{}, {}",
        answer.text_of("access_token").unwrap_or_default(),
        answer.text_of("refresh_token").unwrap_or_default()
    );
    tell.brief(program.caller.name, "ledger", &call, &answer, &note)?;
    tell.stated().status(200, &answer)?;
    let access = Secret::new(tell.stated().member("access_token", &answer)?);
    let refresh = Secret::new(tell.stated().member("refresh_token", &answer)?);
    Ok(Tokens { grant, access, refresh })
}
