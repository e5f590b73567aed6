//! What the local commands take, and nothing of what they do.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::cli::administrator::AdministratorArgs;
use crate::cli::copies::{DoctorArgs, RestoreArgs};
use crate::cli::fence::FenceCommand;
use crate::cli::witness::WitnessCommand;
use crate::types::id::{ClientId, GrantId, SubjectId};
use crate::types::time::Timestamp;

/// A command on this machine, with its arguments.
#[derive(Debug)]
pub enum Local {
    /// Makes a ledger.
    Init(InitArgs),
    /// Makes another administrator.
    Administrator(AdministratorArgs),
    /// Runs it.
    Serve(ServeArgs),
    /// Shows the whole protocol on a ledger of its own.
    Demo(DemoArgs),
    /// Writes the exact records to standard output, or the log as tiles.
    Export(ExportArgs),
    /// Prints the configuration reference.
    Config,
    /// Prints the checkpoint verifier keys.
    Vkey {
        /// Of which ledger.
        data: PathBuf,
        /// As one JSON object.
        json: bool,
    },
    /// Makes a lost fence anew.
    Fence(FenceCommand),
    /// Runs a witness.
    Witness(WitnessCommand),
    /// Makes a ledger from copies.
    Restore(RestoreArgs),
    /// Says what state a directory is in.
    Doctor(DoctorArgs),
}

/// What `init` takes.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The directory to make; it must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The issuer: the URL under which clients reach the service, for ever in every token
    #[arg(long, value_name = "URL")]
    pub issuer: String,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// What `serve` takes.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The data directory that `init` made
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// A TOML file of settings; `token-ledger config` lists them
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where clients reach the service; port 0 lets the system choose
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Where administrators and auditors reach it; keep it off the public network
    #[arg(long, value_name = "HOST:PORT")]
    pub admin_listen: Option<String>,
    /// The certificate of both listeners in PEM; read again on SIGHUP
    #[arg(long, value_name = "PATH")]
    pub tls_certificate_file: Option<String>,
    /// Its private key in PEM
    #[arg(long, value_name = "PATH")]
    pub tls_key_file: Option<String>,
    /// The proxies in front that speak TLS to callers; they are believed about who the caller is
    #[arg(long, value_name = "ADDRESS,...")]
    pub behind_proxy: Option<String>,
    /// Any other setting; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<Assignment>,
}

impl ServeArgs {
    /// The settings that were given as flags, by key, in no order of weight.
    pub fn settings(&self) -> Vec<(String, String)> {
        let named = [
            ("listen", &self.listen),
            ("admin_listen", &self.admin_listen),
            ("tls_certificate_file", &self.tls_certificate_file),
            ("tls_key_file", &self.tls_key_file),
            ("behind_proxy", &self.behind_proxy),
        ];
        let named = named
            .into_iter()
            .filter_map(|(key, value)| value.clone().map(|value| (key.to_owned(), value)));
        let set = self.set.iter().map(|set| (set.key.clone(), set.value.clone()));
        named.chain(set).collect()
    }
}

/// One setting as `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The key, as in `token-ledger config`.
    pub key: String,
    /// The value, unread.
    pub value: String,
}

/// Why a text is not a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not KEY=VALUE, like code_lifetime_s=30")]
pub struct NotAnAssignment;

impl FromStr for Assignment {
    type Err = NotAnAssignment;

    fn from_str(text: &str) -> Result<Self, NotAnAssignment> {
        let (key, value) = text.split_once('=').ok_or(NotAnAssignment)?;
        if key.is_empty() || !key.bytes().all(|c| c.is_ascii_lowercase() || c == b'_') {
            return Err(NotAnAssignment);
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// What `demo` takes.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where to make the ledger of the demonstration; a temporary directory if absent
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Leave the servers running until Ctrl-C, and print the curl lines to go on by hand
    #[arg(long)]
    pub keep: bool,
}

/// What `export` takes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The data directory that `init` made
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Write a directory of tiles with a checkpoint instead, or extend it
    #[arg(long, value_name = "DIR")]
    pub tiles: Option<PathBuf>,
}

/// What `verify` takes.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// What is to be verified.
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    /// A verifier key of the log, as text or a file of them; each that signed over the years. With
    /// --export name a checkpoint that it signed, too (--checkpoint)
    #[arg(long, value_name = "KEY|FILE")]
    pub vkey: Vec<String>,
    /// A verifier key of a witness that must have cosigned the newest checkpoint; with --vkey
    #[arg(long, value_name = "KEY|FILE")]
    pub witness_vkey: Vec<String>,
    /// A checkpoint that you kept: what it covers must still be the beginning of the log. Not with
    /// --package or --receipt, which do not hold the beginning
    #[arg(long, value_name = "FILE", conflicts_with_all = ["package", "receipt"])]
    pub checkpoint: Vec<PathBuf>,
    /// The exact bytes of the record that the receipt is for; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "receipt")]
    pub record: Option<PathBuf>,
    /// The nonce of the reading that the package must be, and no older one
    #[arg(long, value_name = "NONCE", requires = "package")]
    pub nonce: Option<String>,
    /// Whose records the package must hold.
    #[command(flatten)]
    pub of: OfArgs,
    /// The profile whose client may read the records at --url [default: the one of `login`, if --url is
    /// an address of its server]
    #[arg(long, value_name = "FILE", requires = "url")]
    pub profile: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Whose records, or of which time, a package must hold; where none is given it may be any.
#[derive(Debug, Args)]
pub struct OfArgs {
    /// The package must be of this grant
    #[arg(long, value_name = "ID", requires = "package", conflicts_with_all = ["subject", "client",
        "since", "until"])]
    pub grant: Option<GrantId>,
    /// The package must be of the person with this pseudonym (`s_...`), as `audit package` printed it
    #[arg(long, value_name = "PSEUDONYM", requires = "package", conflicts_with_all = ["client",
        "since", "until"])]
    pub subject: Option<SubjectId>,
    /// The package must be of this client
    #[arg(long, value_name = "ID", requires = "package", conflicts_with_all = ["since", "until"])]
    pub client: Option<ClientId>,
    /// The package must be of the time from this instant on, like 2026-11-23T04:12:33Z
    #[arg(long, value_name = "TIME", requires = "package")]
    pub since: Option<Timestamp>,
    /// The package must be of the time up to this instant
    #[arg(long, value_name = "TIME", requires = "package")]
    pub until: Option<Timestamp>,
}

/// The kinds of evidence; exactly one is given.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct EvidenceArgs {
    /// A data directory, whole, while no server runs on it
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A file of records as `export` or `audit records` wrote it; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// A directory of tiles as `export --tiles` or `mirror` wrote it
    #[arg(long, value_name = "DIR")]
    pub tiles: Option<PathBuf>,
    /// A live log, like http://127.0.0.1:8081/log
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A package as `audit package` wrote it, with --vkey
    #[arg(long, value_name = "DIR", requires = "vkey")]
    pub package: Option<PathBuf>,
    /// A receipt (.tlog-proof), with --record and --vkey
    #[arg(long, value_name = "FILE", requires = "record", requires = "vkey")]
    pub receipt: Option<PathBuf>,
}
