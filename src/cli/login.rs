//! `token-ledger login`: keeps which server to talk to, and as whom. The secret comes from the
//! environment or standard input, never from the command line.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::console::Console;
use crate::cli::error::CliError;
use crate::cli::output::document;
use crate::cli::profile::{CLIENT_SECRET, Profile, default_path};
use crate::cli::remote::Remote;
use crate::types::id::ClientId;
use crate::types::secret::Secret;

/// What `login` takes.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The public listener, where clients get tokens
    #[arg(long, value_name = "URL")]
    public: String,
    /// The admin listener
    #[arg(long, value_name = "URL")]
    admin: String,
    /// The client to act as; `init` printed the first one
    #[arg(long, value_name = "ID")]
    client_id: ClientId,
    /// Where to write the profile [default: $XDG_CONFIG_HOME/token-ledger/profile.toml]
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Let the secret travel over http to another host, on a network of your own
    #[arg(long)]
    allow_plain_http: bool,
    /// Write the profile without asking the server whether the secret is right
    #[arg(long)]
    no_check: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Checks the secret against the server, then writes the profile.
///
/// # Errors
/// [`CliError`]; no profile was written, and one that was there is whole.
pub async fn run(console: &mut Console<'_>, args: &LoginArgs) -> Result<(), CliError> {
    let path = match &args.profile {
        Some(path) => path.clone(),
        None => default_path(console.variable)?,
    };
    let secret = match (console.variable)(CLIENT_SECRET).filter(|secret| !secret.is_empty()) {
        Some(secret) => Secret::new(secret),
        None => console.line("client secret")?,
    };
    let id = args.client_id.as_str();
    let profile = Profile::new(&args.public, &args.admin, id, secret, args.allow_plain_http)?;
    let mut remote = Remote::new(profile)?;
    let scope = if args.no_check { None } else { Some(remote.log_in().await?) };
    let profile = remote.profile();
    profile.save(&path)?;
    let said = json!({
        "profile": path.display().to_string(),
        "public_url": profile.public.as_str(),
        "admin_url": profile.admin.as_str(),
        "client_id": profile.client_id,
        "scope": scope,
    });
    if args.json {
        return console.answer_as_is(said.to_string().as_bytes());
    }
    console.answer(document(&said).as_bytes())?;
    console.note("Next: token-ledger client list, or token-ledger audit records");
    Ok(())
}
