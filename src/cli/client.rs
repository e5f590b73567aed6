//! `token-ledger client`: who may ask for tokens, and how their tokens behave.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cli::console::InputError;
use crate::cli::error::CliError;
use crate::cli::output::{cell, document};
use crate::cli::remote::{Answer, Call};
use crate::cli::session::{RemoteOptions, Row, Session};
use crate::domain::client::keys::JwksUri;
use crate::domain::client::redirect_uri::RedirectUri;
use crate::types::id::ClientId;
use crate::types::resource::Resource;
use crate::types::scope::Scope;

const CLIENTS: &[&str] = &["admin", "clients"];

/// What `client` takes.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  token-ledger client register --name Photos --grant-type client_credentials --scope read
  token-ledger client show photos --json
  token-ledger client disable photos --reason 'incident 4711'

Next: token-ledger client register --help"
)]
pub struct ClientArgs {
    #[command(flatten)]
    pub(super) options: RemoteOptions,
    #[command(subcommand)]
    command: ClientCommand,
}

/// What can be done with clients.
#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// Register a client; its secret is shown once
    #[command(after_help = "\
Examples:
  A web application, for people who log in:
    token-ledger client register --client-id photos --name Photos \\
      --grant-type authorization_code --grant-type refresh_token \\
      --redirect-uri https://photos.example/callback --scope 'read write' \\
      --resource https://api.example
  A job that acts on its own behalf:
    token-ledger client register --grant-type client_credentials --scope read
  A client that signs with its own key, which never leaves it:
    token-ledger client register --auth-method private_key_jwt --jwks-file public-keys.json \\
      --grant-type client_credentials --scope read
  From a file, secret into a file that only you can read:
    (umask 077; token-ledger client register --json-file photos.json --json > photos.secret)

Next: give the client its secret, then `token-ledger grant create --client ID ...`, or let the
client ask POST /oauth/token by itself.")]
    Register(RegisterArgs),
    /// List all clients
    #[command(after_help = "\
Example:
  token-ledger client list

Next: token-ledger client show ID")]
    List,
    /// Show all that is registered about a client
    #[command(after_help = "\
Example:
  token-ledger client show photos

Next: `token-ledger audit trail --client ID` tells how it became so.")]
    Show {
        /// Which client
        client_id: ClientId,
    },
    /// Change what is registered; members that are not named stay as they are
    #[command(after_help = "\
Examples:
  token-ledger client update photos --access-token-lifetime-s 300 --refresh-idle-s never
  token-ledger client update photos --redirect-uri https://a.example/cb --redirect-uri com.a:/cb

A list replaces the whole list before it. Next: token-ledger client show ID")]
    Update(UpdateArgs),
    /// Make another secret, shown once; the one before stays good for a day, or as long as you say
    #[command(after_help = "\
Example:
  token-ledger client rotate-secret photos --previous-lifetime-s 3600

Next: give the client the new secret before the old one ends. If the old one leaked, do not keep
it: --previous-lifetime-s 0.")]
    RotateSecret {
        /// Which client
        client_id: ClientId,
        /// Seconds for which the secret before is accepted too; 0 ends it at once [default: 86400]
        #[arg(long, value_name = "SECONDS")]
        previous_lifetime_s: Option<u64>,
    },
    /// Stop a client: none of its tokens is good, and it gets no new ones
    #[command(after_help = "\
Example:
  token-ledger client disable photos --reason 'key found in a public repository'

Next: `token-ledger audit valid --at TIME --client ID` tells what it held at an instant;
`token-ledger client enable ID` lets it go on with the same tokens. To kill its tokens for good,
use `token-ledger blacklist add --client ID`.")]
    Disable(SwitchArgs),
    /// Let a disabled client go on
    #[command(after_help = "\
Example:
  token-ledger client enable photos --reason 'secret was rotated'

Next: token-ledger client show ID")]
    Enable(SwitchArgs),
}

