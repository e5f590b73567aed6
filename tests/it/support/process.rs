//! The real binary as a process, and requests to it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_token-ledger");

/// A server of its own.
pub(crate) struct Process {
    child: Child,
    pub(crate) public: String,
    pub(crate) admin: String,
}

impl Process {
    pub(crate) fn serve(data: &Path) -> Self {
        Self::serve_with(data, &[], Stdio::null())
    }

    pub(crate) fn serve_with(data: &Path, more: &[&str], stderr: Stdio) -> Self {
        Self::serve_by(Command::new(BINARY), data, more, stderr)
    }

    /// As a process that may not have more than so many files open.
    pub(crate) fn serve_within(open_files: u64, data: &Path, more: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        let line = format!("ulimit -n {open_files} && exec \"$0\" \"$@\"");
        shell.args(["-c", &line, BINARY]);
        Self::serve_by(shell, data, more, Stdio::null())
    }

    fn serve_by(mut program: Command, data: &Path, more: &[&str], stderr: Stdio) -> Self {
        let mut child = program
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(more)
            .arg("--data")
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = |name: &str| {
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            word.unwrap_or_else(|| panic!("no ready line: {line}")).to_owned()
        };
        Self { public: address("public="), admin: address("admin="), child }
    }

    /// Memory that it holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes = line.split_whitespace().next().unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Where clients reach it, as an address.
    pub(crate) fn public_address(&self) -> &str {
        self.public.strip_prefix("http://").unwrap()
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert!(self.child.wait().unwrap().success(), "the clean stop failed");
    }
}

/// A test that fails leaves no server behind.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn post_form(
    url: &str,
    basic: &(String, String),
    form: &[(&str, &str)],
) -> Option<Value> {
    let body: String =
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let sent = reqwest::Client::new()
        .post(url)
        .basic_auth(&basic.0, Some(&basic.1))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .ok()?;
    let status = sent.status();
    let body: Value = sent.json().await.ok()?;
    assert!(status.is_success() || status.as_u16() == 503, "{status}: {body}");
    status.is_success().then_some(body)
}

pub(crate) async fn post_json(url: &str, bearer: &str, body: &Value) -> Value {
    let sent =
        reqwest::Client::new().post(url).bearer_auth(bearer).json(body).send().await.unwrap();
    assert!(sent.status().is_success(), "{}: {}", sent.status(), sent.text().await.unwrap());
    sent.json().await.unwrap()
}

pub(crate) fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}")).to_owned()
}

/// Makes a ledger in `data`; answers the administrator's credentials.
pub(crate) fn init(data: &Path) -> (String, String) {
    let made = Command::new(BINARY)
        .args(["init", "--json", "--issuer", "http://127.0.0.1:8080", "--data"])
        .arg(data)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    (text(&made["admin"], "client_id"), text(&made["admin"], "client_secret"))
}
