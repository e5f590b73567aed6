//! One run of a command against a running server: asks, follows pages, and shows the answers to a
//! person, or as they are to a program.

use std::path::PathBuf;

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::{Deserializer, Map, Value, json};

use crate::cli::console::{Console, InputError};
use crate::cli::error::CliError;
use crate::cli::local::LocalError;
use crate::cli::output::{Columns, document};
use crate::cli::profile::Profile;
use crate::cli::remote::{Answer, Call, Remote};
use crate::log::file::{FILE_MODE, write_durably};

/// What every command that talks to a server takes.
#[derive(Debug, Args)]
pub struct RemoteOptions {
    /// The profile to use; alone, without the environment [default: the one of `login`]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Server and output")]
    pub profile: Option<PathBuf>,
    /// Print JSON: the server's as it is, and what is text in an object
    #[arg(long, global = true, help_heading = "Server and output")]
    pub json: bool,
}

/// Where the receipt of a deed goes.
#[derive(Debug, Args)]
pub struct ReceiptArgs {
    /// Keep a receipt: the proof that this is in the log, for whoever asks later
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
}

/// A row of a list, as far as a person looks at it.
pub trait Row: DeserializeOwned {
    /// The headings.
    const COLUMNS: Columns<'static>;
    /// What the list may be called in the answer.
    const NAMES: &'static [&'static str];
    /// Whether the answer may also be JSON Lines, a row on each.
    const LINES: bool = false;

    /// The cells, in the order of the headings.
    fn cells(&self) -> Vec<String>;
}

/// A server, and someone who waits for its answers.
pub struct Session<'c, 's> {
    /// Where answers go.
    pub console: &'c mut Console<'s>,
    /// Whether a program reads them.
    pub json: bool,
    remote: Remote,
}

impl<'c, 's> Session<'c, 's> {
    /// Reads the profile; nothing is sent yet.
    ///
    /// # Errors
    /// [`CliError::Profile`] when it is not known which server is meant.
    pub fn open(console: &'c mut Console<'s>, options: &RemoteOptions) -> Result<Self, CliError> {
        let profile = Profile::load(options.profile.as_deref(), console.variable)?;
        Ok(Self { console, json: options.json, remote: Remote::new(profile)? })
    }

    /// The address of the admin listener.
    pub fn admin(&self) -> &url::Url {
        &self.remote.profile().admin
    }

    /// Asks, without showing the answer.
    ///
    /// # Errors
    /// As [`Remote::ask`].
    pub async fn ask(&mut self, call: &Call) -> Result<Answer, CliError> {
        self.remote.ask(call).await
    }

    /// Asks, and shows the answer as a document. `done` stands for an answer without a body.
    ///
    /// # Errors
    /// As [`Remote::ask`], and when the answer cannot be shown.
    pub async fn show(&mut self, call: &Call, done: &str) -> Result<(), CliError> {
        let answer = self.ask(call).await?;
        if answer.body.trim_ascii().is_empty() {
            self.console.note(done);
            return Ok(());
        }
        if self.json {
            return self.console.answer_as_is(&answer.body);
        }
        let value: Value = answer.json()?;
        self.console.answer(document(&value).as_bytes())?;
        self.console.note(done);
        Ok(())
    }

    /// Shows a text as it is; as JSON it is the only member of an object, `member`.
    ///
    /// # Errors
    /// When it cannot be shown.
    pub fn show_text(&mut self, member: &str, text: &[u8]) -> Result<(), CliError> {
        if !self.json {
            return self.console.answer(text);
        }
        let body = json!({ member: String::from_utf8_lossy(text) });
        self.console.answer(format!("{body}\n").as_bytes())
    }