#[derive(Debug, Args)]
struct SwitchArgs {
    /// Which client
    client_id: ClientId,
    /// Why; it is recorded
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
struct RegisterArgs {
    /// The identifier that you want; the server makes one if absent
    #[arg(long, value_name = "ID")]
    client_id: Option<ClientId>,
    #[command(flatten)]
    metadata: MetadataArgs,
}

#[derive(Debug, Args)]
struct UpdateArgs {
    /// Which client
    client_id: ClientId,
    #[command(flatten)]
    metadata: MetadataArgs,
}

#[derive(Debug, Args)]
struct MetadataArgs {
    /// A JSON object with the members (RFC 7591 names); flags come over it; `-` is standard input
    #[arg(long, value_name = "FILE")]
    json_file: Option<PathBuf>,
    /// The name that people see
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// A grant type that it may use; may be given more than once
    #[arg(long, value_name = "TYPE", value_parser = PossibleValuesParser::new(
        ["authorization_code", "client_credentials", "refresh_token"]))]
    grant_type: Vec<String>,
    /// Where codes may be sent; may be given more than once
    #[arg(long, value_name = "URI")]
    redirect_uri: Vec<RedirectUri>,
    /// The widest scope that it may have, tokens with blanks between
    #[arg(long, value_name = "SCOPE")]
    scope: Option<Scope>,
    /// How it proves who it is; `none` is a public client, without a secret
    #[arg(long, value_name = "METHOD", value_parser = PossibleValuesParser::new(
        ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]))]
    auth_method: Option<String>,
    /// Its public keys for `private_key_jwt`, as a JWK Set; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    jwks_file: Option<PathBuf>,
    /// Where it publishes its public keys for `private_key_jwt`
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<JwksUri>,
    /// A resource server that its tokens may be meant for; may be given more than once
    #[arg(long, value_name = "URI")]
    resource: Vec<Resource>,
    /// Signed JWTs that resource servers check alone, or opaque ones that they introspect
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(["jwt", "opaque"]))]
    access_token_format: Option<String>,
    /// Seconds that an access token lives
    #[arg(long, value_name = "SECONDS")]
    access_token_lifetime_s: Option<u64>,
    /// Seconds without use after which a refresh token dies, or `never`
    #[arg(long, value_name = "SECONDS|never")]
    refresh_idle_s: Option<Expiry>,
    /// Seconds after the grant began at which its refresh token dies, or `never`
    #[arg(long, value_name = "SECONDS|never")]
    refresh_absolute_s: Option<Expiry>,
    /// Whether each refresh gives a new refresh token
    #[arg(long, value_name = "WHEN", value_parser = PossibleValuesParser::new(["always", "never"]))]
    rotation: Option<String>,
    /// Seconds in which a spent refresh token gets the same answer again
    #[arg(long, value_name = "SECONDS")]
    grace_s: Option<u64>,
    /// How often it gets that answer
    #[arg(long, value_name = "COUNT")]
    grace_retries_max: Option<u64>,
    /// Generations in a row that may be retried from another host before that is theft; 0: any
    #[arg(long, value_name = "COUNT")]
    shadow_generations_max: Option<u64>,
    /// What its JWT access tokens are signed with
    #[arg(long, value_name = "ALG", value_parser = PossibleValuesParser::new(
        ["EdDSA", "ES256", "RS256"]))]
    access_token_signing_alg: Option<String>,
    /// What signed answers to its introspections are signed with (RFC 9701)
    #[arg(long, value_name = "ALG", value_parser = PossibleValuesParser::new(
        ["EdDSA", "ES256", "RS256"]))]
    introspection_signed_response_alg: Option<String>,
}

/// A span in seconds, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expiry(Option<u64>);

/// Why a text is not an expiry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a whole number of seconds, nor never")]
struct NotAnExpiry;

impl FromStr for Expiry {
    type Err = NotAnExpiry;

    fn from_str(text: &str) -> Result<Self, NotAnExpiry> {
        match text {
            "never" => Ok(Self(None)),
            seconds => seconds.parse().map(|seconds| Self(Some(seconds))).map_err(|_| NotAnExpiry),
        }
    }
}

impl MetadataArgs {
    /// The members that were given: those of the file, and the flags over them.
    fn members(&self, session: &mut Session<'_, '_>) -> Result<Map<String, Value>, InputError> {
        let mut members = match &self.json_file {
            Some(path) => session.console.json_object(path)?,
            None => Map::new(),
        };
        let jwks = match &self.jwks_file {
            Some(path) => Some(Value::Object(session.console.json_object(path)?)),
            None => None,
        };
        let given = [
            ("client_name", self.name.as_ref().map(|name| json!(name))),
            ("grant_types", list(&self.grant_type)),
            ("redirect_uris", list(&self.redirect_uri)),
            ("scope", self.scope.as_ref().map(|scope| json!(scope))),
            ("token_endpoint_auth_method", self.auth_method.as_ref().map(|m| json!(m))),
            ("jwks", jwks),
            ("jwks_uri", self.jwks_uri.as_ref().map(|uri| json!(uri))),
            ("resources", list(&self.resource)),
            ("access_token_format", self.access_token_format.as_ref().map(|f| json!(f))),
            ("access_token_lifetime_s", self.access_token_lifetime_s.map(|s| json!(s))),
            ("refresh_idle_s", self.refresh_idle_s.map(|expiry| json!(expiry.0))),
            ("refresh_absolute_s", self.refresh_absolute_s.map(|expiry| json!(expiry.0))),
            ("rotation", self.rotation.as_ref().map(|rotation| json!(rotation))),
            ("grace_s", self.grace_s.map(|s| json!(s))),
            ("grace_retries_max", self.grace_retries_max.map(|n| json!(n))),
            ("shadow_generations_max", self.shadow_generations_max.map(|n| json!(n))),
            ("access_token_signing_alg", self.access_token_signing_alg.as_ref().map(|a| json!(a))),
            (
                "introspection_signed_response_alg",
                self.introspection_signed_response_alg.as_ref().map(|a| json!(a)),
            ),
        ];
        let given = given.into_iter();
        members.extend(given.filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Ok(members)
    }
}

fn list<T: serde::Serialize>(values: &[T]) -> Option<Value> {
    (!values.is_empty()).then(|| json!(values))
}

/// A client, as far as the list shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClientRow {
    client_id: Value,
    client_name: Value,
    grant_types: Value,
    scope: Value,
    disabled: Value,
}

