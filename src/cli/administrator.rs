//! `token-ledger init` and `token-ledger administrator`: who administers, made on this machine. Never
//! beside a running server, and never without a record.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::arguments::InitArgs;
use crate::cli::local::{
    LocalError, OFFLINE_CACHE_BYTES, log_to_standard_error, progress, write_out,
};
use crate::clock::SystemClock;
use crate::config::settings::Config;
use crate::config::source::Sources;
use crate::domain::client::{AccessTokenFormat, ClientMetadata, GrantType};
use crate::entropy::OsEntropy;
use crate::ledger::administrator::Administrator;
use crate::ledger::open::{Beginning, create};
use crate::oauth::issuer::{Issuer, NotAnIssuer};
use crate::run::administrator::add_administrator;

/// What `administrator` takes.
#[derive(Debug, Args)]
pub struct AdministratorArgs {
    /// The data directory that `init` made, while no server runs on it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn metadata(name: &str) -> ClientMetadata {
    ClientMetadata {
        client_name: Some(name.to_owned()),
        grant_types: [GrantType::ClientCredentials].into(),
        scope: "ledger:admin ledger:audit ledger:grant".parse().unwrap_or_default(),
        // Opaque, so that nobody takes it for a token that others could check.
        access_token_format: AccessTokenFormat::Opaque,
        ..ClientMetadata::default()
    }
}

/// Makes a ledger.
pub(super) fn init(args: &InitArgs) -> Result<(), LocalError> {
    let issuer: Issuer = args.issuer.parse()?;
    // Routers and proxies disagree on whether such a path is decoded before it is compared.
    if issuer.path().contains('%') {
        return Err(LocalError::Issuer(NotAnIssuer::Parts));
    }
    let administrator = metadata("first administrator");
    let origin = issuer.origin_name();
    let beginning = Beginning { issuer: issuer.as_str(), origin, administrator };
    let clock = Arc::new(SystemClock);
    let made = create(&args.data, beginning, OFFLINE_CACHE_BYTES, clock, &OsEntropy)?;
    let data = args.data.display();
    let text = if args.json {
        json!({ "issuer": issuer, "data": args.data, "admin": admin(&made) }).to_string()
    } else {
        format!(
            "Made a ledger in {data} for the issuer {issuer}.\n\n\
             The first administrator (the secret is shown this once):\n{}\n\
             Next:\n  token-ledger serve --data {data}",
            credentials(&made)
        )
    };
    say_secret(&text, format!("the ledger in {data} is made"), &args.data)
}

/// Makes another administrator.
pub(super) fn administrator(args: &AdministratorArgs) -> Result<(), LocalError> {
    log_to_standard_error();
    let config = Config::load(&Sources::default())?;
    let (clock, progress) = (Arc::new(SystemClock), progress("replaying the log"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(LocalError::Runtime)?;
    let another = metadata("another administrator");
    let adding = add_administrator(&args.data, another, &config, clock, &OsEntropy, progress);
    let made = runtime.block_on(adding)?;
    let data = args.data.display();
    let text = if args.json {
        json!({ "data": args.data, "admin": admin(&made) }).to_string()
    } else {
        format!(
            "Another administrator (the secret is shown this once):\n{}\n\
             Next:\n  token-ledger serve --data {data}\n  \
             token-ledger client disable ID   for each administrator that is lost",
            credentials(&made)
        )
    };
    say_secret(&text, format!("the client {} is registered", made.client), &args.data)
}

/// Says what was `made`; where that fails, the secret in it is lost, and nothing else.
fn say_secret(text: &str, made: String, data: &Path) -> Result<(), LocalError> {
    let data = data.display().to_string();
    write_out(text).map_err(|source| LocalError::SecretNotShown { made, source, data })
}

fn admin(made: &Administrator) -> Value {
    json!({ "client_id": made.client, "client_secret": made.secret.expose() })
}

fn credentials(made: &Administrator) -> String {
    format!("  client_id      {}\n  client_secret  {}\n", made.client, made.secret.expose())
}
