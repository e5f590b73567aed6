//! Whether answers that must look alike take alike: `cargo bench --bench timing [-- --requests 1000]`.
//!
//! Starts the real binary, and asks over one connection, in an order that is shuffled, so that whatever
//! else the machine does hits every kind of request alike. For each kind it prints the median and, against
//! the first kind of its group, the difference of the medians and the z of a rank test (Mann-Whitney U):
//! above 3.29 a difference is there that chance gives once in a thousand times. Latencies are compared by
//! rank, so that a few slow answers decide nothing.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

const API: &str = "https://api.example/photos";
const ISSUER: &str = "http://127.0.0.1:8080";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// So many different requests of one kind, so that nothing is warm for one kind only.
const VARIANTS: usize = 32;

/// Requests that differ in nothing that their sender may learn.
struct Kind {
    name: &'static str,
    requests: Vec<Vec<u8>>,
}

struct Service {
    child: Child,
    public: SocketAddr,
    admin: SocketAddr,
    administrator: String,
    bearer: String,
    _folder: tempfile::TempDir,
}

impl Service {
    fn start() -> Self {
        let binary = env!("CARGO_BIN_EXE_token-ledger");
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let data = folder.path().join("ledger");
        let made = Command::new(binary)
            .args(["init", "--json", "--issuer", ISSUER, "--data"])
            .arg(&data)
            .output()
            .unwrap();
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let text = |name: &str| made["admin"][name].as_str().unwrap().to_owned();
        let mut child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--set", "auth_failures_per_minute_max=1000000"])
            .args(["--set", "client_auth_failures_per_minute_max=1000000"])
            .args(["--set", "workers=1", "--data"])
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
        let administrator = basic(&text("client_id"), &text("client_secret"));
        let (public, admin) = (address("public"), address("admin"));
        let mut service =
            Self { child, public, admin, administrator, bearer: String::new(), _folder: folder };
        let form = "grant_type=client_credentials&scope=ledger:admin%20ledger:grant";
        let tokens = send(public, &post("/oauth/token", &service.administrator, form));
        service.bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
        service
    }

    /// Registers a client: what it says in the `Authorization` header.
    fn register(&self, metadata: &Value) -> String {
        let made = self.administer("/admin/clients", metadata);
        let id = made["client_id"].as_str().unwrap();
        made["client_secret"].as_str().map_or(String::new(), |secret| basic(id, secret))
    }

    fn administer(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        send(self.admin, &request(path, &self.bearer, "application/json", &body))
    }

