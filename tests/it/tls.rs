//! TLS on the listeners of the real binary, plain HTTP only where others cannot read it, and whose
//! word is taken about where a request came from (RFC 6749 section 3.2).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::tls::Version;
use serde_json::json;
use tempfile::TempDir;

use crate::support::server::Server;
use crate::support::wire::{Call, Wire};

const BINARY: &str = env!("CARGO_BIN_EXE_token-ledger");

/// A data directory, and a certificate for `localhost` with the root that signed it.
struct Home {
    folder: TempDir,
    root: reqwest::Certificate,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = renew(folder.path());
        let home = Self { folder, root };
        let made = Command::new(BINARY)
            .args(["init", "--issuer", "https://localhost", "--data"])
            .arg(home.path("data"))
            .output()
            .unwrap();
        assert!(made.status.success());
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.arg("--data").arg(self.path("data")).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn tls(&self) -> Vec<String> {
        let set = |key: &str, file: &str| format!("--{key}={}", self.path(file).display());
        vec![set("tls-certificate-file", "cert.pem"), set("tls-key-file", "key.pem")]
    }

    fn serve(&self) -> Process {
        let arguments = self.tls();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Process::new(self.command(&arguments))
    }
}

/// A new root, and a new certificate and key in the files; gives the root.
fn renew(folder: &Path) -> reqwest::Certificate {
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().unwrap();
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let leaf = leaf.unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    reqwest::Certificate::from_pem(root_pem.as_bytes()).unwrap()
}

/// A process that serves; killed when it is dropped.
struct Process {
    child: Child,
    log: BufReader<ChildStderr>,
    public: String,
    admin: String,
}

impl Process {
    fn new(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = |name: &str| {
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            word.unwrap_or_else(|| panic!("no ready line: {line}")).to_owned()
        };
        Self { public: address("public="), admin: address("admin="), log, child }
    }

