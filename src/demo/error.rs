//! Why the demonstration ends early, and the checks that make it: each step says what it expects,
//! and nothing is shown as fact that was not found to be so.

use std::fmt::Display;
use std::path::PathBuf;

use crate::config::ConfigFault;
use crate::demo::call::Answer;
use crate::demo::shorten::shorten;
use crate::guard::options::GuardFault;
use crate::ledger::open::OpenError;
use crate::ledger::replay::LogError;
use crate::run::error::RunError;

/// Why the demonstration ended early. Its temporary directory is removed all the same.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A step came out otherwise than it says: the service is at fault.
    #[error("step {step} did not come out as stated: expected {expected}, found {found}")]
    NotAsStated {
        /// Which step; 0 is the preparation.
        step: u8,
        /// What should have been.
        expected: String,
        /// What was.
        found: String,
    },
    /// The temporary directory cannot be made or removed.
    #[error("the temporary directory {}: {source}; choose another with --data", path.display())]
    Temporary {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The ledger cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The configuration is refused: a bug.
    #[error(transparent)]
    Config(#[from] ConfigFault),
    /// The service does not start or stop.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The guard of the resource server cannot be made.
    #[error("the guard of the resource server: {0}")]
    Guard(#[from] GuardFault),
    /// The resource server cannot listen.
    #[error("the resource server cannot listen: {0}")]
    Listen(#[source] std::io::Error),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    HttpClient(#[source] reqwest::Error),
    /// A request had no answer.
    #[error("step {step}: {caller} had no answer from {called}: {source}")]
    NoAnswer {
        /// Which step; 0 is the preparation.
        step: u8,
        /// Who asked.
        caller: String,
        /// Who was asked.
        called: String,
        /// What happened.
        source: reqwest::Error,
    },
    /// The log does not replay.
    #[error("the log does not replay: {0}")]
    Log(#[from] LogError),
    /// The transcript cannot be written.
    #[error("the transcript cannot be written: {0}")]
    Output(#[from] std::io::Error),
    /// Ctrl-C.
    #[error("interrupted; the servers are stopped")]
    Interrupted,
}

/// The checks of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stated(pub(super) u8);

impl Stated {
    /// # Errors
    /// [`DemoError::NotAsStated`] unless `holds`.
    pub(super) fn holds(
        self,
        expected: impl Display,
        found: impl Display,
        holds: bool,
    ) -> Result<(), DemoError> {
        if holds {
            return Ok(());
        }
        // A failed step must not put a token into an error message.
        let (expected, found) = (shorten(&expected.to_string()), shorten(&found.to_string()));
        Err(DemoError::NotAsStated { step: self.0, expected, found })
    }

    /// # Errors
    /// [`DemoError::NotAsStated`] unless `found` is `expected`.
    pub(super) fn is<T: PartialEq + Display>(
        self,
        what: &str,
        expected: T,
        found: T,
    ) -> Result<(), DemoError> {
        let holds = expected == found;
        self.holds(format_args!("{what} {expected}"), found, holds)
    }

    /// # Errors
    /// [`DemoError::NotAsStated`] unless the answer has this status.
    pub(super) fn status(self, expected: u16, answer: &Answer) -> Result<(), DemoError> {
        let found = format!("{} {}", answer.status, answer.text);
        self.holds(format_args!("status {expected}"), found, answer.status == expected)
    }

    /// # Errors
    /// [`DemoError::NotAsStated`] unless the answer has this status and this `error` in its body.
    pub(super) fn refused(
        self,
        status: u16,
        error: &str,
        answer: &Answer,
    ) -> Result<(), DemoError> {
        let holds = answer.status == status && answer.text_of("error").as_deref() == Some(error);
        let found = format!("{} {}", answer.status, answer.text);
        self.holds(format_args!("status {status} and error {error}"), found, holds)
    }

    /// The text of a member that the answer must have.
    ///
    /// # Errors
    /// [`DemoError::NotAsStated`] where it is missing or no text.
    pub(super) fn member(self, name: &str, answer: &Answer) -> Result<String, DemoError> {
        answer.text_of(name).ok_or_else(|| DemoError::NotAsStated {
            step: self.0,
            expected: format!("an answer with {name}"),
            found: shorten(&format!("{} {}", answer.status, answer.text)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, text: &str) -> Answer {
        Answer { status, text: text.to_owned(), ..Answer::default() }
    }

    fn message(checked: Result<(), DemoError>) -> Option<String> {
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn what_comes_out_as_stated_passes() {
        assert_eq!(message(Stated(1).is("successors", 1, 1)), None);
        assert_eq!(message(Stated(1).status(200, &answer(200, ""))), None);
        let refused = answer(400, r#"{"error":"invalid_grant"}"#);
        assert_eq!(message(Stated(1).refused(400, "invalid_grant", &refused)), None);
        let code = Stated(1).member("error", &refused).ok();
        assert_eq!(code.as_deref(), Some("invalid_grant"));
    }

    #[test]
    fn what_does_not_is_reported_with_its_step() {
        let wrong = message(Stated(10).is("the number of successors:", 1, 2));
        let expected = "step 10 did not come out as stated: expected the number of successors: 1, \
                        found 2";
        assert_eq!(wrong.as_deref(), Some(expected));
        // A thief that is let in, and one that is turned away for another reason.
        for (status, text) in
            [(200, r#"{"access_token":"a"}"#), (400, r#"{"error":"invalid_client"}"#), (400, "")]
        {
            let wrong = Stated(11).refused(400, "invalid_grant", &answer(status, text));
            let wrong = message(wrong).expect("this is not as stated");
            assert!(wrong.starts_with("step 11 did not come out as stated"), "{wrong}");
            assert!(wrong.contains("expected status 400 and error invalid_grant"), "{wrong}");
            assert!(wrong.contains(&format!("found {status} {text}")), "{wrong}");
        }
    }

    #[test]
    fn an_error_message_holds_no_token() {
        let token = format!("tlr_{}wxyz", "A".repeat(88));
        let body = format!(r#"{{"refresh_token":"{token}"}}"#);
        let wrong = message(Stated(4).status(400, &answer(200, &body))).expect("not as stated");
        assert!(!wrong.contains(&token) && wrong.contains("tlr_\u{2026}wxyz"), "{wrong}");
        let missing = Stated(2).member("access_token", &answer(200, &body)).map(drop);
        let missing = message(missing).expect("not as stated");
        assert!(!missing.contains(&token) && missing.contains("step 2"), "{missing}");
    }
}
