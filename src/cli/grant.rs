//! `token-ledger grant`: the authorizations that all tokens descend from.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cli::error::CliError;
use crate::cli::output::cell;
use crate::cli::remote::Call;
use crate::cli::session::{ReceiptArgs, RemoteOptions, Row, Session, subject_of};
use crate::domain::client::redirect_uri::RedirectUri;
use crate::types::id::{ClientId, GrantId};
use crate::types::resource::Resource;
use crate::types::scope::Scope;

const GRANTS: &[&str] = &["admin", "grants"];

/// What `grant` takes.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  token-ledger grant create --client photos --subject alice --scope 'read write'
  token-ledger grant list --subject alice
  token-ledger grant revoke g_3kTq9xV2mN8pLr5wYzA1bA --reason 'owner asked by phone'

Next: token-ledger grant create --help"
)]
pub struct GrantArgs {
    #[command(flatten)]
    pub(super) options: RemoteOptions,
    #[command(subcommand)]
    command: GrantCommand,
}

/// What can be done with grants.
#[derive(Debug, Subcommand)]
enum GrantCommand {
    /// Record what a resource owner granted, and get a code for the client
    #[command(after_help = "\
Example:
  token-ledger grant create --client photos --subject alice --scope 'read write' \\
    --resource https://api.example --redirect-uri https://photos.example/callback \\
    --code-challenge E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM

Needs the scope ledger:grant. Next: the client exchanges the code at POST /oauth/token within its
short life, with the code_verifier that belongs to the challenge.")]
    Create(CreateArgs),
    /// List the live grants of a person or a client, with their live tokens
    #[command(after_help = "\
Examples:
  token-ledger grant list --subject alice
  token-ledger grant list --client photos --all --json

Next: `grant show ID`, or `token-ledger audit trail --grant ID` for how it came about.")]
    List(ListArgs),
    /// Show one grant
    #[command(after_help = "\
Example:
  token-ledger grant show g_3kTq9xV2mN8pLr5wYzA1bA

Next: token-ledger audit trail --grant ID")]
    Show {
        /// Which grant
        grant_id: GrantId,
    },
    /// Revoke a grant with all its tokens
    #[command(after_help = "\
Example:
  token-ledger grant revoke g_3kTq9xV2mN8pLr5wYzA1bA --reason 'owner asked by phone'

Next: token-ledger audit trail --grant ID")]
    Revoke {
        /// Which grant
        grant_id: GrantId,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        receipt: ReceiptArgs,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The client that it is for
    #[arg(long, value_name = "ID")]
    client: ClientId,
    /// The `sub` of the resource owner
    #[arg(long, value_name = "SUB", required_unless_present = "subject_stdin")]
    subject: Option<String>,
    /// Read the `sub` from standard input: it stays out of the process list
    #[arg(long, conflicts_with = "subject")]
    subject_stdin: bool,
    /// What was granted, scope tokens with blanks between; all that the client may have if absent
    #[arg(long, value_name = "SCOPE")]
    scope: Option<Scope>,
    /// A resource server that it is for; may be given more than once
    #[arg(long, value_name = "URI")]
    resource: Vec<Resource>,
    /// The redirect URI of the authorization request; the exchange must repeat it
    #[arg(long, value_name = "URI")]
    redirect_uri: Option<RedirectUri>,
    /// The PKCE challenge of the client (RFC 7636); public clients must have one
    #[arg(long, value_name = "CHALLENGE")]
    code_challenge: Option<String>,
    /// How the challenge was made
    #[arg(
        long,
        value_name = "METHOD",
        default_value_if("code_challenge", clap::builder::ArgPredicate::IsPresent, "S256"),
        requires = "code_challenge"
    )]
    code_challenge_method: Option<String>,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    whose: WhoseArgs,
    /// How many on a page
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Where the page begins, as the page before said
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Follow all pages; with --json, each page is one line
    #[arg(long)]
    all: bool,
}

/// Exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhoseArgs {
    /// The `sub` of a resource owner
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
    /// Read the `sub` from standard input: it stays out of the process list
    #[arg(long)]
    subject_stdin: bool,
    /// A client
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
}

/// A grant, as far as the list shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GrantRow {
    #[serde(alias = "id")]
    grant_id: Value,
    #[serde(alias = "client")]
    client_id: Value,
    subject: Value,
    scope: Value,
    #[serde(alias = "created_at", alias = "at")]
    granted_at: Value,
    tokens: Option<Vec<Value>>,
}

impl Row for GrantRow {
    const COLUMNS: &'static [&'static str] =
        &["grant_id", "client_id", "subject", "scope", "granted_at", "live_tokens"];
    const NAMES: &'static [&'static str] = &["grants"];

    fn cells(&self) -> Vec<String> {
        let cells = [&self.grant_id, &self.client_id, &self.subject, &self.scope, &self.granted_at];
        let tokens = self.tokens.as_ref().map(|tokens| tokens.len().to_string());
        cells.into_iter().map(cell).chain([tokens.unwrap_or_default()]).collect()
    }
}

/// Does what `grant` asks.
///
/// # Errors
/// [`CliError`]; its hint says what to do.
pub async fn run(session: &mut Session<'_, '_>, args: &GrantArgs) -> Result<(), CliError> {
    let path = |id: &GrantId| id.to_string();
    match &args.command {
        GrantCommand::Create(args) => {
            let call = Call::post(GRANTS).body(create(session, args)?);
            session.show(&call, "Next: the client exchanges the code at POST /oauth/token.").await
        }
        GrantCommand::List(args) => {
            let whose = &args.whose;
            let subject = subject_of(session.console, whose.subject.as_ref(), whose.subject_stdin)?;
            let call = Call::get(GRANTS)
                .query("subject", subject)
                .query("client", whose.client.as_ref())
                .query("limit", args.limit)
                .query("cursor", args.cursor.as_ref());
            session.list::<GrantRow>(call, args.all, "no live grants").await
        }
        GrantCommand::Show { grant_id } => {
            session.show(&Call::get(&["admin", "grants", &path(grant_id)]), "").await
        }
        GrantCommand::Revoke { grant_id, reason, receipt } => {
            let call = Call::delete(&["admin", "grants", &path(grant_id)]);
            let call = match reason {
                Some(reason) => call.body(json!({ "reason": reason })),
                None => call,
            };
            session.show_with_receipt(call, "revoked", receipt).await.map(drop)
        }
    }
}

fn create(session: &mut Session<'_, '_>, args: &CreateArgs) -> Result<Value, CliError> {
    let subject = subject_of(session.console, args.subject.as_ref(), args.subject_stdin)?;
    let resource = (!args.resource.is_empty()).then(|| json!(args.resource));
    let given = [
        ("client_id", Some(json!(args.client))),
        ("subject", subject.map(|subject| json!(subject))),
        ("scope", args.scope.as_ref().map(|scope| json!(scope))),
        ("resource", resource),
        ("redirect_uri", args.redirect_uri.as_ref().map(|uri| json!(uri))),
        ("code_challenge", args.code_challenge.as_ref().map(|text| json!(text))),
        ("code_challenge_method", args.code_challenge_method.as_ref().map(|text| json!(text))),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Ok(Value::Object(given.collect::<Map<_, _>>()))
}
