//! More than can be served, over real connections to the real binary: memory stays bounded, who asks
//! for too much is cut off, and who behaves is served meanwhile.
#![allow(clippy::print_stdout)] // figures, and what was skipped

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::{Process, init, post_form};

/// How long a sender waits for an answer before its next byte: it drips.
const DRIP: Duration = Duration::from_millis(20);
const MIB: u64 = 1024 * 1024;

/// A server with few worker threads, and its administrator for a good client.
struct Busy {
    server: Process,
    admin: (String, String),
    _folder: TempDir,
}

impl Busy {
    fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("ledger");
        let admin = init(&data);
        let settings: Vec<&str> =
            ["workers=1"].iter().chain(settings).flat_map(|one| ["--set", *one]).collect();
        let server = Process::serve_with(&data, &settings, std::process::Stdio::null());
        Self { server, admin, _folder: folder }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.public_address()).unwrap()
    }

    /// A durable token for a client that behaves.
    async fn serves(&self) -> Value {
        let url = format!("{}/oauth/token", self.server.public);
        let form = [("grant_type", "client_credentials")];
        for _ in 0..5 {
            // On a slow machine it may be cut off like the others, and asks again.
            if let Some(body) = post_form(&url, &self.admin, &form).await {
                return body;
            }
        }
        panic!("a good client is served");
    }
}

/// Reads until the other side closes; answers all of it, or none where nothing came in `DRIP`.
fn heard(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(DRIP)).unwrap();
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if all.is_empty() {
                    return None;
                }
            }
            Err(_) => break,
        }
    }
    Some(String::from_utf8_lossy(&all).into_owned())
}

/// Sends a byte, waits a little, sends the next, until it is cut off; answers what it heard.
fn drip(stream: &mut TcpStream, bytes: impl Iterator<Item = u8>) -> String {
    for byte in bytes {
        if stream.write_all(&[byte]).is_err() {
            return String::new();
        }
        if let Some(answer) = heard(stream) {
            return answer;
        }
    }
    panic!("a sender this slow was never cut off");
}

const HEAD: &str = "POST /oauth/token HTTP/1.1\r\nHost: ledger\r\n\
                    Content-Type: application/x-www-form-urlencoded\r\n";

/// Lets this process hold `wanted` more files; false where the system does not.
fn may_open(wanted: u64) -> bool {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok()
        && maximum.is_none_or(|maximum| wanted <= maximum)
}

#[actix_web::test]
async fn ten_thousand_idle_connections_cost_little_memory_and_others_are_served() {
    const CONNECTIONS: usize = 10_000;
    if !may_open(CONNECTIONS as u64 + 1500) {
        println!("skipped: the system allows too few open files (ulimit -Hn)");
        return;
    }
    let busy = Busy::start(&["client_request_timeout_ms=600000"]);
    busy.serves().await;
    let before = busy.server.resident_bytes();
    let request = b"GET /healthz HTTP/1.1\r\nHost: ledger\r\n\r\n";
    let mut idle = Vec::new();
    for i in 0..CONNECTIONS {
        let mut stream = busy.connect();
        // Half of them said something once, the others never do.
        if i % 2 == 0 {
            stream.write_all(request).unwrap();
        }
        idle.push(stream);
    }
    for stream in idle.iter_mut().step_by(2) {
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
    for _ in 0..20 {
        busy.serves().await;
    }
    let each = (busy.server.resident_bytes().saturating_sub(before)) / CONNECTIONS as u64;
    println!("{each} bytes for each idle connection");
    assert!(each < 48 * 1024, "{each} bytes for each idle connection");
    drop(idle);
    busy.serves().await;
    busy.server.stop();
}

#[actix_web::test]
async fn who_sends_a_head_or_a_body_byte_by_byte_is_cut_off_in_time() {
    let busy = Busy::start(&["client_request_timeout_ms=1000"]);
    let address = busy.server.public_address().to_owned();
    let slow: Vec<_> = (0..32)
        .map(|i| {
            let address = address.clone();
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                let endless = std::iter::repeat_n(b'a', 1500);
                if i % 2 == 0 {
                    drip(
                        &mut stream,
                        HEAD.bytes().chain(b"X-More: ".iter().copied()).chain(endless),
                    )
                } else {
                    let head = format!("{HEAD}Content-Length: 10000\r\n\r\n");
                    stream.write_all(head.as_bytes()).unwrap();
                    drip(&mut stream, endless)
                }
            })
        })
        .collect();
    for _ in 0..5 {
        busy.serves().await;
    }
    for slow in slow {
        let answer = slow.join().unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    busy.serves().await;
    busy.server.stop();
}

/// Sends `chunk` for as long as it is taken, `most` bytes at most; answers how many were, and what was
/// said.
fn pour(mut stream: TcpStream, chunk: &[u8], most: u64) -> (u64, String) {
    let mut sent = 0;
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    while sent < most {
        match stream.write(chunk) {
            Ok(count) => sent += count as u64,
            Err(_) => break,
        }
    }
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let _ = stream.read_to_end(&mut answer);
    (sent, String::from_utf8_lossy(&answer).into_owned())
}

