//! The wall clock of the machine is set forward and back by an hour while the real service runs:
//! libfaketime gives it another time. Records never go back, no token lives longer than it should
//! by more than the steps, and each step is recorded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::clients::{Tally, bearer};
use crate::report::Report;
use crate::service::{Administrator, Process, Service, binary, verify};
use crate::wire::{Answer, Wire, basic, form, json as post};

const HOUR_S: i64 = 3600;
const LIFETIME_S: i64 = 300;
/// From one request to the next, on a slow machine.
const LEEWAY_S: i64 = 30;

/// Where libfaketime is, if it is installed.
fn library() -> Option<PathBuf> {
    let libraries = fs::read_dir("/usr/lib").ok()?.flatten();
    let found = libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    found.filter(|path| path.exists()).min()
}

/// Sets the clock `rounds` times forward, back and back again.
pub fn run(rounds: u64, scratch: &Path, report: &mut Report) {
    let Some(library) = library() else {
        return report.skipped("steps of the clock", "needs libfaketime");
    };
    for _ in 0..rounds {
        let mut tally = Tally::default();
        let failed = one(&library, scratch, &mut tally).err();
        report.round("clock, an hour forward, back, and back", tally, failed);
    }
}

/// A service whose clock can be set.
struct Set<'a> {
    service: Service,
    wire: Wire,
    client: String,
    clock: &'a Path,
}

impl Set<'_> {
    fn ask(&mut self, pairs: &[(&str, &str)]) -> Result<Answer, String> {
        let asked = self.wire.ask(&form("/oauth/token", &self.client, pairs));
        asked.map_err(|error| error.to_string())
    }

    fn token(&mut self) -> Result<String, String> {
        let answer = self.ask(&[("grant_type", "client_credentials")])?;
        answer.text("access_token").ok_or_else(|| format!("no token: {answer:?}"))
    }

    fn introspect(&mut self, token: &str) -> Result<Value, String> {
        let request = form("/oauth/introspect", &self.client, &[("token", token)]);
        Ok(self.wire.ask(&request).map_err(|error| error.to_string())?.body)
    }

    fn is_active(&mut self, token: &str) -> Result<bool, String> {
        Ok(self.introspect(token)?["active"] == Value::Bool(true))
    }

    /// Sets the clock, so many seconds from the true time, and waits until a request is judged by it.
    fn set(&mut self, from_now_s: i64) -> Result<(), String> {
        fs::write(self.clock, format!("{from_now_s:+}")).map_err(|error| error.to_string())?;
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            self.token()?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64)
}

fn serve<'a>(
    library: &Path,
    clock: &'a Path,
    data: &Path,
    scratch: &Path,
) -> Result<(Set<'a>, Administrator), String> {
    let administrator = Process::init(&[], data, scratch).administrator()?;
    let preload = format!("LD_PRELOAD={}", library.display());
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", clock.display());
    let only_wall = "FAKETIME_DONT_FAKE_MONOTONIC=1";
    let before = ["env", &preload, &file, "FAKETIME_NO_CACHE=1", only_wall];
    let service = Process::serve_under(&before, data, scratch).ready()?;
    let mut wire = Wire::to(service.public);
    let own = basic(&administrator.id, &administrator.secret);
    let bearer = bearer(&mut wire, &own)?;
    let metadata = json!({
        "grant_types": ["client_credentials"],
        "scope": "photos.read",
        "resources": ["https://api.example"],
        "access_token_format": "opaque",
        "access_token_lifetime_s": LIFETIME_S,
    });
    let made = Wire::to(service.admin).ask(&post("/admin/clients", &bearer, &metadata));
    let made = made.map_err(|error| error.to_string())?;
    let (Some(id), Some(secret)) = (made.text("client_id"), made.text("client_secret")) else {
        return Err(format!("no client was registered: {made:?}"));
    };
    Ok((Set { service, wire, client: basic(&id, &secret), clock }, administrator))
}

fn one(library: &Path, scratch: &Path, tally: &mut Tally) -> Result<(), String> {
    let folder = tempfile::tempdir_in(scratch).unwrap();
    let (data, clock) = (folder.path().join("ledger"), folder.path().join("clock"));
    fs::write(&clock, "+0").unwrap();
    let (mut set, _) = serve(library, &clock, &data, scratch)?;
    let mut expect = |holds: bool, what: &str| {
        tally.acknowledged += 1;
        if !holds {
            tally.wrong.push(what.to_owned());
        }
    };
    let first = set.token()?;
    expect(set.is_active(&first)?, "a token that was just issued is not active");
    set.set(HOUR_S)?;
    expect(!set.is_active(&first)?, "an hour later a token of five minutes is active");
    let ahead = set.token()?;
    set.set(0)?;
    expect(!set.is_active(&first)?, "what was answered as expired is active again");
    expect(set.is_active(&ahead)?, "a token issued an hour ahead died when the clock was right");
    for (from_now_s, steps_s) in [(0, HOUR_S), (-HOUR_S, 2 * HOUR_S)] {
        set.set(from_now_s)?;
        let token = set.token()?;
        let expires = set.introspect(&token)?["exp"].as_i64().unwrap_or(i64::MAX);
        let longest = now_s() + from_now_s + LIFETIME_S + steps_s + LEEWAY_S;
        expect(expires <= longest, "a token outlives its time by more than the steps");
    }
    set.service.stop()?;
    verify(&data)?;
    let export = Command::new(binary()).arg("export").arg("--data").arg(&data).output().unwrap();
    let records = String::from_utf8_lossy(&export.stdout).into_owned();
    let records: Vec<Value> =
        records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let times: Vec<&str> = records.iter().filter_map(|record| record["at"].as_str()).collect();
    expect(times.len() == records.len() && times.is_sorted(), "the time of the records goes back");
    let stepped = records.iter().filter(|record| record["type"] == "clock.stepped").count();
    expect(stepped == 3, &format!("{stepped} steps are recorded, and three were made"));
    // With the true time again it starts, and goes on.
    let service = Process::serve(&data, scratch).ready()?;
    service.stop()?;
    verify(&data)
}
