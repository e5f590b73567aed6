//! Copies of a ledger, and back: a ledger restored from them goes on, what was erased is in none of
//! them, and what was changed, cut or half made is not taken for one.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::{Value, json};
use token_ledger::backup::doctor::examine;
use token_ledger::backup::findings::{Kind, Weight};
use token_ledger::backup::restore::{Copies, RestoreError, restore};
use token_ledger::backup::vault_copy::{VaultCopyError, read, write};
use token_ledger::crypto::keys::KeyFile;
use token_ledger::crypto::seal::vault_copy_key;
use token_ledger::entropy::OsEntropy;
use token_ledger::evidence::directory::DirectorySource;
use token_ledger::ledger::vault::Vault;
use token_ledger::ledger::vault_files::MemoryRows;
use token_ledger::types::id::SubjectId;
use zeroize::Zeroizing;

use crate::support::disk::Small;
use crate::support::process::BINARY;
use crate::support::server::{Server, Tokens, config};

const SUB: &str = "alice@example.com";

/// A ledger with copies of its vault and keys in directories of their own.
struct Copied {
    server: Server,
    folder: tempfile::TempDir,
}

impl Copied {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [vault, keys] = ["vault", "keys"].map(|name| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path.display().to_string()
        });
        let server = Server::start_with(|raw| {
            raw.backup_vault_dir = vault;
            raw.backup_keys_dir = keys;
        })
        .await;
        Self { server, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn back_up(&self) -> Value {
        self.server.administer("POST", "/admin/backup", None).await.is(200).json()
    }

    /// Stops the ledger and copies its log.
    async fn stop_and_copy_log(&mut self) {
        self.server.stop().await;
        let data = self.server.data();
        let args = ["export", "--data", data.to_str().unwrap(), "--tiles"];
        run(Command::new(BINARY).args(args).arg(self.path("log")), 0);
    }

    fn restore(&self, to: &Path) -> Result<token_ledger::backup::restore::Restored, RestoreError> {
        let keys = std::fs::read(self.path("keys/keys.json")).unwrap();
        let vault = self.path("vault/vault.copy");
        let log = DirectorySource::new(&self.path("log"));
        let copies = Copies { log: &log, keys: &keys, vault: Some(&vault), trusted: &[] };
        restore(to, &copies, |_| {})
    }

    fn keys(&self) -> KeyFile {
        KeyFile::decode(&std::fs::read(self.path("keys/keys.json")).unwrap()).unwrap()
    }

    /// The people in the vault's copy.
    fn people(&self) -> Vec<SubjectId> {
        let key = vault_copy_key(self.keys().vault_key());
        let mut found = Vec::new();
        read(&self.path("vault/vault.copy"), &key, |people| {
            found.extend(people.iter().map(|(subject, _)| *subject));
            Ok(())
        })
        .unwrap();
        found
    }
}

pub(crate) fn run(command: &mut Command, code: i32) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    output
}

/// Everything below `path` as bytes, by name.
pub(crate) fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

#[actix_web::test]
async fn a_ledger_restored_from_its_copies_goes_on_where_they_end() {
    let mut copied = Copied::start().await;
    let first = copied.server.tokens(SUB).await;
    let tokens = copied.server.refreshed(&first).await;
    let trail = "/audit/subjects/trail?subject=alice%40example.com";
    let before = copied.server.audit(trail).await.is(200).records();
    let done = copied.back_up().await;
    assert_eq!(done["vault"]["subjects"], 1);
    copied.stop_and_copy_log().await;
    assert_eq!(examine(&copied.path("log"), None).kind, Kind::Tiles);
    assert!(examine(&copied.path("log"), None).is_usable());
    let to = copied.path("restored");
    let restored = copied.restore(&to).unwrap();
    assert_eq!((restored.people, restored.unknown_people), (1, 0));
    let found = examine(&to, None);
    assert!(found.kind == Kind::Ledger && found.is_usable(), "{found:?}");
    assert!(!copied.path("restored.restoring").exists());
    run(Command::new(BINARY).arg("verify").arg("--data").arg(&to), 0);
    // The service goes on with it as if nothing had happened.
    std::fs::remove_dir_all(copied.server.data()).unwrap();
    std::fs::rename(&to, copied.server.data()).unwrap();
    copied.server.resume().await;
    copied.server.renew().await;
    let after = copied.server.audit(trail).await.is(200).records();
    assert_eq!(after[..before.len()], before[..]);
    let next = copied.server.refreshed(&tokens).await;
    assert!(copied.server.is_active(&next.access).await);
    // Reuse is still detected.
    copied.server.clock.advance_s(3600);
    copied.server.refresh(&copied.server.photos, &first.refresh).await.is(400);
    copied.server.refresh(&copied.server.photos, &next.refresh).await.is(400);
}

