//! The commands of the binary that are not the service: run to their end, as an operator would.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::service::{Administrator, Service, binary, has_panicked};

/// Longer than any command takes, under `strace` and on a slow machine too.
const COMMAND_S_MAX: &str = "90";

/// A command line of the binary, run under `before`.
pub fn tool(before: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", COMMAND_S_MAX]).args(before).arg(binary()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// One that asks a service, in the name of its administrator.
pub fn asking(
    service: &Service,
    administrator: &Administrator,
    before: &[&str],
    arguments: &[&str],
) -> Command {
    let mut command = tool(before, arguments);
    command.env("TOKEN_LEDGER_PUBLIC_URL", format!("http://{}", service.public));
    command.env("TOKEN_LEDGER_ADMIN_URL", format!("http://{}", service.admin));
    command.env("TOKEN_LEDGER_CLIENT_ID", &administrator.id);
    command.env("TOKEN_LEDGER_CLIENT_SECRET", &administrator.secret);
    command
}

/// What it printed; or what it said, if it failed.
pub fn run(mut command: Command) -> Result<String, String> {
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() && !has_panicked(&said) {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let printed = String::from_utf8_lossy(&done.stdout);
    Err(format!("{command:?} ended with {:?}: {printed}{said}", done.status))
}

/// A refusal that names what is wrong and is no panic.
pub fn is_clear(said: &str) -> bool {
    said.contains("error:") && !has_panicked(said)
}

pub fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The verifier keys of a ledger, in the file `to`.
pub fn write_vkeys(data: &Path, to: &Path) -> Result<(), String> {
    let keys = run(tool(&[], &["keys", "vkey", "--data", &text(data)]))?;
    std::fs::write(to, keys).map_err(|error| error.to_string())
}
