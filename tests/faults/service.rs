//! The real binary as a process: started, stopped, killed, and what it said.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The binary under test: the one that was built along, or what `FAULTS_BINARY` names.
pub fn binary() -> &'static str {
    static BINARY: OnceLock<String> = OnceLock::new();
    BINARY.get_or_init(|| {
        let named = std::env::var("FAULTS_BINARY");
        named.unwrap_or_else(|_| env!("CARGO_BIN_EXE_token-ledger").to_owned())
    })
}

/// Administrator's credentials, as `init` printed them.
#[derive(Debug, Clone)]
pub struct Administrator {
    pub id: String,
    pub secret: String,
}

/// Set: every sync of the processes does nothing and says that it was done. What must fail then,
/// fails: so it is shown that the rounds find what they are for.
pub static IS_LYING: AtomicBool = AtomicBool::new(false);

const LYING: [&str; 10] = [
    "strace",
    "-D",
    "-f",
    "-qq",
    "-o",
    "/dev/null",
    "-e",
    "trace=fdatasync,fsync",
    "-e",
    "inject=fdatasync,fsync:retval=0",
];

/// A process that may or may not serve yet.
pub struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
    said: PathBuf,
}

/// A process that serves.
pub struct Service {
    process: Process,
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

impl Process {
    /// Runs the binary; what it says goes to a file in `scratch`. `before` is a program to run it
    /// under, with its arguments.
    pub fn run(before: &[&str], arguments: &[&str], data: &Path, scratch: &Path) -> Self {
        let said = scratch.join(format!("said.{}", unique()));
        let lying: &[&str] = if IS_LYING.load(Ordering::Relaxed) { &LYING } else { &[] };
        let words: Vec<&str> = [before, lying, &[binary()], arguments].concat();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .arg("--data")
            .arg(data)
            // So that snapshots are written while things go wrong.
            .env("TOKEN_LEDGER_SNAPSHOT_EVERY_RECORDS", "300")
            // A code that is checked long after the fault, on a slow machine, must not have expired.
            .env("TOKEN_LEDGER_CODE_LIFETIME_S", "600")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, said }
    }

    pub fn serve(data: &Path, scratch: &Path) -> Self {
        Self::serve_under(&[], data, scratch)
    }

    /// `before` may be `env` with settings, too.
    pub fn serve_under(before: &[&str], data: &Path, scratch: &Path) -> Self {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        Self::run(before, &arguments, data, scratch)
    }

    pub fn init(before: &[&str], data: &Path, scratch: &Path) -> Self {
        Self::run(before, &["init", "--json", "--issuer", "http://127.0.0.1:8080"], data, scratch)
    }

    /// The next line that it prints; empty once it has ended.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.out.read_line(&mut line);
        line
    }

    /// Waits until it serves, or answers what it said instead.
    pub fn ready(mut self) -> Result<Service, String> {
        let line = self.line();
        let address = |name: &str| {
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(name))?;
            word.strip_prefix("http://")?.parse().ok()
        };
        match (address("public="), address("admin=")) {
            (Some(public), Some(admin)) => Ok(Service { process: self, public, admin }),
            _ => Err(self.ended().1),
        }
    }

    /// Waits for the end of `init`.
    pub fn administrator(mut self) -> Result<Administrator, String> {
        let mut text = String::new();
        let _ = self.out.read_to_string(&mut text);
        let made: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        match (made["admin"]["client_id"].as_str(), made["admin"]["client_secret"].as_str()) {
            (Some(id), Some(secret)) => {
                let administrator = Administrator { id: id.to_owned(), secret: secret.to_owned() };
                let (code, said) = self.ended();
                if code == Some(0) { Ok(administrator) } else { Err(said) }
            }
            _ => Err(self.ended().1),
        }
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args([name, &pid]).status();
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_some())
    }

    /// Waits for the end: the exit code, and what was said.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let until = Instant::now() + Duration::from_secs(90);
        while !self.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        let code = self.child.try_wait().ok().flatten().and_then(|status| status.code());
        (code, self.said())
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(&self.said);
    }
}

impl Service {
    /// What it holds of the machine's memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.child.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn terminate(&self) {
        self.process.signal("-TERM");
    }

    pub fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    pub fn ended(self) -> (Option<i32>, String) {
        self.process.ended()
    }

    pub fn said(&self) -> String {
        self.process.said()
    }

    /// A clean stop; what was said, if it did not end well.
    pub fn stop(self) -> Result<(), String> {
        self.terminate();
        match self.ended() {
            (Some(0), said) if !has_panicked(&said) => Ok(()),
            (code, said) => Err(format!("the stop ended with {code:?}: {said}")),
        }
    }
}

/// Whether something panicked. That sled does when its very last sync fails, right behind one of ours
/// that did not, is caught, and no harm.
pub fn has_panicked(said: &str) -> bool {
    let mut panics = said.lines().filter(|line| line.contains("panicked"));
    panics.any(|line| !line.contains("sled-0.34.7/src/pagecache/logger.rs:467"))
}

/// Runs `verify`; what it says if the ledger is not whole.
pub fn verify(data: &Path) -> Result<(), String> {
    let done = Command::new(binary()).arg("verify").arg("--data").arg(data).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() && !has_panicked(&said) { Ok(()) } else { Err(said) }
}

/// A number for a name that no other file has.
pub fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
