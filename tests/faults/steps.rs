//! A kill at each step: every command that changes something is run once to write down its calls,
//! and then again and again, killed before each of them. The next run of the same command, or the
//! next start, goes on; nothing is lost.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::clients::{Load, Promised, Tally, check};
use crate::random::Random;
use crate::report::Report;
use crate::service::{Process, Service, has_panicked, verify};
use crate::stage::{self, Base, COPIES, Stage};
use crate::strace::{self, Fate, Place};
use crate::tools::{is_clear, run, tool, write_vkeys};
use crate::wire::text;

/// What was promised when it was over, and what the process that was killed had said.
struct Acted {
    promised: Vec<Promised>,
    said: String,
}

/// One command.
struct Case {
    name: &'static str,
    /// Whether its steps on a file, named from the folder of the stage, are meant.
    concerns: fn(&str) -> bool,
    /// Runs it below a program that may kill it.
    act: fn(&Stage<'_>, &[&str]) -> Acted,
    /// What is wrong afterwards, if anything is.
    judge: fn(&Stage<'_>, Vec<Promised>) -> Result<Tally, String>,
}

const CASES: [Case; 11] = [
    Case { name: "init", concerns: |_| true, act: init, judge: is_made_or_made_anew },
    Case {
        name: "serve, recovery and fence",
        concerns: |file| !file.contains("snapshots"),
        act: serve,
        judge: goes_on,
    },
    Case {
        name: "snapshot",
        concerns: |file| file.contains("snapshots"),
        act: make_snapshot,
        judge: goes_on,
    },
    Case {
        name: "keys rotate",
        concerns: |file| file.contains("keys.json") || file == "ledger",
        act: rotate,
        judge: is_rotated_again,
    },
    Case {
        name: "backup",
        concerns: |file| file.starts_with("backup"),
        act: back_up,
        judge: is_backed_up,
    },
    Case {
        name: "backup, its service",
        concerns: |file| file.starts_with("copies"),
        act: be_backed_up,
        judge: is_backed_up,
    },
    Case {
        name: "restore",
        concerns: |file| file.is_empty() || file.starts_with("restored"),
        act: restore,
        judge: is_restored,
    },
    Case {
        name: "mirror",
        concerns: |file| file.starts_with("mirror"),
        act: mirror,
        judge: is_mirrored,
    },
    Case { name: "export", concerns: |_| true, act: export, judge: is_exported },
    Case { name: "witness init", concerns: |_| true, act: witness_init, judge: witness_is_made },
    Case {
        name: "witness serve",
        concerns: |file| file.starts_with("witness"),
        act: witness_serve,
        judge: witness_goes_on,
    },
];

/// Kills each command at most at `places_max` places; `only` names one command.
pub fn run_all(places_max: u64, seed: u64, scratch: &Path, report: &mut Report) {
    if let Some(why) = strace::missing() {
        return report.skipped("kills at each step", &why);
    }
    let mut random = Random::new(seed);
    let base = Base::new(random.next(), scratch);
    for case in &CASES {
        let places = recorded(case, &base, scratch);
        let all = places.len();
        let chosen = strace::some(places, places_max, &mut random, |place| {
            format!("{} {}", place.call, place.file)
        });
        let (tried, mut unreached) = (chosen.len(), Vec::new());
        for place in chosen {
            if !one(case, &place, &base, scratch, report) {
                unreached.push(place.to_string());
            }
        }
        let missed = unreached.len();
        println!("steps, {}: {all} steps, {tried} tried, {missed} of them not reached", case.name);
        report.remark(&unreached);
    }
}

fn recorded(case: &Case, base: &Base, scratch: &Path) -> Vec<Place> {
    let stage = Stage::of(base, scratch);
    let tracing = strace::recording(scratch);
    (case.act)(&stage, &tracing.words());
    let mut places = tracing.places(stage.folder());
    places.retain(|place| place.writes && (case.concerns)(&place.file));
    places
}

/// Whether the place was reached.
fn one(case: &Case, place: &Place, base: &Base, scratch: &Path, report: &mut Report) -> bool {
    let stage = Stage::of(base, scratch);
    let tracing = strace::at(place, Fate::Killed, stage.folder(), scratch);
    let acted = (case.act)(&stage, &tracing.words());
    if !tracing.was_reached() {
        return false;
    }
    let judged = (case.judge)(&stage, acted.promised);
    let (mut tally, failed) = match judged {
        Ok(tally) => (tally, None),
        Err(said) => (Tally::default(), Some(format!("killed at {place}: {said}"))),
    };
    if has_panicked(&acted.said) {
        tally.wrong.push(format!("killed at {place}: {}", acted.said));
    }
    tally.wrong.iter_mut().for_each(|wrong| *wrong = format!("killed at {place}: {wrong}"));
    report.round(&format!("steps, {}", case.name), tally, failed);
    true
}

fn nothing_promised(said: String) -> Acted {
    Acted { promised: Vec::new(), said }
}

fn init(stage: &Stage<'_>, before: &[&str]) -> Acted {
    let made = Process::init(before, &stage.path("new"), stage.scratch).administrator();
    nothing_promised(made.err().unwrap_or_default())
}

fn is_made_or_made_anew(stage: &Stage<'_>, _: Vec<Promised>) -> Result<Tally, String> {
    let data = stage.path("new");
    match stage.serve_with("new", &[], &[]).ready() {
        Ok(service) => service.stop()?,
        // Whatever is missing, the remedy is to make it anew, and no copy of anything.
        Err(said) if !is_clear(&said) || !said.contains(" init") => return Err(said),
        Err(_) => {
            let _ = fs::remove_dir_all(&data);
            Process::init(&[], &data, stage.scratch).administrator()?;
        }
    }
    verify(&data)?;
    Ok(Tally::default())
}

/// A service under `before` that does what `then` says, and stops.
fn serving(stage: &Stage<'_>, before: &[&str], then: impl FnOnce(&Service)) -> Acted {
    let promised = stage.base.promised.clone();
    let service = match stage.serve(before).ready() {
        Ok(service) => service,
        Err(said) => return Acted { promised, said },
    };
    let load = Load::start(&service, &stage.base.parties, promised, 1);
    load.until_or(60, Duration::from_secs(20));
    then(&service);
    let (promised, wrong) = load.end();
    service.terminate();
    let (_, said) = service.ended();
    Acted { promised, said: format!("{said}{}", wrong.join("\n")) }
}

fn serve(stage: &Stage<'_>, before: &[&str]) -> Acted {
    serving(stage, before, |service| {
        let _ = stage.ask(service, &[], &["audit", "checkpoint"]);
    })
}

fn make_snapshot(stage: &Stage<'_>, before: &[&str]) -> Acted {
    // No load: so the snapshot ends at the same record each time, and has the same name.
    let promised = stage.base.promised.clone();
    let service = match stage.serve(before).ready() {
        Ok(service) => service,
        Err(said) => return Acted { promised, said },
    };
    stage::await_snapshot(&stage.path("ledger"));
    service.terminate();
    Acted { promised, said: service.ended().1 }
}

fn goes_on(stage: &Stage<'_>, mut promised: Vec<Promised>) -> Result<Tally, String> {
    let service = stage.serve(&[]).ready()?;
    let tally = check(&service, &stage.base.parties, &mut promised);
    stage.ask(&service, &[], &["audit", "checkpoint"])?;
    service.stop()?;
    verify(&stage.path("ledger"))?;
    Ok(tally)
}

const ROTATIONS: [&[&str]; 3] = [
    &["keys", "rotate"],
    &["keys", "rotate", "--checkpoint"],
    &["keys", "rotate", "--checkpoint", "--compromised"],
];

fn rotate(stage: &Stage<'_>, before: &[&str]) -> Acted {
    serving(stage, before, |service| {
        for rotation in ROTATIONS {
            let _ = stage.ask(service, &[], rotation);
        }
    })
}

fn is_rotated_again(stage: &Stage<'_>, mut promised: Vec<Promised>) -> Result<Tally, String> {
    let service = stage.serve(&[]).ready()?;
    let tally = check(&service, &stage.base.parties, &mut promised);
    stage.ask(&service, &[], &["audit", "checkpoint"])?;
    stage.ask(&service, &[], &["keys", "rotate", "--now"])?;
    stage.ask(&service, &[], &["keys", "rotate", "--checkpoint"])?;
    stage.ask(&service, &[], &["audit", "checkpoint"])?;
    service.stop()?;
    let (data, keys) = (stage.text("ledger"), stage.text("vkeys"));
    write_vkeys(&stage.path("ledger"), &stage.path("vkeys"))?;
    run(tool(&[], &["verify", "--data", &data, "--vkey", &keys]))?;
    Ok(tally)
}

/// A service that nobody harms, and a command that asks it.
fn asked(stage: &Stage<'_>, before: &[&str], arguments: &[&str]) -> Acted {
    let service = stage.serve(&[]).ready().unwrap();
    let said = stage.ask(&service, before, arguments).err().unwrap_or_default();
    let stopped = service.stop().err().unwrap_or_default();
    Acted { promised: stage.base.promised.clone(), said: format!("{said}{stopped}") }
}

fn back_up(stage: &Stage<'_>, before: &[&str]) -> Acted {
    let (to, keys) = (stage.text("backup"), stage.text("vkeys"));
    asked(stage, before, &["backup", "--to", &to, "--vkey", &keys])
}

fn be_backed_up(stage: &Stage<'_>, before: &[&str]) -> Acted {
    let (to, keys) = (stage.text("backup"), stage.text("vkeys"));
    serving(stage, before, |service| {
        let _ = stage.ask(service, &[], &["backup", "--to", &to, "--vkey", &keys]);
    })
}

fn is_backed_up(stage: &Stage<'_>, mut promised: Vec<Promised>) -> Result<Tally, String> {
    let (to, log, keys) = (stage.text("backup"), stage.text("backup/log"), stage.text("vkeys"));
    // The checkpoint comes last: what it covers is whole, at any moment.
    run(tool(&[], &["verify", "--tiles", &log, "--vkey", &keys]))?;
    let service = stage.serve(&[]).ready()?;
    let tally = check(&service, &stage.base.parties, &mut promised);
    stage.ask(&service, &[], &["backup", "--to", &to, "--vkey", &keys])?;
    service.stop()?;
    run(tool(&[], &["doctor", "--data", &log]))?;
    restored_from(stage, "backup/log")?;
    Ok(tally)
}

/// A ledger in `restored`, from a directory of tiles.
fn restored_from(stage: &Stage<'_>, log: &str) -> Result<(), String> {
    run(restoring(stage, &[], log))?;
    verify(&stage.path("restored"))
}

fn restoring(stage: &Stage<'_>, before: &[&str], log: &str) -> std::process::Command {
    let [log, to] = [log, "restored"].map(|name| stage.text(name));
    let [vault, keys] = COPIES;
    let vault = stage.text(&format!("{vault}/vault.copy"));
    let keys = stage.text(&format!("{keys}/keys.json"));
    tool(before, &["restore", "--from", &log, "--keys", &keys, "--vault", &vault, "--data", &to])
}

fn restore(stage: &Stage<'_>, before: &[&str]) -> Acted {
    let said = run(restoring(stage, before, "full/log")).err().unwrap_or_default();
    Acted { promised: stage.base.backed_up.clone(), said }
}

fn is_restored(stage: &Stage<'_>, mut promised: Vec<Promised>) -> Result<Tally, String> {
    if stage.path("restored").exists() {
        // It has its name: then it is whole.
        run(tool(&[], &["doctor", "--data", &stage.text("restored")]))?;
        verify(&stage.path("restored"))?;
    } else {
        restored_from(stage, "full/log")?;
    }
    let service = stage.serve_with("restored", &[], &[]).ready()?;
    let tally = check(&service, &stage.base.parties, &mut promised);
    service.stop()?;
    Ok(tally)
}

fn mirror(stage: &Stage<'_>, before: &[&str]) -> Acted {
    let (to, keys) = (stage.text("mirror"), stage.text("vkeys"));
    asked(stage, before, &["mirror", "--once", "--to", &to, "--vkey", &keys])
}

fn is_mirrored(stage: &Stage<'_>, _: Vec<Promised>) -> Result<Tally, String> {
    let (to, keys) = (stage.text("mirror"), stage.text("vkeys"));
    let check = || run(tool(&[], &["verify", "--tiles", &to, "--vkey", &keys])).map(drop);
    check()?;
    let service = stage.serve(&[]).ready()?;
    stage.ask(&service, &[], &["mirror", "--once", "--to", &to, "--vkey", &keys])?;
    service.stop()?;
    check()?;
    Ok(Tally::default())
}

fn exporting(stage: &Stage<'_>, before: &[&str]) -> Result<String, String> {
    let (data, to) = (stage.text("ledger"), stage.text("tiles"));
    run(tool(before, &["export", "--data", &data, "--tiles", &to]))
}

fn export(stage: &Stage<'_>, before: &[&str]) -> Acted {
    let said = exporting(stage, before).err().unwrap_or_default();
    Acted { promised: stage.base.promised.clone(), said }
}

fn is_exported(stage: &Stage<'_>, promised: Vec<Promised>) -> Result<Tally, String> {
    exporting(stage, &[])?;
    run(tool(&[], &["verify", "--tiles", &stage.text("tiles"), "--vkey", &stage.text("vkeys")]))?;
    goes_on(stage, promised)
}

fn making_witness(stage: &Stage<'_>, before: &[&str]) -> Result<String, String> {
    let data = stage.text("other");
    run(tool(before, &["witness", "init", "--data", &data, "--name", "other.example"]))
}

fn witness_init(stage: &Stage<'_>, before: &[&str]) -> Acted {
    nothing_promised(making_witness(stage, before).err().unwrap_or_default())
}

fn witness_is_made(stage: &Stage<'_>, _: Vec<Promised>) -> Result<Tally, String> {
    let key = || run(tool(&[], &["witness", "vkey", "--data", &stage.text("other")]));
    match key() {
        Ok(_) => {}
        Err(said) if !is_clear(&said) => return Err(said),
        Err(_) => {
            let _ = fs::remove_dir_all(stage.path("other"));
            making_witness(stage, &[])?;
            key()?;
        }
    }
    Ok(Tally::default())
}

/// The witness, and the settings of a ledger that asks it; what it said if it does not serve.
fn witness(stage: &Stage<'_>, before: &[&str]) -> Result<(Process, Vec<String>), String> {
    let arguments = ["witness", "serve", "--listen", "127.0.0.1:0"];
    let mut process = Process::run(before, &arguments, &stage.path("witness"), stage.scratch);
    let line = process.line();
    let Some(url) = line.trim().strip_prefix("ready witness=") else {
        return Err(process.ended().1);
    };
    let key = run(tool(&[], &["witness", "vkey", "--data", &stage.text("witness")]))?;
    Ok((process, vec![format!("TOKEN_LEDGER_WITNESSES={} {url}", key.trim())]))
}

/// Waits until the newest checkpoint is cosigned, and answers the size that it has.
fn cosigned(stage: &Stage<'_>, service: &Service, at_most: Duration) -> Option<u64> {
    let until = Instant::now() + at_most;
    stage.ask(service, &[], &["audit", "checkpoint"]).ok()?;
    while Instant::now() < until {
        // To ask for another one would be a record, and the one for it is not cosigned yet.
        let note = text(service.admin, "/log/checkpoint").ok()?;
        if note.contains("witness.example") {
            return note.lines().nth(1)?.parse().ok();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

fn witness_serve(stage: &Stage<'_>, before: &[&str]) -> Acted {
    let (process, set) = match witness(stage, before) {
        Ok(started) => started,
        Err(said) => return nothing_promised(said),
    };
    let service = stage.serve_with("ledger", &[], &set).ready().unwrap();
    let size = cosigned(stage, &service, Duration::from_secs(2)).unwrap_or(0);
    // What was published must be remembered by the witness.
    fs::write(stage.path("published"), size.to_string()).unwrap();
    let _ = service.stop();
    process.signal("-TERM");
    nothing_promised(process.ended().1)
}

fn witness_goes_on(stage: &Stage<'_>, _: Vec<Promised>) -> Result<Tally, String> {
    let list = run(tool(&[], &["witness", "list", "--json", "--data", &stage.text("witness")]))?;
    let list: serde_json::Value = serde_json::from_str(&list).map_err(|error| error.to_string())?;
    let held = list["logs"][0]["size"].as_u64().unwrap_or(0);
    let published = fs::read_to_string(stage.path("published")).unwrap_or_default();
    if held < published.parse().unwrap_or(0) {
        return Err(format!("cosigned {published}, and remembers {held}"));
    }
    let (process, set) = witness(stage, &[])?;
    let service = stage.serve_with("ledger", &[], &set).ready()?;
    let size = cosigned(stage, &service, Duration::from_secs(20));
    service.stop()?;
    process.signal("-TERM");
    let (code, said) = process.ended();
    match (size, code) {
        (Some(size), Some(0)) if held <= size => Ok(Tally::default()),
        (size, code) => Err(format!("it cosigned {size:?} and ended with {code:?}: {said}")),
    }
}