#[actix_web::test]
async fn what_was_erased_is_in_no_copy_from_the_next_backup_on() {
    let mut copied = Copied::start().await;
    let Tokens { .. } = copied.server.tokens(SUB).await;
    copied.server.tokens("bob@example.com").await;
    let vault = Arc::clone(&copied.server.running().edge.vault);
    let alice = vault.find(SUB).unwrap().unwrap();
    copied.back_up().await;
    assert!(copied.people().contains(&alice.subject), "or the test would show nothing");
    let old_copy = std::fs::read(copied.path("vault/vault.copy")).unwrap();
    let erase = json!({ "subject": SUB, "reason": "a test", "legal_basis": "none",
        "rewrite_now": true });
    copied.server.administer("POST", "/admin/subjects/erase", Some(erase)).await.is(200);
    copied.back_up().await;
    assert_eq!(copied.people().len(), 1);
    assert!(!copied.people().contains(&alice.subject));
    drop(vault);
    copied.stop_and_copy_log().await;
    // No file of the whole set holds the key or the row, neither as it is nor as a line from before.
    let line = old_copy.split(|byte| *byte == b'\n').nth(1).unwrap().to_vec();
    let needles: [&[u8]; 4] =
        [alice.key.as_bytes(), SUB.as_bytes(), alice.sub.as_str().as_bytes(), &line];
    for (path, bytes) in files(copied.folder.path()) {
        for needle in needles {
            let holds = bytes.windows(needle.len()).any(|window| window == needle);
            // The sealed name stands in the record of the registration, unreadable.
            let sealed = needle == alice.sub.as_str().as_bytes();
            assert!(!holds || sealed && path.starts_with(copied.path("log")), "{path:?}");
        }
    }
    // Whoever kept an old copy of the vault and restores from it erases alice again.
    std::fs::write(copied.path("vault/vault.copy"), &old_copy).unwrap();
    let restored = copied.restore(&copied.path("restored")).unwrap();
    assert_eq!((restored.people, restored.unknown_people), (1, 0), "bob alone is known again");
    let key = alice.key.as_bytes().as_slice();
    for (path, bytes) in files(&copied.path("restored")) {
        assert!(!bytes.windows(32).any(|window| window == key), "{path:?}");
    }
}

fn vault(people: usize) -> Vault {
    let vault = Vault::new(Box::new(MemoryRows::default()), Zeroizing::new([7; 32]));
    for person in 0..people {
        vault.ensure(&format!("person {person}"), &OsEntropy).unwrap();
    }
    vault
}

#[test]
fn a_copy_of_the_vault_is_whole_or_of_no_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.copy");
    let vault = vault(600);
    let key = vault.copy_key();
    assert_eq!(write(&vault, &path, &OsEntropy).unwrap(), 600);
    // It comes back as it was.
    let back = Vault::new(Box::new(MemoryRows::default()), Zeroizing::new([7; 32]));
    assert_eq!(read(&path, &key, |people| back.put_back(people)).unwrap(), 600);
    for person in 0..600 {
        let sub = format!("person {person}");
        let (was, is) = (vault.find(&sub).unwrap().unwrap(), back.find(&sub).unwrap().unwrap());
        assert_eq!((was.subject, is.sub().unwrap().as_str()), (is.subject, sub.as_str()));
    }
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let damaged = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        change(&mut lines);
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        std::fs::write(&path, text).unwrap();
        match read(&path, &key, |_| Ok(())) {
            Err(VaultCopyError::Damaged { line, .. }) => line,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(damaged(&|lines| lines[0].push('x')), 1);
    assert_eq!(damaged(&|lines| drop(lines.remove(1))), 2, "the first left out");
    assert_eq!(damaged(&|lines| drop(lines.remove(300))), 301, "one left out");
    assert_eq!(damaged(&|lines| drop(lines.remove(600))), 601, "the last left out");
    assert_eq!(damaged(&|lines| lines.truncate(601)), 602, "the end cut off");
    assert_eq!(damaged(&|lines| lines.truncate(10)), 11, "cut off");
    assert_eq!(damaged(&|lines| lines.swap(5, 6)), 6, "two swapped");
    assert_eq!(damaged(&|lines| lines.push(lines[1].clone())), 603, "one more");
    assert_eq!(damaged(&|lines| lines.clear()), 1);
    assert_eq!(damaged(&|lines| lines[9] = lines[9].replacen("x1.", "x1.A", 1)), 10);
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(read(&path, &key, |_| Ok(())).is_err(), "the last newline cut off");
    std::fs::write(&path, &whole).unwrap();
    assert!(read(&path, &vault_copy_key(&[8; 32]), |_| Ok(())).is_err(), "another key file");
}

