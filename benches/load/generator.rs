//! An efficient generator: one task a connection, requests as bytes, answers read to their length.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Makes the next request, given the body of the last answer.
pub type Next = Box<dyn FnMut(Option<&[u8]>) -> Option<Vec<u8>>>;

/// What one connection sends, again and again.
pub struct Script {
    pub address: SocketAddr,
    pub next: Next,
    pub status: u16,
}

impl Script {
    pub fn get(address: SocketAddr, path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes();
        Self { address, next: Box::new(move |_| Some(request.clone())), status: 200 }
    }
}

/// A form request as bytes.
pub fn form(path: &str, authorization: Option<&str>, body: &str) -> Vec<u8> {
    let authorization =
        authorization.map_or(String::new(), |value| format!("Authorization: {value}\r\n"));
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\n{authorization}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A JSON request as bytes.
pub fn json_post(path: &str, authorization: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: {authorization}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The same request on every connection, again and again.
pub fn same(address: SocketAddr, request: &[u8], connections: usize, status: u16) -> Vec<Script> {
    let script = || {
        let request = request.to_vec();
        let next = Box::new(move |_: Option<&[u8]>| Some(request.clone()));
        Script { address, next, status }
    };
    (0..connections).map(|_| script()).collect()
}

/// Every request once, in equal shares.
pub fn each_once(
    address: SocketAddr,
    mut requests: Vec<Vec<u8>>,
    connections: usize,
) -> Vec<Script> {
    let share = requests.len() / connections;
    let mut script = || {
        let mut own = requests.split_off(requests.len() - share);
        let next = Box::new(move |_: Option<&[u8]>| own.pop());
        Script { address, next, status: 200 }
    };
    (0..connections).map(|_| script()).collect()
}

/// The body of an answer.
pub struct Gathered(pub Vec<u8>);

/// Sends every request once over a few connections and keeps the answers, in no order.
pub async fn gather(address: SocketAddr, requests: Vec<Vec<u8>>, status: u16) -> Vec<Gathered> {
    let local = tokio::task::LocalSet::new();
    let share = requests.len().div_ceil(GATHERING_CONNECTIONS).max(1);
    let send = |part: Vec<Vec<u8>>| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = Vec::with_capacity(16 * 1024);
        let mut gathered = Vec::new();
        for request in part {
            stream.write_all(&request).await.unwrap();
            let (got, body) = read_answer(&mut stream, &mut buffer).await;
            assert_eq!(got, status, "{}", String::from_utf8_lossy(&body));
            gathered.push(Gathered(body));
        }
        gathered
    };
    local
        .run_until(async move {
            let parts = requests.chunks(share).map(<[_]>::to_vec);
            let tasks: Vec<_> = parts.map(|part| tokio::task::spawn_local(send(part))).collect();
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.unwrap());
            }
            all
        })
        .await
}

const GATHERING_CONNECTIONS: usize = 64;

#[derive(Default)]
pub struct Figures {
    pub answers: u64,
    unexpected: u64,
    example: String,
    pub seconds: f64,
    micros: Vec<u32>,
}

impl Figures {
    pub fn per_second(&self) -> f64 {
        self.answers as f64 / self.seconds
    }

    /// What was answered otherwise than it should have been, as the end of a line.
    pub fn unexpected(&self) -> String {
        match self.unexpected {
            0 => String::new(),
            count => format!("  {count} UNEXPECTED: {}", self.example),
        }
    }

    pub fn percentile_ms(&self, share: f64) -> f64 {
        let at = ((self.micros.len() as f64 * share) as usize).min(self.micros.len().max(1) - 1);
        self.micros.get(at).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    }
}

/// Runs every script on a connection of its own for `seconds`.
pub async fn drive(scripts: Vec<Script>, seconds: u64) -> Figures {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            let start = Instant::now();
            let end = start + Duration::from_secs(seconds);
            let tasks: Vec<_> = scripts
                .into_iter()
                .map(|script| tokio::task::spawn_local(connection(script, end)))
                .collect();
            let mut all = Figures::default();
            for task in tasks {
                let one = task.await.unwrap();
                all.answers += one.answers;
                all.unexpected += one.unexpected;
                if all.example.is_empty() {
                    all.example = one.example;
                }
                all.micros.extend(one.micros);
            }
            all.seconds = start.elapsed().as_secs_f64();
            all.micros.sort_unstable();
            all
        })
        .await
}

async fn connection(mut script: Script, end: Instant) -> Figures {
    let mut figures = Figures::default();
    let mut stream = TcpStream::connect(script.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut last: Option<Vec<u8>> = None;
    while Instant::now() < end {
        let Some(request) = (script.next)(last.as_deref()) else { break };
        let start = Instant::now();
        stream.write_all(&request).await.unwrap();
        let (status, body) = read_answer(&mut stream, &mut buffer).await;
        figures.micros.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
        figures.answers += 1;
        if status != script.status {
            figures.unexpected += 1;
            if figures.example.is_empty() {
                figures.example = format!("{status} {}", String::from_utf8_lossy(&body));
            }
        }
        last = Some(body);
    }
    figures
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> (u16, Vec<u8>) {
    buffer.clear();
    loop {
        if let Some(head) = find(buffer, b"\r\n\r\n") {
            let text = std::str::from_utf8(&buffer[..head]).unwrap();
            let status: u16 = text[9..12].parse().unwrap();
            let length = text
                .lines()
                .find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.trim())
                })
                .map_or(0, |value| value.parse::<usize>().unwrap());
            let whole = head + 4 + length;
            while buffer.len() < whole {
                assert!(0 < stream.read_buf(buffer).await.unwrap(), "closed inside an answer");
            }
            return (status, buffer[head + 4..whole].to_vec());
        }
        assert!(0 < stream.read_buf(buffer).await.unwrap(), "closed before an answer");
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The text member `name` of a flat JSON object.
pub fn member<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(body).ok()?;
    let start = text.find(&format!("\"{name}\":\""))? + name.len() + 4;
    text[start..].split('"').next()
}