impl Row for ClientRow {
    const COLUMNS: &'static [&'static str] =
        &["client_id", "name", "grant_types", "scope", "disabled"];
    const NAMES: &'static [&'static str] = &["clients"];

    fn cells(&self) -> Vec<String> {
        let disabled = if self.disabled == json!(true) { "disabled" } else { "" };
        let cells = [&self.client_id, &self.client_name, &self.grant_types, &self.scope];
        cells.into_iter().map(cell).chain([disabled.to_owned()]).collect()
    }
}

/// Does what `client` asks.
///
/// # Errors
/// [`CliError`]; its hint says what to do.
pub async fn run(session: &mut Session<'_, '_>, args: &ClientArgs) -> Result<(), CliError> {
    let at = |id: &ClientId| Call::get(&["admin", "clients", id.as_str()]);
    let on = |id: &ClientId, what| Call::post(&["admin", "clients", id.as_str(), what]);
    match &args.command {
        ClientCommand::Register(args) => {
            let mut members = args.metadata.members(session)?;
            if let Some(id) = &args.client_id {
                members.insert("client_id".to_owned(), json!(id));
            }
            let call = Call::post(CLIENTS).body(Value::Object(members));
            show_once(session, &call, "").await
        }
        ClientCommand::List => {
            let none = "no clients; register one: token-ledger client register --help";
            session.list::<ClientRow>(Call::get(CLIENTS), true, none).await
        }
        ClientCommand::Show { client_id } => session.show(&at(client_id), "").await,
        ClientCommand::Update(args) => {
            let members = args.metadata.members(session)?;
            if members.is_empty() {
                return Err(InputError::NoChange.into());
            }
            let path = ["admin", "clients", args.client_id.as_str()];
            session.show(&Call::patch(&path).body(Value::Object(members)), "updated").await
        }
        ClientCommand::RotateSecret { client_id, previous_lifetime_s } => {
            let call = on(client_id, "secret");
            let call = match previous_lifetime_s {
                Some(seconds) => call.body(json!({ "previous_lifetime_s": seconds })),
                None => call,
            };
            show_once(session, &call, client_id.as_str()).await
        }
        ClientCommand::Disable(args) => {
            session.show(&because(on(&args.client_id, "disable"), args), "disabled").await
        }
        ClientCommand::Enable(args) => {
            session.show(&because(on(&args.client_id, "enable"), args), "enabled").await
        }
    }
}

fn because(call: Call, args: &SwitchArgs) -> Call {
    match &args.reason {
        Some(reason) => call.body(json!({ "reason": reason })),
        None => call,
    }
}

/// Asks, and shows the answer with the secret in it. What cannot be shown now never can be, so a
/// reader that went away is a failure here.
async fn show_once(
    session: &mut Session<'_, '_>,
    call: &Call,
    client_id: &str,
) -> Result<(), CliError> {
    let answer: Answer = session.ask(call).await?;
    let value: Value = answer.json()?;
    let client_id = value.get("client_id").and_then(Value::as_str).unwrap_or(client_id).to_owned();
    let shown = if session.json {
        session.console.answer_as_is(&answer.body)
    } else {
        session.console.answer(document(&value).as_bytes())
    };
    let secret = value.get("client_secret").is_some_and(Value::is_string);
    match shown {
        Err(CliError::Output(source)) if secret => {
            return Err(CliError::SecretNotShown { client_id, source });
        }
        shown => shown?,
    }
    if secret {
        session.console.note(
            "The client_secret is shown this once and kept nowhere: store it now. A lost one is \
             replaced by `token-ledger client rotate-secret`.",
        );
    }
    Ok(())
}
