//! More than can be served: ten thousand idle connections, senders that drip, bodies that never
//! end, clients that read no answer, a queue that is full. The memory stays bounded, and a client
//! that behaves is served meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::clients::{Parties, Tally};
use crate::report::Report;
use crate::service::{Process, Service};
use crate::stage::words;
use crate::strace;
use crate::wire::{Wire, form};

const MIB: u64 = 1 << 20;
/// Files that this process needs for other things.
const FILES_SPARE: u64 = 500;

/// A service with a client that behaves.
struct Busy {
    service: Service,
    basic: String,
    _folder: tempfile::TempDir,
}

/// What became of a part: figures in words, and what is wrong.
type Part = Result<String, String>;

/// Overloads a service in each way; `most` connections at the most.
pub fn run(most: u64, scratch: &Path, report: &mut Report) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let allowed = maximum.unwrap_or(u64::MAX).saturating_sub(FILES_SPARE);
    if raised.is_err() || allowed < most {
        report.skipped("more connections", &format!("ulimit -Hn allows {allowed}, not {most}"));
    }
    let many = most.min(allowed) as usize;
    let parts: [(&str, &dyn Fn() -> Part); 5] = [
        ("idle connections", &|| idle(many, scratch)),
        ("slow senders", &|| slow(many / 10, scratch)),
        ("endless bodies", &|| endless(many.min(64), scratch)),
        ("deaf clients", &|| deaf(many.min(64), scratch)),
        ("full queue", &|| full(many.min(512), scratch)),
    ];
    for (name, part) in parts {
        let failed = match part() {
            Ok(figures) => {
                report.figure(&format!("overload, {name}: {figures}"));
                None
            }
            Err(said) => Some(said),
        };
        report.round(&format!("overload, {name}"), Tally::default(), failed);
    }
}

impl Busy {
    fn start(before: &[&str], scratch: &Path) -> Self {
        let folder = tempfile::tempdir_in(scratch).unwrap();
        let data = folder.path().join("ledger");
        let administrator = Process::init(&[], &data, scratch).administrator().unwrap();
        let service = Process::serve_under(before, &data, scratch).ready().unwrap();
        let parties = Parties::register(&service, &administrator).unwrap();
        Self { service, basic: parties.basics[1].clone(), _folder: folder }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.service.public).unwrap()
    }

    fn token(&self) -> Vec<u8> {
        form("/oauth/token", &self.basic, &[("grant_type", "client_credentials")])
    }

    /// The part is over: who behaves is served, and the stop is clean.
    fn end(self, good: Good, figures: String) -> Part {
        let figures = format!("{figures}; {}", good.end()?);
        let mut wire = Wire::to(self.service.public);
        match wire.ask(&self.token()) {
            Ok(answer) if answer.status == 200 => {}
            other => return Err(format!("nobody is served afterwards: {other:?}")),
        }
        drop(wire);
        self.service.stop()?;
        Ok(figures)
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}

/// A client that asks for one durable token after the other, and notes how long each took.
struct Good {
    thread: JoinHandle<(Vec<Duration>, Vec<String>)>,
    over: Arc<AtomicBool>,
}

impl Good {
    fn start(busy: &Busy) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (address, request, until) = (busy.service.public, busy.token(), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let (mut took, mut refused) = (Vec::new(), Vec::new());
            let mut wire = Wire::to(address);
            while !until.load(Ordering::SeqCst) {
                let began = Instant::now();
                match wire.ask(&request) {
                    Ok(answer) if answer.status == 200 => took.push(began.elapsed()),
                    other => refused.push(format!("{other:?}")),
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            (took, refused)
        });
        Self { thread, over }
    }

    fn end(self) -> Part {
        self.over.store(true, Ordering::SeqCst);
        let (mut took, refused) = self.thread.join().unwrap();
        took.sort_unstable();
        // What comes while a queue is full may be told to come again; one in twenty, no more.
        if took.len() < 3 || took.len() < refused.len() * 20 {
            let first = refused.first();
            return Err(format!("served {}, refused {}: {first:?}", took.len(), refused.len()));
        }
        let at = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1000.0;
        Ok(format!(
            "a good client: {} answers, {} refused, p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms",
            took.len(),
            refused.len(),
            at(50),
            at(99),
            at(100)
        ))
    }
}

