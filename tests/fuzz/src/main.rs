//! Coverage-guided fuzzing of what parses bytes from outside; see `../run`. One program: the variable
//! `FUZZ_TARGET` names the target. A target that finds a broken promise panics.
#![no_main]

mod documents;
mod edits;
mod evidence;
mod listeners;
mod protocol;
mod tokens;

use std::sync::OnceLock;

/// The targets by name.
const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("form", protocol::form),
    ("credentials", protocol::credentials),
    ("redirect_uri", protocol::redirect_uri),
    ("words", protocol::words),
    ("forwarded", protocol::forwarded),
    ("token", tokens::token),
    ("assertion", tokens::assertion),
    ("access_token", tokens::access_token),
    ("registration", documents::registration),
    ("jwks", documents::jwks),
    ("record", documents::record),
    ("block", documents::block),
    ("note", evidence::note),
    ("receipt", evidence::receipt),
    ("tile", evidence::tile),
    ("proof", evidence::proof),
    ("listeners", listeners::listeners),
];

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn target() -> fn(&[u8]) {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names the target");
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no target {name}")).1
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET.get_or_init(target)(data));