#[actix_web::test]
async fn copies_that_contradict_themselves_make_no_ledger() {
    let mut copied = Copied::start().await;
    copied.server.tokens(SUB).await;
    copied.back_up().await;
    copied.stop_and_copy_log().await;
    let to = copied.path("restored");
    let records = std::fs::read_dir(copied.path("log/tile/entries/000.p")).unwrap();
    let bundle = records.map(|entry| entry.unwrap().path()).next().unwrap();
    let refused = |what: &str, path: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let whole = std::fs::read(path).unwrap();
        let mut changed = whole.clone();
        change(&mut changed);
        std::fs::write(path, &changed).unwrap();
        let error = copied.restore(&to).err().unwrap_or_else(|| panic!("{what} was restored"));
        assert!(!to.exists() && !copied.path("restored.restoring").exists(), "{what}");
        std::fs::write(path, &whole).unwrap();
        error
    };
    // A digit of an address in a record: it still is a record.
    let flip = |bytes: &mut Vec<u8>| {
        let at = bytes.len() - 40;
        bytes[at] ^= 1;
    };
    let error = refused("a changed record", &bundle, &flip);
    assert!(error.is_contradiction(), "{error}");
    let error = refused("a bundle cut off", &bundle, &|bytes| bytes.truncate(bytes.len() - 9));
    assert!(matches!(error, RestoreError::Source(_)), "{error}");
    let checkpoint = copied.path("log/checkpoint");
    let other_size = |bytes: &mut Vec<u8>| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let mut lines: Vec<&str> = text.split('\n').collect();
        lines[1] = "5";
        *bytes = lines.join("\n").into_bytes();
    };
    let error = refused("a smaller checkpoint", &checkpoint, &other_size);
    assert!(matches!(error, RestoreError::Checkpoint { .. }), "{error}");
    let vault = copied.path("vault/vault.copy");
    let error = refused("half a vault", &vault, &|bytes| bytes.truncate(bytes.len() / 2));
    assert!(matches!(error, RestoreError::VaultCopy(_)), "{error}");
    let keys = copied.path("keys/keys.json");
    let error = refused("half the keys", &keys, &|bytes| bytes.truncate(bytes.len() / 2));
    assert!(matches!(error, RestoreError::Keys(_)), "{error}");
    let others = KeyFile::generate(&OsEntropy).unwrap().encode().to_vec();
    let error = refused("another ledger's keys", &keys, &|bytes| *bytes = others.clone());
    assert!(error.is_contradiction(), "{error}");
    // Nothing is written over what is there.
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("something"), "").unwrap();
    let error = copied.restore(&to).err().unwrap();
    assert!(matches!(error, RestoreError::NotEmpty { .. }), "{error}");
    std::fs::remove_file(to.join("something")).unwrap();
    // Nor over something of the unfinished name that is not ours.
    let unfinished = copied.path("restored.restoring");
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::write(unfinished.join("something"), "").unwrap();
    let error = copied.restore(&to).err().unwrap();
    assert!(matches!(error, RestoreError::InTheWay { .. }), "{error}");
    std::fs::remove_dir_all(&unfinished).unwrap();
    // Nor is all copied for a directory that cannot give way, as where a fresh file system is mounted.
    std::fs::create_dir(to.join("lost+found")).unwrap();
    let error = copied.restore(&to).err().unwrap();
    assert!(matches!(error, RestoreError::Stays { .. }), "{error}");
    assert!(!unfinished.exists());
    std::fs::remove_dir(to.join("lost+found")).unwrap();
    copied.restore(&to).unwrap();
}