fn idle(many: usize, scratch: &Path) -> Part {
    let busy = Busy::start(&["env", "TOKEN_LEDGER_CLIENT_REQUEST_TIMEOUT_MS=600000"], scratch);
    let before = busy.service.resident_bytes();
    let request = b"GET /healthz HTTP/1.1\r\nHost: ledger\r\n\r\n";
    let mut all = Vec::new();
    for i in 0..many {
        let mut stream = busy.connect();
        // Half of them say something once, the others never do.
        if i % 2 == 0 {
            stream.write_all(request).unwrap();
        }
        all.push(stream);
    }
    for stream in all.iter_mut().step_by(2) {
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).map_err(|error| format!("no answer: {error}"))?;
    }
    let good = Good::start(&busy);
    std::thread::sleep(Duration::from_secs(3));
    let after = busy.service.resident_bytes();
    let each = after.saturating_sub(before) / many as u64;
    let figures = format!("{many}; {} -> {}, {each} bytes each", mib(before), mib(after));
    if 48 * 1024 < each {
        return Err(figures);
    }
    let ended = busy.end(good, figures);
    drop(all);
    ended
}

/// Half of them drip a head, the others a body: a byte every 100 ms.
fn slow(many: usize, scratch: &Path) -> Part {
    let busy = Busy::start(&["env", "TOKEN_LEDGER_CLIENT_REQUEST_TIMEOUT_MS=2000"], scratch);
    let before = busy.service.resident_bytes();
    let head = "POST /oauth/token HTTP/1.1\r\nHost: ledger\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n";
    let mut open: Vec<TcpStream> = Vec::new();
    for i in 0..many {
        let mut stream = busy.connect();
        let more = if i % 2 == 0 { "X-More: " } else { "Content-Length: 10000\r\n\r\n" };
        stream.write_all(format!("{head}{more}").as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        open.push(stream);
    }
    let good = Good::start(&busy);
    let (began, mut most) = (Instant::now(), 0);
    while !open.is_empty() && began.elapsed() < Duration::from_secs(30) {
        open.retain_mut(|stream| {
            let mut answer = [0; 512];
            let hears = match stream.read(&mut answer) {
                Ok(_) => false,
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            };
            hears && stream.write_all(b"a").is_ok()
        });
        most = most.max(busy.service.resident_bytes());
        std::thread::sleep(Duration::from_millis(100));
    }
    let figures = format!(
        "{many} dripping senders, all cut off after {:.1} s, {} -> {}",
        began.elapsed().as_secs_f64(),
        mib(before),
        mib(most)
    );
    if !open.is_empty() || before + 64 * MIB < most {
        return Err(format!("{} still open; {figures}", open.len()));
    }
    busy.end(good, figures)
}

fn endless(many: usize, scratch: &Path) -> Part {
    const MOST: u64 = 256 * MIB;
    let busy = Busy::start(&[], scratch);
    let before = busy.service.resident_bytes();
    let good = Good::start(&busy);
    let address = busy.service.public;
    let senders: Vec<_> =
        (0..many).map(|i| std::thread::spawn(move || pour(address, i % 2 == 0, MOST))).collect();
    let mut most = 0;
    while !senders.iter().all(JoinHandle::is_finished) {
        most = most.max(busy.service.resident_bytes());
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent: u64 = senders.into_iter().map(|sender| sender.join().unwrap()).max().unwrap_or(0);
    let figures = format!(
        "{many}, each refused after {} at most, {} -> {}",
        mib(sent),
        mib(before),
        mib(most)
    );
    if MOST <= sent || before + 64 * MIB < most {
        return Err(figures);
    }
    busy.end(good, figures)
}

/// Sends a body for as long as it is taken; answers how many bytes that were.
fn pour(address: SocketAddr, is_chunked: bool, most: u64) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = match is_chunked {
        true => "Transfer-Encoding: chunked",
        false => "Content-Length: 1000000000000",
    };
    let head = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: ledger\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{length}\r\n\r\n"
    );
    let chunk = [b"4000\r\n".as_slice(), &[b'a'; 0x4000], b"\r\n"].concat();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let _ = stream.write_all(head.as_bytes());
    let mut sent = 0;
    while sent < most {
        match stream.write(&chunk) {
            Ok(count) => sent += count as u64,
            Err(_) => break,
        }
    }
    sent
}

