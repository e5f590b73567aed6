//! The README's five minutes, run as written: only ports, the build and the waiting are the test's.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// The shell blocks of the README between two headings.
fn blocks(text: &str) -> Vec<String> {
    let tour = text.split("## Five minutes").nth(1).unwrap();
    let tour = tour.split("\n## ").next().unwrap();
    tour.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Two ports that nobody has, below those that the system gives to who asks for any: no other test can
/// take them before the server does.
fn free_ports() -> (u16, u16) {
    let first = 20_000 + u16::try_from(std::process::id() % 5_000).unwrap() * 2;
    let mut free = (first..32_000).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    (free.next().unwrap(), free.next().unwrap())
}

#[test]
fn the_five_minutes_of_the_readme_work_as_written() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let blocks = blocks(&text.unwrap());
    assert!(5 <= blocks.len(), "the tour was not found");
    for tool in ["bash", "curl", "openssl"] {
        let found = Command::new(tool).arg("--version").output().is_ok();
        assert!(found, "the README's tour needs {tool}: install it");
    }
    let (public, admin) = free_ports();
    let mut script = String::from("set -eu\n");
    for block in &blocks {
        for line in block.lines() {
            // The binary is built already, and is on the path.
            if line.starts_with("cargo build") || line.starts_with("export PATH=") {
                continue;
            }
            script.push_str(line);
            script.push('\n');
        }
        if block.contains("token-ledger serve") {
            // A person sees the ready line; a script asks until it is answered, or the server has ended.
            let ask = "until curl -sf http://127.0.0.1:8081/readyz > ready; do kill -0 %1; done\n";
            script.push_str(ask);
        }
        script.push_str("echo '--- end of a block'\n");
    }
    script.push_str("wait %1\necho '--- stopped cleanly'\n");
    let script = script.replace("8080", &public.to_string()).replace("8081", &admin.to_string());
    let folder = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_token-ledger")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let run = Command::new("bash")
        .args(["-m", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("XDG_CONFIG_HOME", folder.path().join("config"))
        .env("TOKEN_LEDGER_LISTEN", format!("127.0.0.1:{public}"))
        .env("TOKEN_LEDGER_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&run.stdout).into_owned();
    let all =
        format!("{script}\n=== out\n{out}\n=== err\n{}", String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{all}");
    assert!(out.contains("--- stopped cleanly"), "{all}");
    assert_eq!(out.matches("--- end of a block").count(), blocks.len(), "{all}");
    // What the text promises: the retry's successor is the first one's, and it is active.
    assert!(out.contains(r#""active":true"#), "{all}");
    let first = out.split(r#""refresh_token":""#).nth(1).and_then(|rest| rest.split('"').next());
    let again = std::fs::read_to_string(folder.path().join("again.json")).unwrap();
    assert!(again.contains(first.unwrap()), "{all}");
    // The export verifies, the blacklisted client is refused, and the refusal is on record.
    assert!(out.contains("is whole"), "{all}");
    assert!(out.contains("invalid_grant"), "{all}");
    assert!(out.contains("refresh.refused"), "{all}");
}