/// The real program, killed as soon as each of its steps shows on the disk.
#[actix_web::test]
async fn a_restore_that_is_killed_leaves_no_ledger_and_is_made_anew() {
    let mut copied = Copied::start().await;
    for person in 0..20 {
        copied.server.tokens(&format!("person {person}")).await;
    }
    copied.back_up().await;
    copied.stop_and_copy_log().await;
    let (to, unfinished) = (copied.path("restored"), copied.path("restored.restoring"));
    let command = || {
        let mut command = Command::new(BINARY);
        command.arg("restore").arg("--from").arg(copied.path("log"));
        command.arg("--keys").arg(copied.path("keys/keys.json"));
        command.arg("--vault").arg(copied.path("vault/vault.copy")).arg("--data").arg(&to);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command
    };
    for step in ["", "lock", "keys.json", "vault-000001/db", "log", "log/db", "token-ledger.json"] {
        let mut child = command().spawn().unwrap();
        while !unfinished.join(step).exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if to.exists() {
            // It was faster: then it is complete.
            assert!(examine(&to, None).is_usable());
            std::fs::remove_dir_all(&to).unwrap();
            continue;
        }
        let found = examine(&to, None);
        assert!(!found.is_usable(), "{step}");
        let told = |finding: &token_ledger::backup::findings::Finding| {
            finding.weight == Weight::Notice && finding.what.contains("half a restore")
        };
        assert!(found.findings.iter().any(told), "{step}: {found:?}");
    }
    run(&mut command(), 0);
    assert!(!unfinished.exists());
    run(Command::new(BINARY).arg("verify").arg("--data").arg(&to), 0);
}