    /// An access token of the client, which may use client credentials.
    fn token(&self, client: &str) -> String {
        let tokens =
            send(self.public, &post("/oauth/token", client, "grant_type=client_credentials"));
        tokens["access_token"].as_str().unwrap().to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn request(path: &str, authorization: &str, content_type: &str, body: &str) -> Vec<u8> {
    let authorization = match authorization {
        "" => String::new(),
        value => format!("Authorization: {value}\r\n"),
    };
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\n{authorization}Content-Type: {content_type}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn post(path: &str, authorization: &str, form: &str) -> Vec<u8> {
    request(path, authorization, "application/x-www-form-urlencoded", form)
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn send(to: SocketAddr, request: &[u8]) -> Value {
    let answer = exchange(&mut connect(to), request);
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
}

/// One request and its whole answer.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    let (mut bytes, mut chunk) = (Vec::new(), [0; 8192]);
    loop {
        let read = stream.read(&mut chunk).unwrap();
        assert!(0 < read, "the service hung up");
        bytes.extend_from_slice(&chunk[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        if end + 4 + length <= bytes.len() {
            return String::from_utf8(bytes).unwrap();
        }
    }
}

/// Numbers that look random; the same in every run.
struct Shuffle(u64);

impl Shuffle {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    fn order(&mut self, kinds: usize, each: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..kinds * each).map(|i| i % kinds).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, self.next(i + 1));
        }
        order
    }
}

/// The z of the rank test of Mann and Whitney, with ties at their middle ranks.
fn rank_z(one: &[u64], other: &[u64]) -> f64 {
    let mut all: Vec<(u64, bool)> = one.iter().map(|value| (*value, true)).collect();
    all.extend(other.iter().map(|value| (*value, false)));
    all.sort_unstable();
    let (mut ranks, mut ties, mut at) = (0.0, 0.0, 0);
    while at < all.len() {
        let same = all[at..].iter().take_while(|(value, _)| *value == all[at].0).count();
        let middle = at as f64 + (same as f64 + 1.0) / 2.0;
        ranks += middle * all[at..at + same].iter().filter(|(_, first)| *first).count() as f64;
        ties += (same as f64).powi(3) - same as f64;
        at += same;
    }
    let (n, m) = (one.len() as f64, other.len() as f64);
    let u = ranks - n * (n + 1.0) / 2.0;
    let spread = n * m / 12.0 * ((n + m + 1.0) - ties / ((n + m) * (n + m - 1.0)));
    (u - n * m / 2.0) / spread.sqrt()
}

fn median(values: &[u64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2] as f64 / 1000.0
}

/// Asks, and prints what came of it. All answers of a group must be the same but for their date.
fn compare(title: &str, to: SocketAddr, kinds: &[Kind], each: usize) {
    let mut stream = connect(to);
    let mut shuffle = Shuffle(0x9E37_79B9_7F4A_7C15);
    let mut times: Vec<Vec<u64>> = vec![Vec::with_capacity(each); kinds.len()];
    let mut expected = None;
    for (warm, rounds) in [(true, 50), (false, each)] {
        for kind in shuffle.order(kinds.len(), rounds) {
            let request = &kinds[kind].requests[shuffle.next(kinds[kind].requests.len())];
            let start = Instant::now();
            let answer = exchange(&mut stream, request);
            let took = start.elapsed().as_nanos() as u64;
            let undated: Vec<String> = {
                let lines = answer.lines().filter(|line| !line.starts_with("date"));
                let mut lines: Vec<String> = lines.map(str::to_owned).collect();
                lines.sort_unstable();
                lines
            };
            assert_eq!(*expected.get_or_insert(undated.clone()), undated, "{}", kinds[kind].name);
            if !warm {
                times[kind].push(took);
            }
        }
    }
    println!("\n{title}: {each} requests of each kind");
    println!("{:<36} {:>10} {:>10} {:>7}", "kind", "median us", "differs by", "z");
    let base = median(&times[0]);
    for (kind, times_of) in kinds.iter().zip(&times) {
        let (median, z) = (median(times_of), rank_z(times_of, &times[0]));
        let differs = median - base;
        println!("{:<36} {median:>10.1} {differs:>10.1} {z:>7.2}", kind.name);
    }
}

fn inactive(service: &Service) -> Vec<Kind> {
    let client = |id: &str, lifetime_s: u32, resource: &str| {
        service.register(&json!({
            "client_id": id, "grant_types": ["client_credentials"], "scope": "read",
            "resources": [resource], "access_token_lifetime_s": lifetime_s,
        }))
    };
    let short = client("kind-a", 1, API);
    let own = client("kind-b", 3600, API);
    let foreign = client("kind-c", 3600, "https://api.example/elsewh");
    let asking = client("asking", 3600, API);
    let tokens = |client: &str| (0..VARIANTS).map(|_| service.token(client)).collect::<Vec<_>>();
    let (expired, revoked, foreign) = (tokens(&short), tokens(&own), tokens(&foreign));
    for token in &revoked {
        let answer = exchange(
            &mut connect(service.public),
            &post("/oauth/revoke", &own, &format!("token={token}")),
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // Of the same length: the bytes alone must not make a difference.
    let unknown = revoked.iter().map(|token| {
        let (rest, end) = token.split_at(token.len() - 8);
        format!("{rest}{}", end.chars().rev().collect::<String>())
    });
    let unknown: Vec<String> = unknown.collect();
    let malformed: Vec<String> =
        unknown.iter().map(|token| token.replace(['.', '-', '_'], "x")).collect();
    std::thread::sleep(Duration::from_millis(2500)); // until those of one second have expired
    let requests = |tokens: Vec<String>| {
        let form = |token: &String| format!("token={token}");
        tokens.iter().map(|token| post("/oauth/introspect", &asking, &form(token))).collect()
    };
    vec![
        Kind { name: "unknown", requests: requests(unknown.clone()) },
        Kind { name: "unknown, once more", requests: requests(unknown) },
        Kind { name: "expired", requests: requests(expired) },
        Kind { name: "revoked", requests: requests(revoked) },
        Kind { name: "another resource's", requests: requests(foreign) },
        Kind { name: "malformed", requests: requests(malformed) },
    ]
}

fn secrets(service: &Service) -> Vec<Kind> {
    service.register(&json!({ "client_id": "known-1" }));
    let wrong = |id: &str| {
        let header = |i: usize| basic(id, &format!("tls_{i:043}"));
        let form = "grant_type=client_credentials";
        (0..VARIANTS).map(|i| post("/oauth/token", &header(i), form)).collect()
    };
    vec![
        Kind { name: "unknown client", requests: wrong("nobody1") },
        Kind { name: "unknown client, once more", requests: wrong("nobody1") },
        Kind { name: "wrong secret of a client", requests: wrong("known-1") },
    ]
}

fn assertions(service: &Service) -> [Vec<Kind>; 2] {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": x });
    service.register(&json!({
        "client_id": "robot-1", "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [jwk] },
    }));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let signed = |id: &str, header: Value| -> Vec<Vec<u8>> {
        let one = |i: usize| {
            let claims = json!({
                "iss": id, "sub": id, "aud": ISSUER, "jti": format!("{i:04}"), "exp": now + 250,
            });
            let parts = [&header, &claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
            let message = parts.join(".");
            let signature = match header["alg"].as_str() {
                Some("RS256") => URL_SAFE_NO_PAD.encode([7; 256]),
                Some(_) | None => URL_SAFE_NO_PAD.encode(other.sign(message.as_bytes())),
            };
            let form = format!(
                "grant_type=client_credentials&client_assertion_type={JWT_BEARER}\
                 &client_assertion={message}.{signature}"
            );
            post("/oauth/token", "", &form)
        };
        (0..VARIANTS).map(one).collect()
    };
    let (ed, no) = (json!({ "alg": "EdDSA", "kid": "ed" }), json!({ "alg": "EdDSA", "kid": "no" }));
    let rsa = json!({ "alg": "RS256", "kid": "ed" });
    let by_ed = vec![
        Kind { name: "unknown client", requests: signed("nobody1", ed.clone()) },
        Kind { name: "unknown client, once more", requests: signed("nobody1", ed.clone()) },
        Kind { name: "a client's key, not by it", requests: signed("robot-1", ed.clone()) },
        Kind { name: "a client's, no such key", requests: signed("robot-1", no) },
        Kind { name: "a client of another method", requests: signed("known-1", ed) },
    ];
    let by_rsa = vec![
        Kind { name: "unknown client", requests: signed("nobody1", rsa.clone()) },
        Kind { name: "unknown client, once more", requests: signed("nobody1", rsa.clone()) },
        Kind { name: "a client's, key of another kind", requests: signed("robot-1", rsa.clone()) },
        Kind { name: "a client of another method", requests: signed("known-1", rsa) },
    ];
    [by_ed, by_rsa]
}

fn main() {
    let mut words = std::env::args().skip_while(|word| word != "--requests").skip(1);
    let each = words.next().and_then(|count| count.parse().ok()).unwrap_or(1000);
    let service = Service::start();
    compare("inactive tokens", service.public, &inactive(&service), each);
    compare("refused secrets", service.public, &secrets(&service), each);
    let [by_ed, by_rsa] = assertions(&service);
    compare("refused assertions, EdDSA", service.public, &by_ed, each);
    compare("refused assertions, RS256", service.public, &by_rsa, each);
}
