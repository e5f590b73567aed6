//! The service itself, over TCP: every address with whatever head and body.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use token_ledger::clock::{Clock, SystemClock};
use token_ledger::config::settings::{Config, RawConfig};
use token_ledger::domain::client::{ClientMetadata, GrantType};
use token_ledger::entropy::OsEntropy;
use token_ledger::ledger::open::{Beginning, create};
use token_ledger::run::start;

/// Listener, method and path; a `?` at the end takes the first line as a query.
const ADDRESSES: [(bool, &str, &str); 24] = [
    (true, "POST", "/oauth/token"),
    (true, "POST", "/oauth/revoke"),
    (true, "POST", "/oauth/introspect"),
    (true, "POST", "/oauth/token"),
    (true, "GET", "/oauth/jwks"),
    (true, "OPTIONS", "/oauth/token"),
    (true, "GET", "/.well-known/oauth-authorization-server"),
    (false, "POST", "/admin/clients"),
    (false, "PATCH", "/admin/clients/photos"),
    (false, "POST", "/admin/clients/photos/secret"),
    (false, "POST", "/admin/grants"),
    (false, "GET", "/admin/grants?"),
    (false, "POST", "/admin/blacklist"),
    (false, "GET", "/admin/blacklist?"),
    (false, "DELETE", "/admin/blacklist/b_AAAAAAAAAAAA"),
    (false, "POST", "/admin/subjects/erase"),
    (false, "POST", "/admin/keys/rotate"),
    (false, "GET", "/audit/records?"),
    (false, "GET", "/audit/valid?"),
    (false, "GET", "/audit/subjects/trail?"),
    (false, "POST", "/audit/token"),
    (false, "GET", "/admin/clients?"),
    (false, "GET", "/healthz"),
    (false, "GET", "/metrics"),
];

struct Service {
    public: SocketAddr,
    admin: SocketAddr,
    id: String,
    secret: String,
    /// Of the administrator; a blacklist entry may kill it.
    token: Mutex<String>,
}

fn administrator() -> ClientMetadata {
    ClientMetadata {
        grant_types: [GrantType::ClientCredentials].into(),
        scope: "ledger:admin ledger:audit ledger:grant".parse().expect("a scope"),
        access_token_lifetime_s: 86_400,
        ..ClientMetadata::default()
    }
}

/// Serves a new ledger on a thread of its own until the process ends.
fn serve() -> Service {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("data");
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let beginning = Beginning {
                issuer: "https://ledger.example",
                origin: "ledger.example",
                administrator: administrator(),
            };
            let cache = 4 * 1024 * 1024;
            let first =
                create(&path, beginning, cache, Arc::clone(&clock), &OsEntropy).expect("a ledger");
            let raw = RawConfig {
                listen: "127.0.0.1:0".to_owned(),
                admin_listen: "127.0.0.1:0".to_owned(),
                workers: 1,
                sled_cache_bytes_max: cache,
                auth_failures_per_minute_max: 1_000_000,
                client_auth_failures_per_minute_max: 1_000_000,
                ..RawConfig::default()
            };
            let config = Config::try_from(raw).expect("a configuration");
            let running = start(&path, &config, clock, Arc::new(OsEntropy), |_| {}).await;
            let running = running.expect("it starts");
            let secret = first.secret.expose().to_owned();
            let _ = send.send((running.public, running.admin, first.client.to_string(), secret));
            std::future::pending::<()>().await;
        });
    });
    let (public, admin, id, secret) = receive.recv().expect("it runs");
    let service = Service { public, admin, id, secret, token: Mutex::default() };
    service.renew();
    let photos =
        br#"{"client_id":"photos","redirect_uris":["https://app.example/cb"],"scope":"read"}"#;
    let bearer = service.bearer();
    exchange(admin, &request("POST", "/admin/clients", &[&bearer, JSON], photos));
    service
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const JSON: &str = "Content-Type: application/json";

impl Service {
    fn basic(&self) -> String {
        format!("Authorization: Basic {}", STANDARD.encode(format!("{}:{}", self.id, self.secret)))
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.token.lock().expect("nobody panics with it"))
    }

    /// Takes a new token. This works whatever is blacklisted: else nobody could lift it.
    fn renew(&self) {
        let form = b"grant_type=client_credentials";
        let answer =
            exchange(self.public, &request("POST", "/oauth/token", &[&self.basic(), FORM], form));
        let body: Value = serde_json::from_slice(&answer.body).expect("tokens");
        let token = body["access_token"].as_str().expect("a token").to_owned();
        *self.token.lock().expect("nobody panics with it") = token;
    }
}

