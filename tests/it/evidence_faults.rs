//! Bad days of the evidence: a disk that is full below tiles or the fence, and SIGKILL of the real
//! server while it changes the checkpoint's key or is being backed up. Nothing is lost, and what was
//! begun is completed by the next one.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::disk::Small;
use crate::support::process::{BINARY, Process, init, post_form, text};

/// A ledger with its first administrator, and the command line as that one.
struct Ledger {
    folder: TempDir,
    basic: (String, String),
}

impl Ledger {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let basic = init(&folder.path().join("data"));
        Self { folder, basic }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn serve(&self, settings: &[String]) -> Process {
        let flags: Vec<&str> = settings.iter().flat_map(|set| ["--set", set.as_str()]).collect();
        Process::serve_with(&self.path("data"), &flags, Stdio::null())
    }

    fn command(&self, server: &Process, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("TOKEN_LEDGER_PUBLIC_URL", &server.public);
        command.env("TOKEN_LEDGER_ADMIN_URL", &server.admin);
        command.env("TOKEN_LEDGER_CLIENT_ID", &self.basic.0);
        command.env("TOKEN_LEDGER_CLIENT_SECRET", &self.basic.1);
        command
    }

    async fn token(&self, server: &Process) -> String {
        let url = format!("{}/oauth/token", server.public);
        let form = [("grant_type", "client_credentials")];
        text(&post_form(&url, &self.basic, &form).await.unwrap(), "access_token")
    }

    /// Every record, every stored checkpoint, by the keys that `keys vkey` tells.
    fn verify(&self) {
        let mut vkeys = Command::new(BINARY);
        let vkeys = ended(vkeys.args(["keys", "vkey", "--data"]).arg(self.path("data")), 0);
        std::fs::write(self.path("vkeys"), vkeys.stdout).unwrap();
        let mut verify = Command::new(BINARY);
        verify.args(["verify", "--data"]).arg(self.path("data")).arg("--vkey");
        ended(verify.arg(self.path("vkeys")), 0);
    }
}

fn ended(command: &mut Command, code: i32) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    output
}

#[actix_web::test]
async fn a_full_disk_below_exported_tiles_is_named_and_the_export_goes_on_once_there_is_room() {
    let Some(small) = Small::mounted() else { return };
    let ledger = Ledger::new();
    let server = ledger.serve(&[]);
    for _ in 0..200 {
        ledger.token(&server).await;
    }
    server.stop();
    let tiles = small.path().join("tiles");
    let export = || {
        let mut command = Command::new(BINARY);
        command.args(["export", "--data"]).arg(ledger.path("data")).arg("--tiles").arg(&tiles);
        command
    };
    let said = ended(&mut export(), 1).stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains(&tiles.display().to_string()), "{said}");
    // The checkpoint comes last, so nobody takes the half for a whole.
    assert!(!tiles.join("checkpoint").exists());
    small.grow();
    ended(&mut export(), 0);
    ended(Command::new(BINARY).args(["verify", "--tiles"]).arg(&tiles), 0);
}

#[actix_web::test]
async fn a_full_disk_below_the_fence_stops_checkpoints_and_no_token() {
    let Some(small) = Small::mounted() else { return };
    let ledger = Ledger::new();
    let settings = [format!("fence_file={}", small.path().join("fence").display())];
    let server = ledger.serve(&settings);
    let signed = ended(&mut ledger.command(&server, &["audit", "checkpoint"]), 0).stdout;
    // All of the 64 KiB, as far as they go.
    let _ = std::fs::write(small.path().join("filler"), vec![0; 64 * 1024]);
    ledger.token(&server).await;
    ended(&mut ledger.command(&server, &["audit", "checkpoint"]), 1);
    ledger.token(&server).await;
    let newest = reqwest::get(format!("{}/log/checkpoint", server.admin)).await.unwrap();
    // What was signed before the disk was full is still there, and nothing after it.
    let newest = newest.bytes().await.unwrap();
    let size = |note: &[u8]| {
        let note = String::from_utf8_lossy(note).into_owned();
        note.lines().nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert!(size(&signed) <= size(&newest));
    server.kill();
    small.grow();
    let server = ledger.serve(&settings);
    let again = ended(&mut ledger.command(&server, &["audit", "checkpoint"]), 0).stdout;
    assert!(size(&newest) < size(&again));
    server.stop();
    ledger.verify();
}

/// Killed before, while and after the key file gets the new key.
#[actix_web::test]
async fn a_rotation_of_the_checkpoint_key_that_is_killed_is_completed_or_never_was() {
    let ledger = Ledger::new();
    let keys = ledger.path("data/keys.json");
    for wait_for_the_file in [false, true, true, false] {
        let server = ledger.serve(&[]);
        let before = std::fs::read(&keys).unwrap();
        let rotate = ["keys", "rotate", "--checkpoint"];
        let mut child = ledger.command(&server, &rotate).spawn().unwrap();
        while wait_for_the_file
            && std::fs::read(&keys).is_ok_and(|now| now == before)
            && child.try_wait().unwrap().is_none()
        {
            std::thread::yield_now();
        }
        server.kill();
        child.wait().unwrap();
        let server = ledger.serve(&[]);
        ledger.token(&server).await;
        ended(&mut ledger.command(&server, &["audit", "checkpoint"]), 0);
        server.stop();
        ledger.verify();
    }
}

/// Killed as soon as each file of the backup shows.
#[actix_web::test]
async fn a_server_that_is_killed_while_it_is_backed_up_is_backed_up_by_the_next_one() {
    let ledger = Ledger::new();
    let settings = ["vault", "keys"].map(|name| {
        std::fs::create_dir(ledger.path(name)).unwrap();
        format!("backup_{name}_dir={}", ledger.path(name).display())
    });
    let mut vkey = Command::new(BINARY);
    let vkey = ended(vkey.args(["keys", "vkey", "--data"]).arg(ledger.path("data")), 0).stdout;
    std::fs::write(ledger.path("vkey"), vkey).unwrap();
    let to = ledger.path("backup");
    let (key, to) = (ledger.path("vkey").display().to_string(), to.display().to_string());
    let backup = ["backup", "--to", &to, "--vkey", &key];
    let shows = |name: &str| {
        std::fs::read_dir(ledger.path(name)).is_ok_and(|mut entries| entries.next().is_some())
    };
    for step in ["backup/log", "vault", "keys"] {
        let server = ledger.serve(&settings);
        ledger.token(&server).await;
        let mut child = ledger.command(&server, &backup).spawn().unwrap();
        while !shows(step) && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        server.kill();
        child.wait().unwrap();
    }
    let server = ledger.serve(&settings);
    ended(&mut ledger.command(&server, &backup), 0);
    server.stop();
    ledger.verify();
    let mut restore = Command::new(BINARY);
    restore.args(["restore", "--from"]).arg(ledger.path("backup/log"));
    restore.arg("--keys").arg(ledger.path("keys/keys.json"));
    restore.arg("--vault").arg(ledger.path("vault/vault.copy"));
    ended(restore.arg("--data").arg(ledger.path("restored")), 0);
}