    fn hang_up(&mut self, logged: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
        let mut line = String::new();
        while !line.contains(logged) {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "never logged: {logged}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(root: &reqwest::Certificate, versions: (Version, Version)) -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root.clone()])
        .tls_version_min(versions.0)
        .tls_version_max(versions.1)
        .build()
        .unwrap()
}

/// The status of `/healthz` to somebody who trusts `root`; `None` where there is no connection.
async fn health(root: &reqwest::Certificate, url: &str, version: Version) -> Option<u16> {
    let sent = client(root, (version, version)).get(format!("{url}/healthz")).send().await;
    sent.ok().map(|answer| answer.status().as_u16())
}

fn refused(home: &Home, arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = home.command(arguments).output().unwrap();
    assert!(!status.success());
    String::from_utf8(stderr).unwrap()
}

#[actix_web::test]
async fn w15_both_listeners_speak_tls_1_2_and_1_3_and_nothing_else() {
    let home = Home::new();
    let server = home.serve();
    let other = Home::new().root;
    for url in [&server.public, &server.admin] {
        assert!(url.starts_with("https://"), "{url}");
        assert_eq!(health(&home.root, url, Version::TLS_1_2).await, Some(200));
        assert_eq!(health(&home.root, url, Version::TLS_1_3).await, Some(200));
        assert_eq!(health(&other, url, Version::TLS_1_3).await, None);
        let plain = url.replace("https://", "http://");
        assert_eq!(health(&home.root, &plain, Version::TLS_1_3).await, None);
    }
}

#[test]
fn w15_a_client_of_tls_1_1_is_told_that_its_version_is_too_old() {
    let home = Home::new();
    let server = home.serve();
    let address = server.public.strip_prefix("https://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    // A ClientHello of version 3.2 with one cipher suite (RFC 4346 section 7.4.1.2), and with the
    // signature algorithms that newer versions need, so that only the version is at fault.
    let mut hello = vec![0x16, 3, 1, 0, 55, 1, 0, 0, 51, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    hello.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    connection.write_all(&hello).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let (kind, alert) = (answer.first(), answer.get(5..7));
    assert_eq!((kind, alert), (Some(&0x15), Some([2, 70].as_slice())), "protocol_version");
}

#[actix_web::test]
async fn w15_a_new_certificate_is_served_after_sighup_and_a_bad_one_changes_nothing() {
    let home = Home::new();
    let mut server = home.serve();
    let new = renew(home.folder.path());
    assert_eq!(health(&home.root, &server.public, Version::TLS_1_3).await, Some(200));
    server.hang_up("the certificate was read again");
    for url in [&server.public, &server.admin] {
        assert_eq!(health(&new, url, Version::TLS_1_3).await, Some(200));
        assert_eq!(health(&home.root, url, Version::TLS_1_3).await, None);
    }
    std::fs::write(home.path("cert.pem"), "no certificate").unwrap();
    server.hang_up("the old certificate is still served");
    assert_eq!(health(&new, &server.public, Version::TLS_1_3).await, Some(200));
}

#[test]
fn a_certificate_or_key_that_is_of_no_use_is_named_at_the_start() {
    let home = Home::new();
    let arguments = home.tls();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let other = Home::new();
    std::fs::copy(other.path("key.pem"), home.path("key.pem")).unwrap();
    let told = refused(&home, &arguments);
    assert!(told.contains("cert.pem") && told.contains("cannot be used together"), "{told}");
    std::fs::write(home.path("key.pem"), "no key").unwrap();
    let told = refused(&home, &arguments);
    assert!(told.contains("key.pem: no private key in PEM"), "{told}");
    std::fs::remove_file(home.path("cert.pem")).unwrap();
    let told = refused(&home, &arguments);
    assert!(told.contains("cert.pem: no certificate in PEM"), "{told}");
    let told = refused(&home, &["--tls-key-file", "key.pem"]);
    assert!(told.contains("tls_certificate_file: tls_key_file is of no use without it"), "{told}");
}

#[test]
fn w15_v10_plain_http_is_refused_where_others_could_read_it() {
    let home = Home::new();
    for (flag, listener) in [("--listen", "public"), ("--admin-listen", "admin")] {
        let mut command = Command::new(BINARY);
        let data = home.path("data");
        let own = if flag == "--listen" { "--admin-listen" } else { "--listen" };
        command.args(["serve", own, "127.0.0.1:0", flag, "0.0.0.0:0", "--data"]).arg(data);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains(&format!("the {listener} listener would speak plain HTTP")),
            "{told}"
        );
        for setting in ["tls_certificate_file", "behind_proxy"] {
            assert!(told.contains(setting), "{told}");
        }
    }
    let mut command = Command::new(BINARY);
    command.args(["serve", "--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--behind-proxy", "192.0.2.1", "--data"]).arg(home.path("data"));
    let server = Process::new(command_piped(command));
    assert!(server.public.starts_with("http://0.0.0.0:"), "{}", server.public);
}

fn command_piped(mut command: Command) -> Command {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The address that the newest record of a registration names.
async fn registered_from(server: &Server, wire: &Wire, header: (&str, &str)) -> String {
    let body = json!({ "grant_types": ["client_credentials"] });
    let call = Call::new("POST", server.admin("/admin/clients")).json(&body);
    wire.send(call.bearer(&server.admin_token).header(header.0, header.1)).await.is(201);
    let records = server.audit("/audit/records?type=client.registered").await.is(200).records();
    records.last().unwrap()["origin"]["address"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn forwarded_headers_are_believed_from_trusted_proxies_and_from_nobody_else() {
    let server = Server::start_with(|raw| raw.behind_proxy = "127.0.0.2, 10.0.0.0/8".into()).await;
    let (proxy, other) = (Wire::new("127.0.0.2", "p/1"), Wire::new("127.0.0.3", "o/1"));
    let chain = ("x-forwarded-for", "198.51.100.66, 192.0.2.1, 10.0.0.7");
    assert_eq!(registered_from(&server, &proxy, chain).await, "192.0.2.1");
    assert_eq!(registered_from(&server, &other, chain).await, "127.0.0.3");
    // The header that our proxies do not use is a caller's word.
    let spoofed = ("forwarded", "for=192.0.2.1");
    assert_eq!(registered_from(&server, &proxy, spoofed).await, "127.0.0.2");
    let server = Server::start_with(|raw| {
        (raw.behind_proxy, raw.proxy_header) = ("127.0.0.2".into(), "forwarded".into());
    })
    .await;
    assert_eq!(registered_from(&server, &proxy, spoofed).await, "192.0.2.1");
    assert_eq!(registered_from(&server, &proxy, chain).await, "127.0.0.2");
}

#[actix_web::test]
async fn w13_behind_a_proxy_those_who_guess_are_told_apart_and_cannot_hide() {
    let server = Server::start_with(|raw| raw.behind_proxy = "127.0.0.2".into()).await;
    let guess = |secret: &str| {
        let form = [("grant_type", "client_credentials"), ("token", "x")];
        let url = server.public("/t/oauth/introspect");
        Call::new("POST", url).form(&form).basic("api", secret)
    };
    let (proxy, other) = (Wire::new("127.0.0.2", "p/1"), Wire::new("127.0.0.3", "o/1"));
    for n in 0..10 {
        // What the caller sent comes first; the proxy appends what it saw.
        let sent = guess("wrong").header("x-forwarded-for", format!("203.0.113.{n}, 192.0.2.1"));
        proxy.send(sent).await.fails_with(401, "invalid_client");
        let sent = guess("wrong").header("x-forwarded-for", format!("203.0.113.{n}"));
        other.send(sent).await.fails_with(401, "invalid_client");
    }
    let right = guess(server.api.secret.as_deref().unwrap());
    let from = |address: &str| right.clone().header("x-forwarded-for", address);
    proxy.send(from("192.0.2.1")).await.fails_with(429, "temporarily_unavailable");
    proxy.send(from("192.0.2.2")).await.is(200);
    other.send(from("192.0.2.2")).await.fails_with(429, "temporarily_unavailable");
}
