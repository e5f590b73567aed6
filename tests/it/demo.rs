//! The demonstration, run as a user would run it, and read as nobody would.

use token_ledger::demo::error::DemoError;
use token_ledger::demo::{DemoOptions, run};

/// What begins a bearer secret; a JWT begins with `{"` in base64url.
const SECRETS: [&str; 5] = ["tlr_", "tla_", "tls_", "tlc_", "eyJ"];

/// Whether a secret stands in `text` with more than its prefix.
fn holds_a_secret(text: &str) -> bool {
    SECRETS.iter().any(|prefix| {
        text.match_indices(prefix).any(|(at, _)| {
            let rest = text[at + prefix.len()..].chars();
            rest.take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).count() > 4
        })
    })
}

#[actix_web::test]
async fn every_step_comes_out_as_stated_and_no_token_is_shown() {
    let mut out = Vec::new();
    let ended = run(DemoOptions::default(), &mut out).await;
    let transcript = String::from_utf8(out).unwrap();
    assert!(ended.is_ok(), "{}\n{transcript}", ended.unwrap_err());
    for step in 1..=15 {
        assert!(transcript.contains(&format!("\nStep {step}. ")), "step {step}\n{transcript}");
        let told = transcript.lines().filter(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(&step.to_string()) && words.next_back() == Some("ok")
        });
        assert_eq!(told.count(), 1, "step {step} in the summary\n{transcript}");
    }
    assert!(transcript.contains("15 of 15 steps came out as stated"), "{transcript}");
    assert!(!holds_a_secret(&transcript), "{transcript}");
    // The search would find one.
    assert!(holds_a_secret("tlr_AAAAA") && holds_a_secret("x eyJhbGci."));
    assert!(!holds_a_secret("tlr_\u{2026}AAAA"));
}

#[actix_web::test]
async fn the_ledger_stays_where_it_was_asked_for_and_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("ledger");
    let options = DemoOptions { data: Some(data.clone()), keep: false };
    let mut out = Vec::new();
    run(options.clone(), &mut out).await.unwrap();
    let transcript = String::from_utf8(out).unwrap();
    let secret = transcript.lines().find_map(|line| line.strip_prefix("ADMIN_SECRET=")).unwrap();
    assert!(secret.starts_with("tls_") && secret.len() == 47);
    assert_eq!(transcript.matches(secret).count(), 1);

    // What it left was closed cleanly, and holds what the transcript says.
    let replayed = token_ledger::ledger::open::open_log(&data, 1 << 20, 0, |_| {}).unwrap();
    assert!(replayed.clean);
    let records = transcript.lines().find_map(|line| line.strip_suffix(": ok")).unwrap();
    let records: u64 = records.split_whitespace().next().unwrap().parse().unwrap();
    assert!(records <= replayed.state.next_seq().0);
    drop(replayed);

    // A ledger is not made where one is.
    let again = run(options, &mut Vec::new()).await;
    assert!(matches!(again, Err(DemoError::Open(_))));
}
