//! `token-ledger subject`: what the law lets a person ask for.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::remote::Call;
use crate::cli::session::{RemoteOptions, Session, subject_of};

/// What `subject` takes.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Example:
  token-ledger subject erase alice --reason 'request of 3 May' --legal-basis 'GDPR Art. 17(1)(b)'

Next: token-ledger subject erase --help"
)]
pub struct SubjectArgs {
    #[command(flatten)]
    pub(super) options: RemoteOptions,
    #[command(subcommand)]
    command: SubjectCommand,
}

/// What can be done with persons.
#[derive(Debug, Subcommand)]
enum SubjectCommand {
    /// Forget a person for good: revoke what is live and destroy the key of their data
    #[command(after_help = "\
Examples:
  token-ledger subject erase alice --reason 'request of 3 May' --legal-basis 'GDPR Art. 17(1)(b)'
  token-ledger subject erase --subject-stdin --reason ... --legal-basis ... --now < subject.txt

This cannot be undone. Every hash and proof of the log stays valid; the person's data in it, and in
old copies of it, can no longer be read. Say nothing about the person in the reason: it stays.

Next: destroy the vault's backups from before, as their retention says.")]
    Erase(EraseArgs),
}

#[derive(Debug, Args)]
struct EraseArgs {
    /// The `sub` of the person
    #[arg(value_name = "SUBJECT", required_unless_present = "subject_stdin")]
    subject: Option<String>,
    /// Read the `sub` from standard input: it stays out of the process list
    #[arg(long, conflicts_with = "subject")]
    subject_stdin: bool,
    /// Why; it is recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The article or contract that demands it; it is recorded
    #[arg(long, value_name = "TEXT")]
    legal_basis: String,
    /// Rewrite the vault before the answer, instead of within the configured time
    #[arg(long)]
    now: bool,
}

/// Does what `subject` asks.
///
/// # Errors
/// [`CliError`]; its hint says what to do.
pub async fn run(session: &mut Session<'_, '_>, args: &SubjectArgs) -> Result<(), CliError> {
    match &args.command {
        SubjectCommand::Erase(args) => {
            let subject = subject_of(session.console, args.subject.as_ref(), args.subject_stdin)?;
            let body = json!({
                "subject": subject,
                "reason": args.reason,
                "legal_basis": args.legal_basis,
                "rewrite_now": args.now,
            });
            let call = Call::post(&["admin", "subjects", "erase"]).body(body);
            session.show(&call, "erased").await
        }
    }
}
