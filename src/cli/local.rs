//! The commands that work on a data directory of this machine.

use std::borrow::Cow;

use crate::cli::arguments::Local;
use crate::cli::error::Exit;

/// Why a local command failed.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// This build holds the definition of the command only.
    #[error("not built yet")]
    NotBuilt,
}

impl LocalError {
    /// What a person can do next.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::NotBuilt => None,
        }
    }

    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotBuilt => Exit::Failed,
        }
    }
}

/// Does what `command` asks.
///
/// # Errors
/// [`LocalError`]; its hint says what to do.
pub fn run(command: Local) -> Result<(), LocalError> {
    match command {
        Local::Init(_)
        | Local::Serve(_)
        | Local::Demo(_)
        | Local::Export(_)
        | Local::Verify(_)
        | Local::Config
        | Local::Vkey(_) => Err(LocalError::NotBuilt),
    }
}