#[actix_web::test]
async fn a_body_that_never_ends_is_refused_and_its_connection_closed() {
    const MOST: u64 = 4096 * MIB;
    let busy = Busy::start(&[]);
    busy.serves().await;
    let before = busy.server.resident_bytes();
    let chunk = [b"4000\r\n".as_slice(), &[b'a'; 0x4000], b"\r\n"].concat();
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let elsewhere = HEAD.replace("/oauth/token", "/nothing/here");
    let heads = [
        format!("{HEAD}{chunked}"),
        format!("{elsewhere}{chunked}"),
        HEAD.replace("POST", "PUT") + chunked,
        format!("{HEAD}Content-Length: 1000000000000\r\n\r\n"),
    ];
    for head in heads {
        let mut stream = busy.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = chunk.clone();
        let pouring = std::thread::spawn(move || pour(stream, &chunk, MOST));
        busy.serves().await;
        let (sent, answer) = pouring.join().unwrap();
        assert!(sent < MOST, "the server took all of it, and would take more: {head}{answer}");
        let refused = ["HTTP/1.1 4", ""].iter().any(|start| answer.starts_with(start));
        assert!(refused, "{answer}");
    }
    let grown = busy.server.resident_bytes().saturating_sub(before);
    assert!(grown < 32 * MIB, "{grown} bytes more");
    busy.serves().await;
    busy.server.stop();
}

/// A connection that asked until the server took no more, as its answers had nowhere to go.
fn deaf(busy: &Busy) -> TcpStream {
    // The shortest that there is: as many of them as can be fit into a buffer.
    let requests = "GET / HTTP/1.1\r\nHost: l\r\n\r\n".repeat(500);
    let mut stream = busy.connect();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    while sent < 64 * MIB {
        match stream.write(requests.as_bytes()) {
            Ok(count) => sent += count as u64,
            Err(_) => return stream,
        }
    }
    panic!("it answers into the void");
}

#[actix_web::test]
async fn a_client_that_never_reads_its_answers_fills_a_bounded_memory_and_holds_up_no_stop() {
    let busy = Busy::start(&["shutdown_timeout_s=1", "submit_timeout_ms=1000"]);
    busy.serves().await;
    let before = busy.server.resident_bytes();
    let deaf: Vec<TcpStream> = (0..8).map(|_| deaf(&busy)).collect();
    for _ in 0..5 {
        busy.serves().await;
    }
    let grown = busy.server.resident_bytes().saturating_sub(before);
    println!("{grown} bytes for {} connections that read nothing", deaf.len());
    // Every request that waits in the system when it is read waits as a request from then on.
    assert!(grown < deaf.len() as u64 * 6 * MIB, "{grown} bytes more");
    busy.server.stop();
    drop(deaf);
}

#[actix_web::test]
async fn a_client_that_never_reads_its_answers_is_cut_off_in_time() {
    let busy = Busy::start(&["unread_answer_timeout_ms=1000"]);
    let mut deaf = deaf(&busy);
    deaf.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    let error = loop {
        match deaf.write_all(b"GET / HTTP/1.1\r\nHost: l\r\n\r\n") {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    let timed_out = [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
    assert!(!timed_out, "it was still waited for: {error}");
    busy.serves().await;
    busy.server.stop();
}

#[actix_web::test]
async fn silent_connections_up_to_the_bound_keep_others_out_only_until_they_time_out() {
    let busy = Busy::start(&["connections_max=16", "client_request_timeout_ms=500"]);
    let silent: Vec<TcpStream> = (0..40).map(|_| busy.connect()).collect();
    // The operator has a listener of its own.
    let ready = reqwest::get(format!("{}/readyz", busy.server.admin)).await.unwrap();
    assert!(ready.status().is_success());
    busy.serves().await;
    drop(silent);
    busy.serves().await;
    busy.server.stop();
}

/// Connections need files, and so do the log and its checkpoints: whoever connects uses up none of
/// theirs, however many.
#[actix_web::test]
async fn connections_without_end_do_not_stop_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ledger");
    let admin = init(&data);
    let settings = ["workers=2", "connections_max=2000", "checkpoint_interval_ms=20"];
    let settings: Vec<&str> = settings.iter().flat_map(|one| ["--set", *one]).collect();
    let server = Process::serve_within(700, &data, &settings);
    let form = [("grant_type", "client_credentials")];
    let token = post_form(&format!("{}/oauth/token", server.public), &admin, &form).await.unwrap();
    let bearer = token["access_token"].as_str().unwrap();
    let idle: Vec<TcpStream> =
        (0..900).map(|_| TcpStream::connect(server.public_address()).unwrap()).collect();
    // Each reading of the log is a record, and each record wants a checkpoint.
    let client = reqwest::Client::new();
    let get = |path: &str| client.get(format!("{}{path}", server.admin)).bearer_auth(bearer).send();
    for _ in 0..3 {
        let read = get("/audit/records?limit=1").await.unwrap();
        assert!(read.status().is_success(), "{}", read.status());
        let records = read.headers()["as-of-seq"].to_str().unwrap().parse::<u64>().unwrap() + 1;
        loop {
            let metrics = get("/metrics").await.unwrap().text().await.unwrap();
            assert!(metrics.contains("\ntoken_ledger_checkpoints_stopped 0\n"), "{metrics}");
            let checkpoint = get("/log/checkpoint").await.unwrap().text().await.unwrap();
            let size = checkpoint.lines().nth(1).unwrap().parse::<u64>().unwrap();
            if records <= size {
                break;
            }
            actix_web::rt::task::yield_now().await;
        }
    }
    drop(idle);
    server.stop();
}
