//! What the real binary writes to its log file: at its most talkative nobody's name and no secret, and
//! at a start what is likely to be a mistake.

use std::io::Read;
use std::process::Stdio;

use serde_json::json;

use crate::support::process::{Process, init, post_form, post_json, text};

const SUBJECT: &str = "canary-person-7f3a@example.com";

#[actix_web::test]
async fn r11_e29_no_log_line_holds_a_person_or_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (data, lines) = (folder.path().join("ledger"), folder.path().join("stderr"));
    let admin = init(&data);
    let stderr = Stdio::from(std::fs::File::create(&lines).unwrap());
    let server = Process::serve_with(&data, &["--set", "log_level=trace"], stderr);
    let url = format!("{}/oauth/token", server.public);
    let own = post_form(&url, &admin, &[("grant_type", "client_credentials")]).await.unwrap();
    let bearer = text(&own, "access_token");
    let registration = json!({
        "client_id": "photos",
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": "photos.read",
    });
    let clients = format!("{}/admin/clients", server.admin);
    let client = post_json(&clients, &bearer, &registration).await;
    let basic = (text(&client, "client_id"), text(&client, "client_secret"));
    let grant = json!({ "client_id": "photos", "subject": SUBJECT });
    let made = post_json(&format!("{}/admin/grants", server.admin), &bearer, &grant).await;
    let code = text(&made, "code");
    let exchange = [("grant_type", "authorization_code"), ("code", code.as_str())];
    let tokens = post_form(&url, &basic, &exchange).await.unwrap();
    let refresh = text(&tokens, "refresh_token");
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    let again = post_form(&url, &basic, &form).await.unwrap();
    let audit = format!("{}/audit/valid?subject={SUBJECT}", server.admin);
    let asked = reqwest::Client::new().get(audit).bearer_auth(&bearer).send().await.unwrap();
    assert!(asked.status().is_success());
    server.stop();
    let log = std::fs::read_to_string(&lines).unwrap();
    assert!(log.contains("stopped cleanly"), "the log was not captured: {log}");
    let secrets = [
        SUBJECT.to_owned(),
        "canary-person".to_owned(),
        admin.1,
        basic.1,
        bearer,
        code,
        refresh,
        text(&tokens, "access_token"),
        text(&again, "access_token"),
        text(&again, "refresh_token"),
    ];
    for secret in secrets {
        assert!(!log.contains(&secret), "a log line holds {}...", &secret[..8]);
    }
}

#[test]
fn an_issuer_at_another_port_of_this_machine_is_warned_of_unless_a_proxy_stands_there() {
    let folder = tempfile::tempdir().unwrap();
    let (data, lines) = (folder.path().join("ledger"), folder.path().join("stderr"));
    init(&data);
    for (more, warnings) in [(&[][..], 1), (&["--behind-proxy", "127.0.0.1"][..], 0)] {
        let stderr = Stdio::from(std::fs::File::create(&lines).unwrap());
        Process::serve_with(&data, more, stderr).stop();
        let log = std::fs::read_to_string(&lines).unwrap();
        let said = log.lines().filter(|line| line.contains("the issuer names another port"));
        assert_eq!(said.count(), warnings, "{log}");
    }
}

#[test]
fn private_keys_that_others_can_read_are_warned_of() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (data, lines) = (folder.path().join("ledger"), folder.path().join("stderr"));
    init(&data);
    for (directory, keys, warnings) in [
        (0o700, 0o600, 0),
        (0o755, 0o600, 0),
        (0o700, 0o644, 0),
        (0o710, 0o604, 0),
        (0o711, 0o604, 1),
        (0o750, 0o640, 1),
    ] {
        set_permissions(&data, Permissions::from_mode(directory)).unwrap();
        set_permissions(data.join("keys.json"), Permissions::from_mode(keys)).unwrap();
        let stderr = Stdio::from(std::fs::File::create(&lines).unwrap());
        Process::serve_with(&data, &[], stderr).stop();
        let log = std::fs::read_to_string(&lines).unwrap();
        let said = log.lines().filter(|line| line.contains("can read the private keys"));
        assert_eq!(said.count(), warnings, "{directory:o} {keys:o} {log}");
    }
}

#[actix_web::test]
async fn a_log_that_nobody_reads_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ledger");
    let admin = init(&data);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let settings = ["--set", "log_level=trace"];
    let server = Process::serve_with(&data, &settings, Stdio::from(writer));
    let url = format!("{}/oauth/token", server.public);
    // Some megabytes of lines, where a pipe holds 64 KiB.
    for _ in 0..300 {
        post_form(&url, &admin, &[("grant_type", "client_credentials")]).await.unwrap();
    }
    server.stop();
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert!(read.len() < 1 << 17, "{}", read.len());
}

#[test]
fn one_place_for_copies_without_the_other_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let (data, lines) = (folder.path().join("ledger"), folder.path().join("stderr"));
    init(&data);
    let setting = |key: &str| {
        let place = folder.path().join(key);
        std::fs::create_dir_all(&place).unwrap();
        format!("{key}={}", place.display())
    };
    let (vault, keys) = (setting("backup_vault_dir"), setting("backup_keys_dir"));
    for (settings, warnings) in [(&[&vault][..], 1), (&[&keys], 1), (&[&vault, &keys], 0), (&[], 0)]
    {
        let flags: Vec<&str> = settings.iter().flat_map(|set| ["--set", set.as_str()]).collect();
        let stderr = Stdio::from(std::fs::File::create(&lines).unwrap());
        Process::serve_with(&data, &flags, stderr).stop();
        let log = std::fs::read_to_string(&lines).unwrap();
        let said = log.lines().filter(|line| line.contains("only one of backup_vault_dir and"));
        assert_eq!(said.count(), warnings, "{settings:?} {log}");
    }
}