fn request(method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n");
    for header in headers.iter().filter(|header| !header.is_empty()) {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    [text.as_bytes(), body].concat()
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

thread_local! {
    static OPEN: RefCell<Vec<(SocketAddr, TcpStream)>> = const { RefCell::new(Vec::new()) };
}

fn connection(to: SocketAddr) -> TcpStream {
    let kept = OPEN.with_borrow_mut(|open| {
        open.iter().position(|(address, _)| *address == to).map(|at| open.swap_remove(at).1)
    });
    kept.unwrap_or_else(|| {
        let stream = TcpStream::connect(to).expect("the service is up");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
        stream
    })
}

/// Sends and reads one answer; the connection is kept where the answer lets it.
fn exchange(to: SocketAddr, request: &[u8]) -> Answer {
    for _ in 0..2 {
        let mut stream = connection(to);
        if stream.write_all(request).is_ok()
            && let Some((answer, is_kept)) = read(&mut stream)
        {
            if is_kept {
                OPEN.with_borrow_mut(|open| open.push((to, stream)));
            }
            return answer;
        }
        // A kept connection may have been closed meanwhile; a new one gets an answer.
    }
    panic!("no answer to {:?}", String::from_utf8_lossy(request));
}

fn read(stream: &mut TcpStream) -> Option<(Answer, bool)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let length = stream.read(&mut chunk).ok().filter(|length| 0 < *length)?;
        bytes.extend_from_slice(&chunk[..length]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let status = head.get(9..12)?.parse().ok()?;
        let is_kept = !head.contains("\r\nconnection: close");
        let body = &bytes[end + 4..];
        let of_length =
            |line: &str| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok();
        if let Some(length) = head.lines().find_map(of_length) {
            if length <= body.len() {
                return Some((Answer { status, body: body[..length].to_vec() }, is_kept));
            }
        } else if head.contains("transfer-encoding: chunked") {
            if body.ends_with(b"0\r\n\r\n") {
                return Some((Answer { status, body: body.to_vec() }, is_kept));
            }
        } else {
            return Some((Answer { status, body: Vec::new() }, is_kept));
        }
    }
}

/// The first byte says where; the first line is a header or a query, the rest the body. There is always
/// an answer, below 500, and an error is the JSON of RFC 6749 section 5.2.
pub(crate) fn listeners(data: &[u8]) {
    static SERVICE: OnceLock<Service> = OnceLock::new();
    let service = SERVICE.get_or_init(serve);
    let Some((first, rest)) = data.split_first() else { return };
    let (is_public, method, path) = ADDRESSES[usize::from(*first) % ADDRESSES.len()];
    let at = rest.iter().position(|c| *c == b'\n').unwrap_or(rest.len());
    let (line, body) = (&rest[..at], rest.get(at + 1..).unwrap_or_default());
    let is_plain = |c: &u8| (0x20..0x7F).contains(c);
    let line: String = line.iter().filter(|c| is_plain(c)).map(|c| char::from(*c)).collect();
    let bearer = service.bearer();
    let basic = service.basic();
    let (mut url, mut header) = (path.to_owned(), String::new());
    if path.ends_with('?') {
        url.extend(line.chars().filter(|c| !" #\"<>\\^`{|}".contains(*c)));
    } else {
        header = line;
    }
    // What no URL holds, and headers that frame the message, are for the parser of HTTP, which is not
    // ours.
    let framing =
        ["content-length", "transfer-encoding", "connection", "expect", "upgrade", "host"];
    let name = header.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let is_name = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    if framing.contains(&name.as_str()) || !is_name || !header.contains(':') {
        header.clear();
    }
    let (to, kind, who) = match is_public {
        true => (service.public, FORM, basic.as_str()),
        false => (service.admin, JSON, bearer.as_str()),
    };
    let kind = if method == "GET" || name == "content-type" { "" } else { kind };
    let who = if name == "authorization" || 128 <= *first { "" } else { who };
    let sent = request(method, &url, &[who, kind, &header], body);
    let answer = exchange(to, &sent);
    if answer.status == 401 && !is_public && who == bearer {
        service.renew();
    }
    let shown = || {
        (
            String::from_utf8_lossy(&sent).into_owned(),
            String::from_utf8_lossy(&answer.body).into_owned(),
        )
    };
    assert!(answer.status < 500 || answer.status == 503, "{} {:?}", answer.status, shown());
    if 400 <= answer.status && answer.status != 401 {
        let error: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        assert!(error["error"].is_string(), "{} {:?}", answer.status, shown());
        let allowed = |c: u8| matches!(c, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        let description = error["error_description"].as_str().unwrap_or_default();
        assert!(description.bytes().all(allowed), "{:?}", shown());
    }
    if path == "/healthz" {
        assert_eq!(answer.status, 200, "{:?}", shown());
    }
}
