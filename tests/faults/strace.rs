//! Where a process asks the system for something, and what becomes of it there: `strace` writes
//! down the places of one run, and in another run gives an error, or SIGKILL, at one of them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::service::unique;

/// Calls that change what is on the disk, or make it durable. `openat` counts where it may write.
const WRITING: &str = "mkdir,openat,write,pwrite64,fsync,fdatasync,sync_file_range,rename,unlink,\
                       rmdir,ftruncate,fallocate,fchmod,link,copy_file_range,ioctl";
/// Those that only look.
const READING: &str = "read,pread64,getdents64,mmap,lseek,flock,statx";

/// The same call on the same file by the same thread more often than this is the same step again.
const REPEATS_MAX: u64 = 12;

/// Which part of how many equal ones of all places is meant; all of them if it is not set.
pub static PART: OnceLock<(u64, u64)> = OnceLock::new();

/// A call on a file below one directory: the `nth` of that kind by one thread. A kill falls before
/// it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub call: String,
    /// From the directory that was watched; empty for that one itself.
    pub file: String,
    pub nth: u64,
    pub writes: bool,
}

impl Place {
    fn is_meant(&self) -> bool {
        let Some((part, parts)) = PART.get() else { return true };
        let mut hasher = DefaultHasher::new();
        (&self.call, &self.file, self.nth).hash(&mut hasher);
        hasher.finish() % parts == *part
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} of {}", self.call, self.nth, self.file)
    }
}

/// What happens at a place.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    Killed,
    Error(&'static str),
}

/// A program to run another one under, and what it wrote down.
pub struct Tracing {
    words: Vec<String>,
    told: PathBuf,
}

/// What stands in the way, if anything does.
pub fn missing() -> Option<String> {
    let found = Command::new("strace").arg("-V").output();
    found.err().map(|_| "needs strace".to_owned())
}

/// The program that makes each call of this name take so long.
pub fn slowing(call: &str, microseconds: u64) -> Vec<String> {
    let (trace, inject) =
        (format!("trace={call}"), format!("inject={call}:delay_enter={microseconds}"));
    let words = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Writes down every call of interest.
pub fn recording(scratch: &Path) -> Tracing {
    Tracing::new(&["-y", "-s", "8", "-e", &format!("trace={WRITING},{READING}")], scratch)
}

/// Lets `fate` happen at `place` below `folder`.
pub fn at(place: &Place, fate: Fate, folder: &Path, scratch: &Path) -> Tracing {
    let what = match fate {
        Fate::Killed => "signal=SIGKILL".to_owned(),
        Fate::Error(error) => format!("error={error}"),
    };
    let inject = format!("inject={}:{what}:when={}", place.call, place.nth);
    let path = folder.join(&place.file).display().to_string();
    let path = path.trim_end_matches('/');
    Tracing::new(&["-P", path, "-e", &format!("trace={}", place.call), "-e", &inject], scratch)
}

impl Tracing {
    fn new(what: &[&str], scratch: &Path) -> Self {
        let told = scratch.join(format!("strace.{}", unique()));
        let path = told.display().to_string();
        let words = ["strace", "-D", "-f", "-q", "-o", &path];
        let words = words.iter().chain(what).map(|word| (*word).to_owned()).collect();
        Self { words, told }
    }

    pub fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    /// All that was written down, once the process has ended.
    fn text(&self) -> String {
        let until = Instant::now() + Duration::from_secs(10);
        let read = || {
            let bytes = std::fs::read(&self.told).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (mut text, mut since) = (read(), Instant::now());
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
            let now = read();
            if now.len() != text.len() {
                (text, since) = (now, Instant::now());
            } else if since + Duration::from_millis(50) < Instant::now() && has_ended(&text) {
                break;
            }
        }
        text
    }

    /// Whether the place was reached.
    pub fn was_reached(&self) -> bool {
        let text = self.text();
        text.contains("INJECTED") || text.contains("killed by SIGKILL")
    }

    /// Every place below `folder` of a run that was recorded.
    pub fn places(&self, folder: &Path) -> Vec<Place> {
        let folder = folder.display().to_string();
        let mut counts: BTreeMap<(bool, String, String), BTreeMap<String, u64>> = BTreeMap::new();
        for line in self.text().lines() {
            let Some((thread, call, file, writes)) = parse(line, &folder) else { continue };
            *counts.entry((writes, call, file)).or_default().entry(thread).or_default() += 1;
        }
        let most = |threads: &BTreeMap<String, u64>| threads.values().max().copied().unwrap_or(0);
        let places = counts.iter().flat_map(|((writes, call, file), threads)| {
            (1..=most(threads).min(REPEATS_MAX)).map(|nth| Place {
                call: call.clone(),
                file: file.clone(),
                nth,
                writes: *writes,
            })
        });
        places.filter(Place::is_meant).collect()
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.told);
    }
}

fn has_ended(text: &str) -> bool {
    text.lines().last().is_none_or(|line| line.contains("+++"))
}

/// The thread, the call, the file from `folder`, and whether it may change something.
fn parse(line: &str, folder: &str) -> Option<(String, String, String, bool)> {
    let (thread, rest) = line.split_once(' ')?;
    let (call, arguments) = rest.trim_start().split_once('(')?;
    if !call.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        return None;
    }
    let (_, after) = arguments.split_once(folder)?;
    let end = after.find(['"', '>'])?;
    let file = after[..end].trim_start_matches('/').to_owned();
    let flags = ["O_WRONLY", "O_RDWR", "O_CREAT"];
    let writes = match call {
        "openat" => flags.iter().any(|flag| arguments.contains(flag)),
        other => WRITING.split(',').any(|writing| writing == other),
    };
    Some((thread.to_owned(), call.to_owned(), file, writes))
}

/// At most `count` of `all`, by chance, but one of each `kind` before any a second one.
pub fn some<T>(
    mut all: Vec<T>,
    count: u64,
    random: &mut Random,
    kind: impl Fn(&T) -> String,
) -> Vec<T> {
    for i in (1..all.len()).rev() {
        all.swap(i, random.below(i as u64 + 1) as usize);
    }
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut turns: Vec<(u64, T)> = Vec::new();
    for one in all {
        let turn = seen.entry(kind(&one)).or_default();
        *turn += 1;
        turns.push((*turn, one));
    }
    turns.sort_by_key(|(turn, _)| *turn);
    turns.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    turns.into_iter().map(|(_, one)| one).collect()
}
