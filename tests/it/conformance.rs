//! The conformance matrix, `snapshots/CONFORMANCE.md`: every row of the checklist with the tests that
//! show it. A test says in its name which rows it shows, as `w5_e36_a_repeated_parameter_is_...`, so the
//! matrix is made from the names; a row without a test, and a test of an unknown row, are failures.

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::conformance::rows::{SECTIONS, State};
use crate::support::golden;

/// The file, below `snapshots`.
const MATRIX: &str = "CONFORMANCE.md";

/// A test: where it stands, and its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    file: PathBuf,
    name: String,
}

impl Test {
    /// As the test binary lists it; none for one that stands beside the code.
    fn listed(&self) -> Option<String> {
        let module = self.file.strip_prefix("tests/it").ok()?.with_extension("");
        let parts: Vec<_> = module.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        Some(format!("{}::{}", parts.join("::"), self.name))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<PathBuf> {
    let mut folders = vec![root().join("tests/it"), root().join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    assert!(100 < found.len(), "the sources were not found");
    found
}

/// The names of the tests in a source: what follows `fn` after an attribute that ends in `test]`.
fn tests_in(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        let name = line.strip_prefix("async fn ").or(line.strip_prefix("fn "));
        if let Some(name) = name.and_then(|rest| rest.split(['(', '<']).next()) {
            names.extend(is_test.then(|| name.to_owned()));
        }
        is_test = line.starts_with("#[") && (line.ends_with("test]") || is_test);
    }
    names
}

/// The rows that a name begins with: `cc1_x2_...` shows CC1 and X2.
fn rows_of(name: &str) -> Vec<String> {
    let row = |part: &str| {
        let digits = part.find(|c: char| c.is_ascii_digit())?;
        let (letters, number) = part.split_at(digits);
        let is_known = SECTIONS.iter().flat_map(|section| section.rows).any(|row| {
            row.id.trim_end_matches(|c: char| c.is_ascii_digit()).eq_ignore_ascii_case(letters)
        });
        let number: u32 = number.parse().ok()?;
        is_known.then(|| format!("{}{number}", letters.to_uppercase()))
    };
    name.split('_').map_while(row).collect()
}

/// The tests of each row.
fn tests_of_rows() -> BTreeMap<String, BTreeSet<Test>> {
    let mut rows: BTreeMap<String, BTreeSet<Test>> = BTreeMap::new();
    for path in sources() {
        let file = path.strip_prefix(root()).unwrap().to_owned();
        for name in tests_in(&fs::read_to_string(&path).unwrap()) {
            for row in rows_of(&name) {
                let test = Test { file: file.clone(), name: name.clone() };
                rows.entry(row).or_default().insert(test);
            }
        }
    }
    rows
}

fn matrix(tests: &BTreeMap<String, BTreeSet<Test>>) -> String {
    let all = || SECTIONS.iter().flat_map(|section| section.rows);
    let count = |wanted: fn(&State) -> bool| all().filter(|row| wanted(&row.state)).count();
    let passing = count(|state| matches!(state, State::Tested));
    let not_yet = count(|state| matches!(state, State::NotYet(_)));
    let mut text = format!(
        "{HEAD}\n{passing} rows pass; {not_yet} are not yet: what they are about is not served.\n"
    );
    for section in SECTIONS {
        write!(text, "\n## {}\n\n| row | level | says | result | shown by |\n", section.title)
            .unwrap();
        text.push_str("|---|---|---|---|---|\n");
        for row in section.rows {
            let (result, why) = match row.state {
                State::Tested => ("passes", ""),
                State::NotYet(why) => ("**not yet**", why),
            };
            let shown: Vec<String> = tests.get(row.id).into_iter().flatten().map(link).collect();
            let shown = if shown.is_empty() { why.to_owned() } else { shown.join("<br>") };
            let note = if row.note.is_empty() { "" } else { "<br>*" };
            let end = if row.note.is_empty() { "" } else { "*" };
            let (id, level, says) = (row.id, row.level, row.says);
            let note = format!("{note}{}{end}", row.note);
            writeln!(text, "| {id} | {level} | {says}{note} | {result} | {shown} |").unwrap();
        }
    }
    text
}

fn link(test: &Test) -> String {
    format!("[`{}`](../{})", test.name, test.file.display())
}

const HEAD: &str = "\
# Conformance

Made from the names of the tests by `UPDATE_SNAPSHOTS=1 cargo test --test it conformance`; a test fails \
when it is stale. A row passes when every test that names it passes, and all of them run in `cargo test`. \
Where RFC 6749 and its successors disagree, OAuth 2.1 and RFC 9700 are followed; the note in the row says so.

Level: **M** a MUST of the text, **S** a SHOULD, **R** recommended, **I** hardening beyond the text.
";

#[test]
fn the_matrix_is_made_of_the_tests_that_there_are() {
    let tests = tests_of_rows();
    let all: BTreeMap<&str, &State> =
        SECTIONS.iter().flat_map(|section| section.rows).map(|row| (row.id, &row.state)).collect();
    for row in tests.keys() {
        assert!(all.contains_key(row.as_str()), "a test names the row {row}, which there is not");
    }
    for (id, state) in &all {
        match state {
            State::Tested => assert!(tests.contains_key(*id), "no test shows {id}"),
            State::NotYet(_) => {
                assert!(!tests.contains_key(*id), "{id} has a test and is said to have none");
            }
        }
    }
    golden::compare(MATRIX, &matrix(&tests));
}

#[test]
fn every_test_of_the_matrix_runs() {
    let list = |ignored: &[&str]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args(["--list", "--format", "terse"]).args(ignored).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(list(&["--ignored"]), "", "an ignored test shows nothing");
    let listed = list(&[]);
    let listed: BTreeSet<&str> =
        listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    for test in tests_of_rows().values().flatten() {
        if let Some(name) = test.listed() {
            assert!(listed.contains(name.as_str()), "{name} is not compiled in");
        }
    }
}

#[test]
fn a_name_is_read_up_to_the_first_word_that_is_no_row() {
    assert_eq!(rows_of("w5_e36_a_repeated_parameter"), ["W5", "E36"]);
    assert_eq!(rows_of("cc1_e04_a1x"), ["CC1", "E4"]);
    assert_eq!(rows_of("a_1_w5"), Vec::<String>::new());
    let text =
        "#[test]\nfn one() {}\n#[inline]\nfn two() {}\n#[actix_web::test]\n// why\nfn three() {}\n";
    assert_eq!(tests_in(text), ["one"]);
}
