//! The map in `src/lib.rs`, enforced: who may import whom, which words stand in which file, and how
//! long a file and a function may be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module with the modules that it may import from.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("clock", &["types"]),
    ("entropy", &[]),
    ("crypto", &["types", "entropy"]),
    ("domain", &["types", "crypto"]),
    ("log", &["types", "crypto"]),
    ("ledger", &["types", "clock", "entropy", "crypto", "domain", "log"]),
    ("witness", &["types", "clock", "crypto", "log", "ledger"]),
    ("audit", &["types", "crypto", "domain", "log", "ledger"]),
    ("evidence", &["types", "crypto", "domain", "log", "ledger", "audit"]),
    ("backup", &["types", "entropy", "crypto", "domain", "log", "ledger", "witness", "evidence"]),
    ("oauth", &["types", "crypto", "domain"]),
    (
        "edge",
        &[
            "types", "clock", "entropy", "crypto", "domain", "log", "ledger", "audit", "backup",
            "oauth",
        ],
    ),
    ("http", &["types", "crypto", "domain", "log", "ledger", "audit", "oauth", "edge", "witness"]),
    ("guard", &["types", "clock"]),
    ("config", &["types", "crypto"]),
    ("telemetry", &["config"]),
    (
        "run",
        &[
            "types", "clock", "entropy", "crypto", "domain", "log", "ledger", "oauth", "edge",
            "http", "config", "witness",
        ],
    ),
];

/// The modules at the top may import everything: they put the parts together.
const TOP: &[&str] = &["cli", "demo", "main", "lib"];

struct Source {
    module: String,
    path: PathBuf,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let inner = path.strip_prefix(&root).unwrap();
                let first = inner.components().next().unwrap().as_os_str().to_str().unwrap();
                let module = first.trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { module, path: inner.to_owned(), text });
            }
        }
    }
    assert!(40 < found.len(), "the sources were not found");
    found
}

/// The lines of a source before its tests, without comments.
fn code(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    source
        .text
        .lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(i, line)| (i + 1, line))
}

/// Whether a file holds tests only.
fn is_tests(source: &Source) -> bool {
    source.path.file_name().is_some_and(|name| name == "tests.rs")
}

#[test]
fn a_module_imports_from_lower_layers_only() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !TOP.contains(&source.module.as_str())) {
        let Some(below) = allowed.get(source.module.as_str()) else {
            wrong.push(format!("{}: not on the map", source.path.display()));
            continue;
        };
        for (line, text) in code(source) {
            for rest in text.split("crate::").skip(1) {
                let name: String =
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if name != source.module && !below.contains(&name.as_str()) {
                    wrong.push(format!("{}:{line}: imports {name}", source.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A word, and the places where it may stand: paths below `src`, or their beginnings.
const CONFINED: &[(&str, &[&str])] = &[
    ("SystemTime::now", &["clock.rs"]),
    ("Instant::now", &["clock.rs"]),
    ("getrandom::", &["entropy.rs"]),
    ("use rand::", &["entropy.rs"]),
    ("rand::rng", &["entropy.rs"]),
    ("use ::sled", &["log/sled.rs", "log/sled/"]),
    ("sled::Config", &["log/sled.rs", "log/sled/"]),
    ("sled::Db", &["log/sled.rs", "log/sled/"]),
    ("sled::Tree", &["log/sled.rs", "log/sled/"]),
    (
        "async ",
        &[
            "http/",
            "edge/",
            "guard/",
            "ledger/handle.rs",
            "ledger/postbox.rs",
            "evidence/url.rs",
            "run.rs",
            "run/",
            "witness/",
            "cli/",
            "demo/",
            "main.rs",
        ],
    ),
    (
        ".await",
        &[
            "http/",
            "edge/",
            "guard/",
            "ledger/handle.rs",
            "ledger/postbox.rs",
            "evidence/url.rs",
            "run.rs",
            "run/",
            "witness/",
            "cli/",
            "demo/",
            "main.rs",
        ],
    ),
    ("actix_web", &["run/", "http/", "guard/", "run.rs", "witness/", "demo/", "cli/", "main.rs"]),
    ("governor", &["edge/throttle.rs"]),
    ("println!", &[]),
    ("dbg!", &[]),
    ("unsafe ", &[]),
];

#[test]
fn confined_words_stand_where_they_may() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !is_tests(source)) {
        for (word, places) in CONFINED {
            if places
                .iter()
                .any(|place| source.path.starts_with(place) || source.path.ends_with(place))
            {
                continue;
            }
            for (line, text) in code(source).filter(|(_, text)| text.contains(word)) {
                wrong.push(format!("{}:{line}: `{word}` in {text}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_and_functions_are_short() {
    let mut wrong = Vec::new();
    for source in &sources() {
        let lines = source.text.lines().count();
        // One table: the data of every event.
        let most = if source.path.ends_with("domain/event.rs") { 600 } else { 400 };
        if most < lines {
            wrong.push(format!("{}: {lines} lines", source.path.display()));
        }
        let mut start: Option<(usize, String)> = None;
        for (line, text) in code(source) {
            let trimmed = text.trim_start();
            let indent = text.len() - trimmed.len();
            let begins = [
                "fn ",
                "pub fn ",
                "pub(super) fn ",
                "pub(crate) fn ",
                "async fn ",
                "pub async fn ",
                "const fn ",
                "pub const fn ",
            ]
            .iter()
            .any(|word| trimmed.starts_with(word));
            if begins && text.trim_end().ends_with(['{', '(', ',']) {
                start = Some((line, " ".repeat(indent) + "}"));
            }
            if let Some((from, end)) = &start
                && text == end
            {
                // Matches over every event are long because they are complete.
                if 85 < line - from {
                    wrong.push(format!("{}:{from}: {} lines", source.path.display(), line - from));
                }
                start = None;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nobody_depends_on_names_that_fit_anything() {
    for source in &sources() {
        let name = source.path.display().to_string();
        for word in ["util", "helper", "common", "manager", "misc"] {
            assert!(!name.contains(word), "{name}: find the noun");
        }
    }
}