    /// As [`Session::show`], and keeps the receipt of what was done in a file, where one is named.
    /// Gives the answer, for who has more to say of it.
    ///
    /// # Errors
    /// As [`Session::show`], and when the file cannot be written: what was asked for is done then.
    pub async fn show_with_receipt(
        &mut self,
        call: Call,
        done: &str,
        args: &ReceiptArgs,
    ) -> Result<Value, CliError> {
        let call = call.query("receipt", args.receipt.as_ref().map(|_| 1));
        let answer = self.ask(&call).await?;
        if answer.body.trim_ascii().is_empty() {
            self.console.note(done);
            return Ok(Value::Null);
        }
        let mut value: Value = answer.json()?;
        let receipt = value.as_object_mut().and_then(|members| members.remove("receipt"));
        let seq = value.get("lifted").filter(|seq| seq.is_u64()).or(value.get("seq")).cloned();
        if self.json {
            self.console.answer_as_is(&answer.body)?;
        } else {
            self.console.answer(document(&value).as_bytes())?;
        }
        let later = format!("token-ledger audit receipt --seq {}", seq.unwrap_or_default());
        match (&args.receipt, receipt) {
            (Some(path), Some(Value::String(receipt))) => {
                let written = write_durably(path, receipt.as_bytes(), FILE_MODE);
                if written.is_err() {
                    self.console.note(&format!("{done}; the receipt is not kept: {later}"));
                }
                written.map_err(LocalError::Disk)?;
                self.console.note(&format!("{done}; the receipt is in {}", path.display()));
            }
            (Some(_), _) => {
                self.console.note(&format!("{done}; no checkpoint came in time: {later}"));
            }
            (None, _) if self.json => {}
            (None, _) => self.console.note(done),
        }
        Ok(value)
    }

    /// Asks for a list, and shows it: one page, or `all`. `none` is for an empty list.
    ///
    /// # Errors
    /// As [`Remote::ask`], and when an answer makes no sense or cannot be shown.
    pub async fn list<R: Row>(
        &mut self,
        call: Call,
        all: bool,
        none: &str,
    ) -> Result<(), CliError> {
        let mut call = call;
        let mut cursor: Option<String> = None;
        loop {
            let answer = self.ask(&call).await?;
            let page = page_of::<R>(&answer)?;
            if self.json {
                self.console.answer_as_is(&answer.body)?;
            } else if cursor.is_none() || !page.rows.is_empty() {
                let rows: Vec<_> = page.rows.iter().map(Row::cells).collect();
                self.console.answer_table(R::COLUMNS, &rows, none)?;
            }
            let Some(next) = page.next_cursor else { return Ok(()) };
            if !all {
                self.console.note(&format!("there is more: --all, or --cursor {next}"));
                return Ok(());
            }
            if cursor.as_ref() == Some(&next) {
                return Err(answer.unexpected("it names the same page again").into());
            }
            call = call.query("cursor", Some(&next));
            cursor = Some(next);
        }
    }
}

struct Page<R> {
    rows: Vec<R>,
    next_cursor: Option<String>,
}

/// The rows of an answer: an array, an object that holds one, or lines.
fn page_of<R: Row>(answer: &Answer) -> Result<Page<R>, CliError> {
    let values: Result<Vec<Value>, _> =
        Deserializer::from_slice(&answer.body).into_iter().collect();
    let mut values = values.map_err(|_| answer.unexpected("it is no JSON"))?;
    let mut next_cursor = answer.next_cursor.clone();
    let named = |object: &Map<String, Value>| R::NAMES.iter().find(|n| object.contains_key(**n));
    let rows = match values.as_mut_slice() {
        [Value::Array(rows)] => std::mem::take(rows),
        [Value::Object(object)] if named(object).is_some() => {
            if let Some(Value::String(cursor)) = object.get("next_cursor") {
                next_cursor = Some(cursor.clone());
            }
            match named(object).and_then(|name| object.get_mut(*name)) {
                Some(Value::Array(rows)) => std::mem::take(rows),
                Some(_) | None => return Err(answer.unexpected("it holds no list").into()),
            }
        }
        _ if R::LINES => values,
        _ => return Err(answer.unexpected("it holds no list").into()),
    };
    let rows: Result<Vec<R>, _> = rows.into_iter().map(serde_json::from_value).collect();
    let rows = rows.map_err(|_| answer.unexpected("its list holds something else"))?;
    Ok(Page { rows, next_cursor })
}

/// The person meant: named on the command line, or in a line of standard input.
///
/// # Errors
/// [`InputError`] when standard input has no such line.
pub fn subject_of(
    console: &mut Console<'_>,
    named: Option<&String>,
    from_input: bool,
) -> Result<Option<String>, InputError> {
    if from_input {
        return Ok(Some(console.line("subject")?.expose().to_owned()));
    }
    Ok(named.cloned())
}
