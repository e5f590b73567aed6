//! Everything that can stop a command: one sentence, what to do next, and an exit code.
//! Never holds a secret, nor bytes that would steer a terminal.

use std::borrow::Cow;
use std::io;

use crate::cli::console::InputError;
use crate::cli::local::LocalError;
use crate::cli::profile::ProfileError;
use crate::cli::remote_error::RemoteError;
use crate::demo::error::DemoError;

/// How the process ends when it does not end well; 0 is left for when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The server or the system said no, or nothing.
    Failed,
    /// The command line or its input asks for nothing that could be done.
    Usage,
    /// The evidence was read and does not verify.
    Unverified,
}

impl Exit {
    /// The code as the shell sees it.
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unverified => 3,
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Which server, and as whom, is not known.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The server refused, or gave no usable answer.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A command on a data directory failed.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// What was to be read from standard input or a file is of no use.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Standard output takes no more. Where its reader went away on purpose that is no failure;
    /// see [`CliError::is_closed_pipe`].
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
    /// The secret of a client was made, and could not be shown.
    #[error(
        "the new secret of client {client_id} was made, but could not be written out: {source}"
    )]
    SecretNotShown {
        /// Whose secret.
        client_id: String,
        /// What standard output said.
        source: io::Error,
    },
    /// The system gives no threads or sockets to talk with.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
}

impl CliError {
    /// What a person can do next; none where the sentence says it.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Profile(error) => Some(error.hint()),
            Self::Remote(error) => Some(error.hint()),
            Self::Local(error) => error.hint(),
            Self::Input(error) => Some(error.hint()),
            Self::Output(_) => Some("check where standard output goes".into()),
            Self::SecretNotShown { client_id, .. } => Some(
                format!("make another one: token-ledger client rotate-secret {client_id}").into(),
            ),
            Self::Start(_) => Some("check the limits of this user: ulimit -a".into()),
        }
    }

    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Input(_) => Exit::Usage,
            Self::Local(error) => error.exit(),
            Self::Profile(_)
            | Self::Remote(_)
            | Self::Output(_)
            | Self::SecretNotShown { .. }
            | Self::Start(_) => Exit::Failed,
        }
    }

    /// Whether the reader of standard output went away: `| head` has seen enough, and nothing that
    /// was asked for was left undone.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(
            self,
            Self::Output(error)
            | Self::Local(LocalError::Output(error) | LocalError::Demo(DemoError::Output(error)))
                if error.kind() == io::ErrorKind::BrokenPipe
        )
    }
}
