//! Why evidence is not shown to be right: what is wrong with it, or why it could not be judged.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use crate::cli::error::Exit;
use crate::evidence::feed::Unverified;
use crate::evidence::keys::Untrusted;
use crate::evidence::package::error::PackageError;
use crate::evidence::source::SourceError;
use crate::evidence::url::NotAskable;
use crate::log::receipt::ReceiptError;

/// What to do where a log was looked for and is not.
pub(super) const WHERE_A_LOG_IS: &str = "name a directory of tiles (of a backup it is the log/ in \
    it), or the log of a server: https://HOST/log where public_log is set, else that of its admin \
    listener";

/// Why evidence is not shown to be right.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The log is not whole, or cannot be read.
    #[error(transparent)]
    Log(#[from] Unverified),
    /// A checkpoint is not signed by those who should have.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// A receipt proves nothing.
    #[error("{}: {source}", path.display())]
    Receipt {
        /// The receipt.
        path: PathBuf,
        /// Why not.
        source: ReceiptError,
    },
    /// There is nothing to judge.
    #[error("{place} {what}: nothing was judged")]
    Nothing {
        /// Where.
        place: String,
        /// What is missing there.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A key was given for an export, and nothing that it could have signed.
    #[error(
        "an export has no checkpoint of its own, so nothing in it is signed: with --vkey name one \
         that you have of that log, too (--checkpoint)"
    )]
    NothingSigned,
    /// A key was given, and a data directory has no checkpoint that it could have signed.
    #[error(
        "{place} holds no checkpoint{}: nothing in it is signed by the key given",
        if *served { "" } else { " yet, for the ledger was never served" }
    )]
    Unsigned {
        /// The directory.
        place: String,
        /// Whether it has more records than a new ledger.
        served: bool,
    },
    /// A key is none.
    #[error("{text} is no verifier key, and no file of them: {why}")]
    Key {
        /// What was given.
        text: String,
        /// Why not.
        why: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is longer than what it should be can be.
    #[error("{} has more than {bytes_max} bytes", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
        /// The bound.
        bytes_max: usize,
    },
    /// A kept checkpoint is no note.
    #[error("{}: {source}", path.display())]
    Note {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: crate::crypto::note::NoteError,
    },
    /// A package proves nothing, or cannot be made.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// No checkpoint came that covers the reading.
    #[error("no checkpoint that covers the reading was signed in time")]
    NoCheckpoint,
    /// The server cannot be asked.
    #[error("--url: {0}")]
    Url(#[from] NotAskable),
}

impl VerifyError {
    /// What a person can do next.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Log(error) if error.is_fault() => {
                Some("keep it as it is; everything before what is named is whole".into())
            }
            Self::Log(Unverified::Source(SourceError::Refused { status: 401, .. })) => Some(
                "the records are for those with a token of that server: name its profile (--profile); \
                 the one of `login` is used by itself only where --url begins with an address in it"
                    .into(),
            ),
            Self::Log(_) => {
                Some("nothing was judged: see that it can be read, and try again".into())
            }
            Self::Untrusted(Untrusted::Checkpoint { .. }) => Some(
                "was the key rotated? give each verifier key of the log, but none that came with \
                 the evidence alone"
                    .into(),
            ),
            Self::Untrusted(Untrusted::NotWitnessed { .. })
            | Self::Package(PackageError::Untrusted(Untrusted::NotWitnessed { .. })) => Some(
                "see whether that witness can be reached and knows the log; without it you must \
                 trust that others were shown the same log"
                    .into(),
            ),
            Self::NothingSigned => Some(
                "`audit checkpoint` prints one, and a server has it at /log/checkpoint; without \
                 --vkey only the records are judged, and not whose they are"
                    .into(),
            ),
            Self::Unsigned { served: false, .. } => Some(
                "`token-ledger serve` signs the first one within a second or two; without --vkey \
                 the records alone are judged"
                    .into(),
            ),
            Self::Unsigned { served: true, .. } => Some(
                "a ledger that was served has some: they were lost or removed, or it was killed \
                 before the first. Compare with a checkpoint that somebody kept (--checkpoint)"
                    .into(),
            ),
            Self::Nothing { hint, .. } => Some((*hint).into()),
            Self::Key { .. } => {
                Some("`token-ledger keys vkey --data DIR` prints the key of a ledger".into())
            }
            Self::Package(PackageError::TooEarly { .. }) | Self::NoCheckpoint => {
                Some("see whether the server still signs checkpoints: its /metrics say so".into())
            }
            Self::File { .. } => Some("check the path and who may read it".into()),
            Self::Untrusted(_)
            | Self::Package(_)
            | Self::Receipt { .. }
            | Self::TooLong { .. }
            | Self::Note { .. }
            | Self::Url(_) => None,
        }
    }

    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Log(error) if !error.is_fault() => Exit::Failed,
            Self::Log(_)
            | Self::Receipt { .. }
            | Self::TooLong { .. }
            | Self::Note { .. }
            | Self::Unsigned { .. } => Exit::Unverified,
            Self::Untrusted(Untrusted::Checkpoint { .. } | Untrusted::NotWitnessed { .. }) => {
                Exit::Unverified
            }
            Self::Package(error) if error.is_fault() => Exit::Unverified,
            Self::Untrusted(_) | Self::Key { .. } | Self::Url(_) | Self::NothingSigned => {
                Exit::Usage
            }
            Self::Nothing { .. } | Self::File { .. } | Self::Package(_) | Self::NoCheckpoint => {
                Exit::Failed
            }
        }
    }
}
