//! The `token-ledger` binary: gives the command line its streams, and the shell an exit code.

use std::io::{BufReader, IsTerminal, stderr, stdin, stdout};
use std::process::ExitCode;

use clap::Parser;
use token_ledger::cli::console::Console;
use token_ledger::cli::{Cli, report, run};

/// What one thread allocates another frees, here with every request: the records of a command go
/// from a listener's thread to the writer's. The system's allocator pays for that with locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // None of the streams is locked: a command that serves has threads that use them, too.
    let mut console = Console {
        out: &mut stdout(),
        notes: &mut stderr(),
        input: &mut BufReader::new(stdin()),
        input_is_terminal: stdin().is_terminal(),
        variable: &|name| std::env::var(name).ok(),
    };
    match run(cli, &mut console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, &mut stderr());
            ExitCode::from(error.exit().code())
        }
    }
}
