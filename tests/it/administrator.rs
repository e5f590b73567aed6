//! A ledger whose administrators are all lost gets another one, on its machine, and the log tells of it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::process::{BINARY, Process, init, post_form, post_json, text};

fn run(args: &[&str], data: &Path) -> Output {
    Command::new(BINARY).args(args).arg("--data").arg(data).output().unwrap()
}

async fn token(server: &Process, client: &(String, String)) -> Option<String> {
    let form = [("grant_type", "client_credentials")];
    let answer = post_form(&format!("{}/oauth/token", server.public), client, &form).await?;
    Some(text(&answer, "access_token"))
}

fn records(data: &Path) -> Vec<Value> {
    let export = run(&["export"], data);
    let lines = String::from_utf8(export.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[actix_web::test]
async fn whoever_has_the_directory_makes_another_administrator_and_the_log_tells_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ledger");
    let lost = init(&data);
    let server = Process::serve(&data);
    // Beside a server nothing is done.
    let refused = run(&["administrator"], &data);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another process"));
    server.stop();
    let before = records(&data).len();

    let made = run(&["administrator", "--json"], &data);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let another = (text(&made["admin"], "client_id"), text(&made["admin"], "client_secret"));
    let log = records(&data);
    let told: Vec<&str> = log[before..].iter().map(|r| r["type"].as_str().unwrap()).collect();
    assert_eq!(told, ["ledger.opened", "client.registered", "ledger.closed"]);
    let registered = &log[before + 1];
    assert_eq!(registered["actor"], "ledger");
    assert_eq!(registered["client"], json!(another.0));
    assert!(!registered.to_string().contains(&another.1), "the secret stays with its owner");
    let verified = run(&["verify"], &data);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));

    let server = Process::serve(&data);
    let bearer = token(&server, &another).await.unwrap();
    let disable = format!("{}/admin/clients/{}/disable", server.admin, lost.0);
    post_json(&disable, &bearer, &json!({ "reason": "its secret is lost" })).await;
    server.stop();
}

#[actix_web::test]
async fn a_crash_before_it_is_told_of_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ledger");
    init(&data);
    let server = Process::serve_with(&data, &[], Stdio::null());
    server.kill();
    let before = records(&data).len();
    assert!(run(&["administrator"], &data).status.success());
    let log = records(&data);
    assert_eq!(log[before]["data"]["clean"], false, "{}", log[before]);
    assert!(run(&["verify"], &data).status.success());
    Process::serve(&data).stop();
}

/// A file that takes nothing.
fn full() -> Stdio {
    std::fs::File::options().write(true).open("/dev/full").unwrap().into()
}

#[actix_web::test]
async fn a_secret_that_could_not_be_written_out_is_replaced_by_another_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ledger");
    let told = |args: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(args).arg("--data").arg(&data).stdout(full());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        let remedy = format!("token-ledger administrator --data {}", data.display());
        assert!(said.contains(&remedy), "{said}");
        said
    };
    let init: &[&str] = &["init", "--issuer", "http://127.0.0.1:8080"];
    for args in [[init, &["--json"]].concat(), init.to_vec()] {
        let said = told(&args);
        assert!(said.contains("is made, but the secret"), "{said}");
        told(&["administrator", "--json"]);
        let made = run(&["administrator", "--json"], &data);
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let another = (text(&made["admin"], "client_id"), text(&made["admin"], "client_secret"));
        let server = Process::serve(&data);
        token(&server, &another).await.unwrap();
        server.stop();
        std::fs::remove_dir_all(&data).unwrap();
    }
}

#[test]
fn a_service_that_cannot_say_that_it_is_ready_stops_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ledger");
    init(&data);
    let mut serve = Command::new(BINARY);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"]);
    let output = serve.arg(&data).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
    assert!(data.join("clean").exists());
    let last = records(&data).pop().unwrap();
    assert_eq!(last["type"], "ledger.closed");
}

#[test]
fn an_interrupted_init_is_told_as_such_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ledger");
    init(&data);
    std::fs::remove_file(data.join("token-ledger.json")).unwrap();
    let again = ["init", "--issuer", "http://127.0.0.1:8080"];
    for args in [&again[..], &["serve"], &["verify"], &["administrator"]] {
        let refused = run(args, &data);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success());
        assert!(said.contains("was interrupted") && said.contains("run init again"), "{said}");
    }
    std::fs::remove_dir_all(&data).unwrap();
    init(&data);
}
