//! What the reader sees: numbered steps, who calls whom, and what they say to each other. Every
//! line goes through `shorten`, but for the credentials that somebody is to go on with.

use std::io::Write;

use reqwest::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::Value;

use crate::crypto::leak::abbreviate;
use crate::demo::call::{Answer, Body, Call, Caller, Proof};
use crate::demo::error::{DemoError, Stated};
use crate::demo::shorten::shorten;

/// The longest line, in characters, but for what cannot be broken.
const WIDTH: usize = 98;
/// Members of forms and JSON that are secret and do not look it.
const SECRET: [&str; 2] = ["code_verifier", "client_secret"];

/// Tells the story.
pub(super) struct Narrator<'a> {
    out: &'a mut dyn Write,
    step: u8,
    shown: Vec<(u8, &'static str)>,
}

impl<'a> Narrator<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, step: 0, shown: Vec::new() }
    }

    /// The checks of the present step.
    pub(super) fn stated(&self) -> Stated {
        Stated(self.step)
    }

    /// The steps that came out as stated, and what each showed.
    pub(super) fn shown(&self) -> &[(u8, &'static str)] {
        &self.shown
    }

    /// Opens a part of the story.
    pub(super) fn part(&mut self, title: &str) -> Result<(), DemoError> {
        writeln!(self.out, "\n{title}\n{}", "=".repeat(title.chars().count()))?;
        Ok(())
    }

    /// Opens a step.
    pub(super) fn step(&mut self, step: u8, title: &str) -> Result<(), DemoError> {
        self.step = step;
        writeln!(self.out, "\nStep {step}. {title}")?;
        // Who watches sees each step as it happens.
        self.flush()
    }

    /// Closes a step: what it showed stands in the summary.
    pub(super) fn ok(&mut self, what: &'static str) -> Result<(), DemoError> {
        self.shown.push((self.step, what));
        self.line(&format!("  [ok] {what}"))
    }

    /// A paragraph.
    pub(super) fn say(&mut self, text: &str) -> Result<(), DemoError> {
        self.block("  ", text)
    }

    /// One line as it is, without its tokens.
    pub(super) fn line(&mut self, text: &str) -> Result<(), DemoError> {
        writeln!(self.out, "{}", shorten(text).trim_end())?;
        Ok(())
    }

    /// Lets the reader see everything so far.
    pub(super) fn flush(&mut self) -> Result<(), DemoError> {
        Ok(self.out.flush()?)
    }

    /// One line with a secret that the reader needs to go on.
    pub(super) fn credential(&mut self, text: &str) -> Result<(), DemoError> {
        writeln!(self.out, "{text}")?;
        Ok(())
    }

    fn block(&mut self, indent: &str, text: &str) -> Result<(), DemoError> {
        for line in wrap(&shorten(text), WIDTH - indent.len()) {
            writeln!(self.out, "{indent}{line}")?;
        }
        Ok(())
    }

    /// A request with what matters in it.
    pub(super) fn request(&mut self, from: &str, to: &str, call: &Call) -> Result<(), DemoError> {
        let (method, path) = (&call.method, &call.path);
        self.line(&format!("  {from:>9} --> {to:<9} {method} {path}"))?;
        let proof = match &call.proof {
            Proof::None => None,
            Proof::Basic { id, secret } => Some(format!("Basic {id}:{}", abbreviate(secret))),
            Proof::Bearer(token) => Some(format!("Bearer {}", abbreviate(token))),
        };
        if let Some(proof) = proof {
            self.line(&format!("{DETAIL}Authorization: {proof}"))?;
        }
        match &call.body {
            Body::None => Ok(()),
            Body::Form(members) => members.iter().try_for_each(|(name, value)| {
                let hidden = SECRET.contains(name).then(|| abbreviate(value));
                self.line(&format!("{DETAIL}{name}={}", hidden.as_ref().unwrap_or(value)))
            }),
            Body::Json(body) => self.block(DETAIL, &render(body)),
        }
    }

    /// An answer: its status, the headers that matter, and its body.
    pub(super) fn answer(
        &mut self,
        from: &str,
        to: &str,
        answer: &Answer,
    ) -> Result<(), DemoError> {
        let Answer { status, reason, .. } = answer;
        self.line(&format!("  {from:>9} <-- {to:<9} {status} {reason}"))?;
        for name in [WWW_AUTHENTICATE, RETRY_AFTER] {
            if let Some(value) = answer.header(&name) {
                self.block(DETAIL, &format!("{name}: {value}"))?;
            }
        }
        if answer.text.is_empty() {
            return Ok(());
        }
        self.block(DETAIL, &render(&answer.json()))
    }

    /// Request and answer in one line, where only the outcome matters.
    pub(super) fn brief(
        &mut self,
        from: &str,
        to: &str,
        call: &Call,
        answer: &Answer,
        note: &str,
    ) -> Result<(), DemoError> {
        let what = format!("{} {}", call.method, call.path);
        let status = answer.status;
        self.line(&format!("  {from:>9} --> {to:<9} {what:<30} {status}  {note}"))
    }

    /// Sends a request and shows nothing.
    pub(super) async fn ask(
        &self,
        from: &Caller,
        to: &str,
        call: &Call,
    ) -> Result<Answer, DemoError> {
        from.send(call).await.map_err(|source| self.no_answer(from, to, source))
    }

    /// What to report when no answer came.
    pub(super) fn no_answer(&self, from: &Caller, to: &str, source: reqwest::Error) -> DemoError {
        let (step, caller, called) = (self.step, from.name.to_owned(), to.to_owned());
        DemoError::NoAnswer { step, caller, called, source: source.without_url() }
    }

    /// Sends a request, and shows both it and the answer.
    pub(super) async fn exchange(
        &mut self,
        from: &Caller,
        to: &str,
        call: &Call,
    ) -> Result<Answer, DemoError> {
        self.request(from.name, to, call)?;
        let answer = self.ask(from, to, call).await?;
        self.answer(from.name, to, &answer)?;
        Ok(answer)
    }
}

