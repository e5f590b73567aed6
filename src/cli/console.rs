//! The streams and variables of one run. Everything a command reads or writes passes here, so that
//! a test can stand in for a person; secrets are never echoed.

use std::borrow::Cow;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::cli::error::CliError;
use crate::cli::output::{Columns, table};
use crate::types::secret::Secret;

/// How many bytes a secret, a token or a subject may take on standard input.
pub const LINE_BYTES_MAX: u64 = 8 * 1024;
/// How many bytes a JSON file may take.
pub const JSON_FILE_BYTES_MAX: u64 = 64 * 1024;

/// What a run reads and writes.
pub struct Console<'a> {
    /// Answers, and nothing else.
    pub out: &'a mut dyn Write,
    /// Warnings and what to do next, for people.
    pub notes: &'a mut dyn Write,
    /// Where secrets come from.
    pub input: &'a mut dyn BufRead,
    /// Whether a person types there.
    pub input_is_terminal: bool,
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Why an input is of no use.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Nothing came.
    #[error("no {what} on standard input")]
    Nothing {
        /// What was expected.
        what: &'static str,
    },
    /// It is not one line of text.
    #[error(
        "the {what} on standard input must be one line of text, at most {LINE_BYTES_MAX} bytes"
    )]
    NotALine {
        /// What was expected.
        what: &'static str,
    },
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// What was read; `-` is standard input.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file is not one JSON object.
    #[error("{} must hold one JSON object, at most {JSON_FILE_BYTES_MAX} bytes", path.display())]
    NotAnObject {
        /// Which file.
        path: PathBuf,
    },
    /// The identifier cannot stand in a URL.
    #[error("the identifier {id} cannot be asked for: it cannot stand in a URL")]
    DotSegment {
        /// Which identifier.
        id: String,
    },
    /// A change that changes nothing.
    #[error("nothing to change")]
    NoChange,
}

impl InputError {
    /// What a person can do next.
    pub fn hint(&self) -> Cow<'static, str> {
        match self {
            Self::Nothing { what } | Self::NotALine { what } => {
                format!("pipe the {what} in from a file, or type it when asked").into()
            }
            Self::Unreadable { .. } => {
                "name a file that you may read, or - for standard input".into()
            }
            Self::NotAnObject { .. } => "write it like {\"client_name\": \"Photos\"}".into(),
            Self::DotSegment { .. } => "find it with the list command instead".into(),
            Self::NoChange => "name at least one member; --help lists them".into(),
        }
    }
}

impl Console<'_> {
    /// Writes an answer.
    ///
    /// # Errors
    /// [`CliError::Output`]; what was asked of the server is done all the same.
    pub fn answer(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.out.write_all(bytes).and_then(|()| self.out.flush()).map_err(CliError::Output)
    }

    /// Writes an answer as the server gave it, ended by a newline.
    ///
    /// # Errors
    /// As [`Console::answer`].
    pub fn answer_as_is(&mut self, body: &[u8]) -> Result<(), CliError> {
        self.answer(body.trim_ascii_end())?;
        self.answer(b"\n")
    }

    /// Writes a table, or a note where there is nothing to write: an empty answer stays empty for
    /// the program that reads it.
    ///
    /// # Errors
    /// As [`Console::answer`].
    pub fn answer_table(
        &mut self,
        columns: Columns<'_>,
        rows: &[Vec<String>],
        none: &str,
    ) -> Result<(), CliError> {
        if rows.is_empty() {
            self.note(none);
            return Ok(());
        }
        self.answer(table(columns, rows).as_bytes())
    }

    /// Tells a person something. Nobody listening is no failure.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(self.notes, "{text}").and_then(|()| self.notes.flush());
    }

    /// One line from standard input that must not stand on a command line: a secret, a token, a
    /// person. A person who types it is asked for it and does not see it.
    ///
    /// # Errors
    /// [`InputError`] when there is no such line; nothing was sent anywhere.
    pub fn line(&mut self, what: &'static str) -> Result<Secret, InputError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX as usize + 2));
        let mut input = self.input.take(LINE_BYTES_MAX + 2);
        let read = if self.input_is_terminal {
            let _ = write!(self.notes, "{what} (not shown): ").and_then(|()| self.notes.flush());
            let hidden = Hidden::begin();
            let read = input.read_until(b'\n', &mut bytes);
            drop(hidden);
            let _ = writeln!(self.notes);
            read
        } else {
            input.read_to_end(&mut bytes)
        };
        let unreadable = |source| InputError::Unreadable { path: PathBuf::from("-"), source };
        read.map_err(unreadable)?;
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(InputError::Nothing { what });
        }
        let text = std::str::from_utf8(line).map_err(|_| InputError::NotALine { what })?;
        if LINE_BYTES_MAX < text.len() as u64 || text.chars().any(char::is_control) {
            return Err(InputError::NotALine { what });
        }
        Ok(Secret::new(text.to_owned()))
    }

    /// The JSON object in the file `path`; `-` is standard input.
    ///
    /// # Errors
    /// [`InputError`] when it cannot be read or is no object; nothing was sent anywhere.
    pub fn json_object(
        &mut self,
        path: &Path,
    ) -> Result<serde_json::Map<String, serde_json::Value>, InputError> {
        let mut bytes = Vec::new();
        let read = if path == Path::new("-") {
            self.input.take(JSON_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(path)
                .and_then(|file| file.take(JSON_FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        };
        read.map_err(|source| InputError::Unreadable { path: path.to_owned(), source })?;
        let not_an_object = || InputError::NotAnObject { path: path.to_owned() };
        if JSON_FILE_BYTES_MAX < bytes.len() as u64 {
            return Err(not_an_object());
        }
        serde_json::from_slice(&bytes).map_err(|_| not_an_object())
    }
}

/// While it lives, the terminal does not show what is typed.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> Option<Self> {
        let input = io::stdin();
        let before = tcgetattr(input.as_fd()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(input.as_fd(), OptionalActions::Flush, &silent).ok()?;
        Some(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &self.before);
    }
}
