//! One ledger in which everything has happened once: some sixty records of all kinds.

use crate::support::script::Script;

/// Seconds and commands, a batch each.
pub(crate) const EVERYTHING: &[(&str, &[&str])] = &[
    ("0", &["open"]),
    ("1", &["client photos redirect=app resources=api+cdn", "client robot"]),
    ("2", &["grant g1 photos ann challenge=v1 redirect=app resources=api"]),
    ("3", &["redeem g1 a1 verifier=v2 redirect=app"]),
    ("4", &["redeem g1 a2 verifier=v1 redirect=app"]),
    ("5", &["refresh g1.0 a3", "refresh g1.0 a4", "refresh g1.0 a5 from=cafe"]),
    ("6", &["refresh g1.1 a6 by=robot"]),
    ("7", &["update photos rotation=never", "refresh g1.1 a7", "update photos rotation=always"]),
    ("8", &["revoke a7", "credentials robot c1 a8 key=k1", "secret robot s2"]),
    ("9", &["disable robot", "enable robot", "fail-auth robot times=3"]),
    ("9.5", &["grant g2 photos bob", "redeem g2 a9", "redeem g2 a10"]),
    ("11", &["grant g3 photos ann", "redeem g3 a11", "refresh g3.0 a12", "refresh g3.1 a13"]),
    ("12", &["refresh g3.0 a14"]),
    ("13", &["ban b1 client robot", "lift b1", "credentials robot c2 a15"]),
    ("14", &["ban b2 token a15", "ban b3 refresh g1.1", "ban b4 person eve", "ban b5 key k1"]),
    ("15", &["key k2", "retire k1", "audit g1"]),
    ("16", &["grant g4 photos ann", "redeem g4 a16", "grant g5 photos bob", "redeem g5 a17"]),
    ("17", &["erase ann", "ban b6 all", "lift b6", "revoke-grant g5"]),
    ("17.5", &["prove robot j1"]),
    ("18", &["refresh g4.0 a18", "close"]),
];

/// The ledger after all of it.
pub(crate) fn everything() -> Script {
    let mut script = Script::new();
    for (at, lines) in EVERYTHING {
        script.run(at, lines);
    }
    script
}