/// What stands before the details of a request.
const DETAIL: &str = "                          ";

/// JSON on as few lines as will do, without the secrets that do not look it.
fn render(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| match value.as_str() {
                Some(text) if SECRET.contains(&name.as_str()) => {
                    format!("\"{name}\": \"{}\"", abbreviate(text))
                }
                Some(_) | None => format!("\"{name}\": {}", render(value)),
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(render).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// `text` in lines of at most `width` characters, broken at its spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let wanted = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && width < wanted {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_break_at_spaces_and_nowhere_else() {
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("abcdefgh i", 4), ["abcdefgh", "i"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn json_is_shown_without_secrets_that_do_not_look_it() {
        let body = json!({ "a": [1, null, "x"], "client_secret": "hunter2" });
        assert_eq!(render(&body), r#"{"a": [1, null, "x"], "client_secret": "…"}"#);
    }

    #[test]
    fn a_request_shows_no_secret() {
        let token = format!("tlr_{}wxyz", "A".repeat(88));
        let secret = crate::types::secret::Secret::new(format!("tls_{}", "B".repeat(43)));
        let call =
            Call::post("http://127.0.0.1:1", "/oauth/token").basic("prints", &secret).form(&[
                ("refresh_token", token.as_str()),
                ("code_verifier", "0123456789012345678901234567890123456789012"),
            ]);
        let mut out = Vec::new();
        Narrator::new(&mut out).request("prints", "ledger", &call).expect("a vector takes it all");
        let shown = String::from_utf8(out).expect("text");
        assert!(shown.contains("prints --> ledger    POST /oauth/token\n"), "{shown}");
        assert!(shown.contains("Authorization: Basic prints:tls_…BBBB\n"), "{shown}");
        assert!(shown.contains("refresh_token=tlr_…wxyz\n"), "{shown}");
        assert!(shown.contains("code_verifier=…9012\n"), "{shown}");
    }
}
