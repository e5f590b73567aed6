//! The servers under load, each a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A two-byte answer by the same actix-web.
pub struct Plaintext {
    child: Child,
    pub address: SocketAddr,
}

impl Plaintext {
    pub fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--plaintext-server")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }

    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id())
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves `GET /` until killed; the address goes to standard output.
pub fn serve_plaintext() {
    use actix_web::{App, HttpResponse, HttpServer, web};
    actix_web::rt::System::new().block_on(async {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        println!("{}", socket.local_addr().unwrap());
        let ok = || async { HttpResponse::Ok().body("ok") };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        HttpServer::new(move || App::new().route("/", web::get().to(ok)))
            .workers(cores)
            .listen(socket)
            .unwrap()
            .run()
            .await
            .unwrap();
    });
}

#[derive(Clone, Copy)]
pub struct Counts {
    pub records: u64,
    pub syncs: u64,
    pub bytes: u64,
}

impl Counts {
    pub fn since(&self, before: &Self) -> Self {
        Self {
            records: self.records - before.records,
            syncs: self.syncs - before.syncs,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// The real binary on a real directory.
pub struct Ledger {
    child: Child,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    pub client_id: String,
    pub client_secret: String,
    http: reqwest::Client,
    _folder: Option<tempfile::TempDir>,
}

impl Ledger {
    pub async fn start(data: Option<&Path>) -> Self {
        let binary = env!("CARGO_BIN_EXE_token-ledger");
        // Below the target directory: a temporary directory may live in memory.
        let folder = data.is_none().then(|| {
            tempfile::Builder::new()
                .prefix("load-")
                .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
                .unwrap()
        });
        let data = data.unwrap_or_else(|| folder.as_ref().unwrap().path()).join("ledger");
        let made = Command::new(binary)
            .args(["init", "--json", "--issuer", "http://127.0.0.1:8080", "--data"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let mut child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = |name: &str| {
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(name)).unwrap();
            word.strip_prefix("=http://").unwrap().parse().unwrap()
        };
        Self {
            public: address("public"),
            admin: address("admin"),
            client_id: made["admin"]["client_id"].as_str().unwrap().to_owned(),
            client_secret: made["admin"]["client_secret"].as_str().unwrap().to_owned(),
            child,
            http: reqwest::Client::new(),
            _folder: folder,
        }
    }

    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id())
    }

    /// The counters of the metrics page.
    pub async fn counts(&self) -> Counts {
        let page = self.http.get(format!("http://{}/metrics", self.admin)).send().await.unwrap();
        let page = page.text().await.unwrap();
        let value = |name: &str| {
            let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        Counts {
            records: value("token_ledger_records_total"),
            syncs: value("token_ledger_syncs_total"),
            bytes: value("token_ledger_record_bytes_total"),
        }
    }

    pub async fn stop(mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(self.child.wait().unwrap().success(), "the server did not stop cleanly");
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same of this process, the generator.
pub fn own_cpu_seconds() -> f64 {
    cpu_seconds(std::process::id())
}

/// User and system time of a process, as the kernel counts it.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|i| fields[*i].parse::<u64>().unwrap_or(0)).sum();
    ticks as f64 / 100.0
}