#[test]
fn a_full_disk_leaves_the_copy_before_and_no_half_one() {
    let Some(small) = Small::mounted() else { return };
    let path = small.path().join("vault.copy");
    let few = vault(20);
    write(&few, &path, &OsEntropy).unwrap();
    let before = std::fs::read(&path).unwrap();
    write(&vault(2000), &path, &OsEntropy).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let names: Vec<_> = files(small.path()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(names, std::slice::from_ref(&path), "the half one is gone");
    assert_eq!(read(&path, &few.copy_key(), |_| Ok(())).unwrap(), 20);
}

#[actix_web::test]
async fn a_backup_needs_a_place_and_an_administrator() {
    let server = Server::start().await;
    let refused = server.administer("POST", "/admin/backup", None).await;
    refused.fails_with(400, "invalid_request");
    let call = crate::support::wire::Call::new("POST", server.admin("/admin/backup"));
    server.wire.send(call.clone()).await.is(401);
    server.wire.send(call.bearer(&server.audit_token)).await.is(403);
    let copied = Copied::start().await;
    copied.back_up().await;
    let records = copied.server.audit("/audit/records?type=audit.read").await.is(200).records();
    assert_eq!(records[0]["data"]["what"], "backup");
    // Where the directory is gone, the answer says that there is no copy.
    std::fs::remove_dir_all(copied.path("vault")).unwrap();
    let failed = copied.server.administer("POST", "/admin/backup", None).await;
    assert!(500 <= failed.status, "{}", failed.status);
}

#[actix_web::test]
async fn no_backup_is_made_where_only_one_of_the_places_is_named() {
    for (named, missing) in [("vault", "backup_keys_dir"), ("keys", "backup_vault_dir")] {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display().to_string();
        let server = Server::start_with(|raw| match named {
            "vault" => raw.backup_vault_dir = place,
            _ => raw.backup_keys_dir = place,
        })
        .await;
        let refused = server.administer("POST", "/admin/backup", None).await;
        assert!(refused.body.contains(missing), "{}", refused.body);
        refused.fails_with(400, "invalid_request");
        assert_eq!(files(folder.path()), [], "half a backup");
    }
}

#[actix_web::test]
async fn nothing_is_served_where_copies_would_lie_together_or_in_the_data_directory() {
    let mut server = Server::start().await;
    server.stop().await;
    let (place, inside) = (server.directory.path().join("copies"), server.data().join("copies"));
    for (vault, keys, says) in [
        (&place, &place, "backup_vault_dir and backup_keys_dir are one place"),
        (&inside, &place, "backup_vault_dir is "),
        (&place, &inside, "backup_keys_dir is "),
        (&place.join("vault"), &place, "in backup_keys_dir: "),
    ] {
        server.config = config(|raw| {
            raw.backup_vault_dir = vault.display().to_string();
            raw.backup_keys_dir = keys.display().to_string();
        });
        let refused = server.run().await.err().unwrap().to_string();
        assert!(refused.contains(says), "{refused}");
        assert!(server.data().join("clean").exists(), "nothing was changed by the attempt");
    }
    // Two that are not there yet: their media may be mounted later.
    server.config = config(|raw| {
        raw.backup_vault_dir = place.join("vault").display().to_string();
        raw.backup_keys_dir = place.join("keys").display().to_string();
    });
    server.resume().await;
    let failed = server.administer("POST", "/admin/backup", None).await;
    assert!(500 <= failed.status, "{}", failed.status);
    ["vault", "keys"].iter().for_each(|name| std::fs::create_dir_all(place.join(name)).unwrap());
    server.administer("POST", "/admin/backup", None).await.is(200);
}

/// The commands themselves, against a real server: copy, copy again, verify, restore; and a fence
/// that knows of more.
#[actix_web::test]
async fn the_commands_copy_a_serving_ledger_and_a_fence_that_knows_of_more_refuses_the_copy() {
    use crate::support::process::{Process, init, post_form, text};
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let set = |key: &str, name: &str| format!("{key}={}", path(name).display());
    let (id, secret) = init(&path("data"));
    let vkey = run(Command::new(BINARY).args(["keys", "vkey", "--data"]).arg(path("data")), 0);
    std::fs::write(path("vkey"), &vkey.stdout).unwrap();
    ["vault", "keys"].iter().for_each(|name| std::fs::create_dir(path(name)).unwrap());
    let settings = [
        set("fence_file", "fence"),
        set("backup_vault_dir", "vault"),
        set("backup_keys_dir", "keys"),
        // None is due: a backup asks for one, and holds all that was answered before it.
        "checkpoint_interval_ms=60000".to_owned(),
    ];
    let flags: Vec<&str> = settings.iter().flat_map(|set| ["--set", set.as_str()]).collect();
    let server = Process::serve_with(&path("data"), &flags, std::process::Stdio::null());
    let form = [("grant_type", "client_credentials")];
    let token_url = format!("{}/oauth/token", server.public);
    let basic = (id.clone(), secret.clone());
    let cli = |args: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(args).args(["--json", "--vkey"]).arg(path("vkey"));
        command.env("TOKEN_LEDGER_PUBLIC_URL", &server.public);
        command.env("TOKEN_LEDGER_ADMIN_URL", &server.admin);
        command.env("TOKEN_LEDGER_CLIENT_ID", &id).env("TOKEN_LEDGER_CLIENT_SECRET", &secret);
        serde_json::from_slice::<Value>(&run(&mut command, 0).stdout).unwrap()
    };
    let to = path("backup").display().to_string();
    let mut before = 0;
    for _ in 0..2 {
        for _ in 0..150 {
            text(&post_form(&token_url, &basic, &form).await.unwrap(), "access_token");
        }
        let done = cli(&["backup", "--to", &to]);
        let records = done["records"].as_u64().unwrap();
        assert_eq!(done["new_records"], records - before);
        assert!(before + 150 <= records, "{done}");
        assert!(done["vault"]["file"].is_string() && done["keys"]["file"].is_string(), "{done}");
        before = records;
    }
    let tiles = path("backup/log");
    let mut verify = Command::new(BINARY);
    run(verify.arg("verify").arg("--tiles").arg(&tiles).arg("--vkey").arg(path("vkey")), 0);
    server.stop();
    let mut restore = Command::new(BINARY);
    restore.args(["restore", "--from"]).arg(&tiles).arg("--keys").arg(path("keys/keys.json"));
    restore.arg("--vault").arg(path("vault/vault.copy")).arg("--data").arg(path("restored"));
    run(&mut restore, 0);
    run(&mut restore, 1);
    // The fence on the other disk knows that more was signed.
    let mut serve = Command::new(BINARY);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"]);
    let refused = run(serve.arg(path("restored")).args(&flags), 1);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("signed"), "{said}");
    // Without it, nobody but a witness or a mirror could tell.
    let server = Process::serve(&path("restored"));
    let url = format!("{}/oauth/token", server.public);
    text(&post_form(&url, &basic, &form).await.unwrap(), "access_token");
    server.stop();
    run(Command::new(BINARY).arg("verify").arg("--data").arg(path("restored")), 0);
}