/// Clients that ask for as much as they are let, one request behind the other, and read nothing.
fn deaf(many: usize, scratch: &Path) -> Part {
    let busy = Busy::start(&["env", "TOKEN_LEDGER_UNREAD_ANSWER_TIMEOUT_MS=4000"], scratch);
    let before = busy.service.resident_bytes();
    let good = Good::start(&busy);
    // The shortest that there is, so that most of them fit into a buffer.
    let requests = b"GET / HTTP/1.1\r\nHost: l\r\n\r\n".repeat(1000);
    let mut open: Vec<TcpStream> = (0..many).map(|_| busy.connect()).collect();
    open.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    let (began, mut most) = (Instant::now(), 0);
    while !open.is_empty() && began.elapsed() < Duration::from_secs(30) {
        open.retain_mut(|stream| match stream.write(&requests) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
        most = most.max(busy.service.resident_bytes());
        std::thread::sleep(Duration::from_millis(5));
    }
    let each = most.saturating_sub(before) / many as u64;
    let figures = format!(
        "{many} that read no answer, {} -> {}, {} each at most, all cut off after {:.1} s",
        mib(before),
        mib(most),
        mib(each),
        began.elapsed().as_secs_f64()
    );
    if !open.is_empty() || DEAF_BYTES_MAX < each {
        return Err(format!("{} still open; {figures}", open.len()));
    }
    busy.end(good, figures)
}

/// What a client that pipelines and does not read may hold.
const DEAF_BYTES_MAX: u64 = 6 * MIB;

/// Each sync takes 100 ms, the queue is short, and everybody asks at once.
fn full(many: usize, scratch: &Path) -> Part {
    if let Some(why) = strace::missing() {
        return Ok(format!("skipped, {why}"));
    }
    let set = ["env", "TOKEN_LEDGER_QUEUE_COMMANDS_MAX=32", "TOKEN_LEDGER_BATCH_COMMANDS_MAX=8"];
    let slowing = strace::slowing("fdatasync", 100_000);
    let slow: Vec<&str> = set.into_iter().chain(words(&slowing)).collect();
    let busy = Busy::start(&slow, scratch);
    let before = busy.service.resident_bytes();
    let request = busy.token();
    let mut open: Vec<TcpStream> = (0..many).map(|_| busy.connect()).collect();
    for stream in &mut open {
        stream.write_all(&request).unwrap();
    }
    let (mut served, mut told, mut other) = (0, 0, Vec::new());
    for stream in &mut open {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut answer = [0; 2048];
        let count = stream.read(&mut answer).unwrap_or(0);
        let text = String::from_utf8_lossy(&answer[..count]).to_lowercase();
        match text.get(9..12) {
            Some("200") => served += 1,
            Some("503") if text.contains("retry-after") => told += 1,
            _ => other.push(text),
        }
    }
    let after = busy.service.resident_bytes();
    let figures = format!(
        "{many} at once on a queue of 32, syncs of 100 ms: {served} served, {told} told to come \
         again, {} -> {}",
        mib(before),
        mib(after)
    );
    if !other.is_empty() || served == 0 || told == 0 || before + 64 * MIB < after {
        return Err(format!("{figures}; {} other: {:?}", other.len(), other.first()));
    }
    drop(open);
    let good = Good::start(&busy);
    std::thread::sleep(Duration::from_secs(2));
    busy.end(good, figures)
}
