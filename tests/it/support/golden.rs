//! Files that hold what the code must give, byte for byte. UPDATE_SNAPSHOTS=1 writes them anew.

use std::path::PathBuf;

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(name)
}

pub(crate) fn may_update() -> bool {
    std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1")
}

pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("snapshots/{name}: {error}"))
}

pub(crate) fn write(name: &str, text: &str) {
    std::fs::write(path(name), text).unwrap_or_else(|error| panic!("snapshots/{name}: {error}"));
}

/// Compares `actual` with the file, line by line, or writes the file anew when asked to.
pub(crate) fn compare(name: &str, actual: &str) {
    if may_update() {
        write(name, actual);
        return;
    }
    let expected = read(name);
    let pairs = expected.lines().zip(actual.lines()).enumerate();
    for (i, (expected, actual)) in pairs {
        assert_eq!(expected, actual, "snapshots/{name}, line {}", i + 1);
    }
    assert_eq!(expected, actual, "snapshots/{name}: one ends before the other");
}

/// The names of the files in a folder, in order.
pub(crate) fn files(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}
