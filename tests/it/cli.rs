//! The command line as typed: what parses, what help says, what a profile must be, what a person
//! is told.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, Parser};
use token_ledger::cli::arguments::{Assignment, ServeArgs};
use token_ledger::cli::console::{Console, InputError, LINE_BYTES_MAX};
use token_ledger::cli::error::CliError;
use token_ledger::cli::profile::{
    ADMIN_URL, CLIENT_ID, CLIENT_SECRET, NotUsable, PUBLIC_URL, Profile, ProfileError, default_path,
};
use token_ledger::cli::{Cli, report, run};
use token_ledger::config::source::OWN_FLAGS;
use token_ledger::types::secret::Secret;

const SECRET: &str = "tls_a-secret-that-must-not-be-seen";

/// Runs a command line with this input and these variables: what it printed, noted and answered.
fn run_with(
    args: &[&str],
    input: &[u8],
    variables: &BTreeMap<&str, String>,
) -> (Result<(), CliError>, String, String) {
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let mut console = Console {
        out: &mut out,
        notes: &mut notes,
        input: &mut Cursor::new(input),
        input_is_terminal: false,
        variable: &|name| variables.get(name).cloned(),
    };
    let cli = Cli::try_parse_from([&["token-ledger"], args].concat()).unwrap();
    let result = run(cli, &mut console);
    (result, String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap())
}

fn every_command(command: &Command, visit: &mut dyn FnMut(&Command)) {
    visit(command);
    command.get_subcommands().for_each(|inner| every_command(inner, visit));
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_at_the_top_is_as_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots/cli/help.txt");
    let help = Cli::command().term_width(100).render_help().to_string();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &help).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(help, reviewed, "review it, then run this test with UPDATE_EXPECT=1");
}

#[test]
fn every_command_says_what_it_does_shows_an_example_and_what_is_next() {
    every_command(&Cli::command(), &mut |command| {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name}");
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        // At the top it says where to begin instead.
        if name != "token-ledger" {
            assert!(after.contains("Example"), "{name}");
            assert!(after.contains("Next"), "{name}");
        }
        assert!(after.contains("token-ledger "), "{name}");
        assert!(after.lines().all(|line| line.len() <= 100), "{name}");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{name} {}", argument.get_id());
        }
    });
}

/// The words of a line of the shell, up to where a redirection, a pipe or a remark begins.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '<' | '>' | '|' | '(' | ')') => break,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_example_parses() {
    let (mut seen, mut wrong) = (0, Vec::new());
    every_command(&Cli::command(), &mut |command| {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let parts: Vec<&str> = after.split("\\\n").collect();
        let whole: String = parts[..1]
            .iter()
            .copied()
            .chain(parts[1..].iter().map(|part| part.trim_start()))
            .collect();
        let examples = whole.lines().filter(|line| line.starts_with("  "));
        for line in examples.map(str::trim).filter(|line| line.starts_with("token-ledger ")) {
            // What stands apart explains it.
            let parsed = line.split("   ").next().map(|line| Cli::try_parse_from(words(line)));
            let error = parsed.and_then(|parsed| parsed.err());
            let is_wrong = |error: &clap::Error| error.kind() != ErrorKind::DisplayHelp;
            wrong.extend(error.filter(is_wrong).map(|error| format!("{line}: {error}")));
            seen += 1;
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(60 < seen, "{seen}");
}

#[test]
fn no_option_takes_a_secret_or_a_token() {
    every_command(&Cli::command(), &mut |command| {
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            let bearer = id.contains("secret") || id.contains("token_stdin") || id == "token";
            let takes_a_value = argument.get_action().takes_values();
            assert!(!(bearer && takes_a_value), "{} {id}", command.get_name());
        }
    });
}

#[test]
fn what_makes_no_sense_does_not_parse() {
    for line in [
        "blacklist add --reason r",
        "blacklist add --all",
        "blacklist add --all --client a --reason r",
        "blacklist add --token tlr_x --reason r",
        "blacklist add --grant nonsense --reason r",
        "subject erase --reason r --legal-basis l",
        "subject erase alice --subject-stdin --reason r --legal-basis l",
        "grant list",
        "grant list --subject a --client b",
        "grant create --client a --subject s --code-challenge-method S256",
        "client register --grant-type password",
        "client register --refresh-idle-s soon",
        "client register --client-secret x",
        "client register --jwks-file - --jwks-uri https://a.example/jwks",
        "audit valid --client a",
        "audit valid --at yesterday --client a",
        "audit token",
        "verify",
        "verify --data a --export b",
        "keys vkey --data a --profile b",
        "verify --package a --vkey k --checkpoint c",
        "verify --receipt a --record b --vkey k --checkpoint c",
        "serve --data a --set nonsense",
        "login --public a --admin b --client-id c --secret d",
    ] {
        let args = std::iter::once("token-ledger").chain(line.split(' '));
        let error = Cli::try_parse_from(args).map(|_| ()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn all_forms_of_every_command_parse() {
    let grant = "g_AAAAAAAAAAAAAAAAAAAAAA";
    let digest = "A".repeat(43);
    for line in [
        "client list --json",
        "client --json list",
        "client update a --refresh-idle-s never --resource https://a.example",
        "client rotate-secret a --previous-lifetime-s 60 --profile p.toml",
        &format!("grant revoke {grant} --reason r"),
        "grant create --client a --subject s --code-challenge c",
        "blacklist add --subject-stdin --reason r",
        "blacklist lift b_AAAAAAAAAAAA --reason r",
        &format!("audit token --digest {digest}"),
        &format!("audit valid --at 2026-11-23T04:12:33Z --grant {grant}"),
        "audit records --since 2026-11-23T04:12:33Z --from 1 --to 2 --type a.b --limit 3 --all",
        "keys list",
        "keys vkey --data d",
        "verify --export - --json",
        "demo --keep",
    ] {
        let args = std::iter::once("token-ledger").chain(line.split(' '));
        assert!(Cli::try_parse_from(args).is_ok(), "{line}");
    }
}

#[test]
fn the_settings_with_a_flag_of_their_own_are_those_that_serve_takes() {
    let cli = Cli::command();
    let serve = cli.find_subcommand("serve").unwrap();
    let own = serve.get_arguments().map(|argument| argument.get_id().as_str());
    let own: Vec<&str> = own.filter(|id| !["data", "config", "set", "help"].contains(id)).collect();
    assert_eq!(own, OWN_FLAGS);
}

#[test]
fn settings_given_as_flags_come_out_by_key() {
    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let only = Only::parse_from(
        "x --data d --listen 127.0.0.1:0 --set grace_s=1 --set log_format=a=b".split(' '),
    );
    let settings = only.serve.settings();
    let owned = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let expected =
        [owned("listen", "127.0.0.1:0"), owned("grace_s", "1"), owned("log_format", "a=b")];
    assert_eq!(settings, expected);
    for text in ["", "=x", "grace", "Grace=1", "grace s=1"] {
        assert!(text.parse::<Assignment>().is_err(), "{text}");
    }
}

#[test]
fn a_profile_is_of_its_own_server_at_both_addresses_and_of_no_other() {
    let profile = profile();
    let of = |url: &str| profile.is_of(url);
    assert!(of("http://127.0.0.1:1/log") && of("http://127.0.0.1:2/x/log"));
    for other in ["http://127.0.0.1:3/log", "https://127.0.0.1:1/log", "http://localhost:1/", "log"]
    {
        assert!(!of(other), "{other}");
    }
}

fn profile() -> Profile {
    let secret = Secret::new(SECRET.to_owned());
    Profile::new("http://127.0.0.1:1", "http://127.0.0.1:2/x", "ops", secret, false).unwrap()
}

fn load(path: &Path) -> Result<Profile, ProfileError> {
    Profile::load(Some(path), &|_| None)
}

#[test]
fn a_profile_is_for_its_owners_eyes_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/inner/profile.toml");
    profile().save(&path).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for exposed in [0o640, 0o604, 0o620, 0o644, 0o666, 0o601] {
        std::fs::set_permissions(&path, Permissions::from_mode(exposed)).unwrap();
        let error = load(&path).err().unwrap();
        assert!(matches!(error, ProfileError::Exposed { mode, .. } if mode == exposed));
        assert!(error.hint().contains("chmod 600"));
    }
    // Saving again mends it.
    profile().save(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert!(load(&path).is_ok());
}

#[test]
fn a_profile_is_read_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profile.toml");
    for secret in [SECRET, "a\"b\\c d'#=", "\\", "\"\"\"", "\\u0041"] {
        let written = Secret::new(secret.to_owned());
        let written =
            Profile::new("https://a.example/base/", "http://[::1]:9", "a:b+c", written, false);
        written.unwrap().save(&path).unwrap();
        let read = load(&path).unwrap();
        assert_eq!(read.client_secret.expose(), secret);
        assert_eq!(read.public.as_str(), "https://a.example/base/");
        assert_eq!(read.admin.as_str(), "http://[::1]:9/");
        assert_eq!(read.client_id.as_str(), "a:b+c");
        assert!(!read.allow_plain_http);
    }
}

#[test]
fn a_broken_profile_is_refused_without_showing_its_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profile.toml");
    for text in [
        format!("client_secret = \"{SECRET}"),
        format!("client_secret = {SECRET}"),
        format!("client_secret = [\"{SECRET}\"]"),
        format!("secret = \"{SECRET}\""),
        format!("client_secret = \"{SECRET}\""),
        format!("allow_plain_http = \"{SECRET}\""),
    ] {
        std::fs::write(&path, &text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let error = CliError::from(load(&path).err().unwrap());
        let mut told = Vec::new();
        report(&error, &mut told);
        let told = format!("{}{error:?}", String::from_utf8(told).unwrap());
        assert!(!told.contains(SECRET), "{text}: {told}");
    }
}

#[test]
fn secrets_do_not_travel_over_plain_http_to_other_hosts() {
    let make = |url: &str, allow| {
        let secret = Secret::new(SECRET.to_owned());
        Profile::new(url, "https://a.example", "ops", secret, allow)
    };
    for url in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "https://a.example"]
    {
        assert!(make(url, false).is_ok(), "{url}");
    }
    for url in ["http://a.example", "http://10.0.0.1", "http://localhost.example", "http://[::]"] {
        let refused = make(url, false).err().unwrap();
        let plain = NotUsable::PlainHttp;
        assert!(matches!(refused, ProfileError::Unusable { source, .. } if source == plain));
        assert!(make(url, true).is_ok(), "{url}");
    }
    for url in
        ["", "a.example", "ftp://a.example", "https://u:p@a.example", "https://a/?x", "file:///"]
    {
        assert!(make(url, true).is_err(), "{url}");
    }
}

#[test]
fn the_environment_comes_over_the_default_profile_and_not_over_a_named_one() {
    let home = tempfile::tempdir().unwrap();
    let home_text = home.path().to_str().unwrap().to_owned();
    let mut variables = BTreeMap::from([("HOME", home_text)]);
    let path = default_path(&|name| variables.get(name).cloned()).unwrap();
    assert_eq!(path, home.path().join(".config/token-ledger/profile.toml"));
    profile().save(&path).unwrap();

    variables.insert(CLIENT_ID, "other".to_owned());
    let id = |named: Option<&Path>, variables: &BTreeMap<&str, String>| {
        let read = Profile::load(named, &|name| variables.get(name).cloned()).unwrap();
        (read.client_id.to_string(), read.public.to_string())
    };
    let local = "http://127.0.0.1:1/".to_owned();
    assert_eq!(id(None, &variables), ("other".to_owned(), local.clone()));
    assert_eq!(id(Some(&path), &variables), ("ops".to_owned(), local));

    // A secret goes to no other server than its own.
    for (variable, url) in [(PUBLIC_URL, "http://127.0.0.1:3"), (ADMIN_URL, "http://127.0.0.1:1")] {
        let mut more = variables.clone();
        more.insert(variable, url.to_owned());
        let refused = Profile::load(None, &|name| more.get(name).cloned()).err().unwrap();
        assert!(refused.to_string().starts_with(variable), "{refused}");
        assert!(refused.hint().contains(CLIENT_SECRET), "{}", refused.hint());
        more.insert(CLIENT_SECRET, SECRET.to_owned());
        assert!(Profile::load(None, &|name| more.get(name).cloned()).is_ok());
    }

    // With all four there needs to be no file.
    variables.extend([
        ("HOME", "/nonexistent".to_owned()),
        (PUBLIC_URL, "https://p.example".to_owned()),
        (ADMIN_URL, "https://a.example".to_owned()),
        (CLIENT_SECRET, SECRET.to_owned()),
    ]);
    assert_eq!(id(None, &variables).1, "https://p.example/");
}

#[test]
fn a_configuration_home_that_is_relative_is_ignored() {
    let place = |name: &str| match name {
        "XDG_CONFIG_HOME" => Some("relative".to_owned()),
        _ => Some("/home/a".to_owned()),
    };
    let expected = PathBuf::from("/home/a/.config/token-ledger/profile.toml");
    assert_eq!(default_path(&place).unwrap(), expected);
    assert!(matches!(default_path(&|_| None), Err(ProfileError::NoPlace)));
}

#[test]
fn login_takes_the_secret_from_input_and_never_prints_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("p.toml");
    let line = format!(
        "login --public http://127.0.0.1:1 --admin http://127.0.0.1:2 --client-id ops --no-check \
         --profile {}",
        file.display()
    );
    let args: Vec<&str> = line.split_whitespace().collect();
    let (result, out, notes) =
        run_with(&args, format!("{SECRET}\r\n").as_bytes(), &BTreeMap::new());
    result.unwrap();
    assert!(!format!("{out}{notes}").contains(SECRET));
    assert_eq!(load(&file).unwrap().client_secret.expose(), SECRET);

    let (result, _, _) = run_with(&args, b"\n", &BTreeMap::new());
    let error = result.unwrap_err();
    assert!(matches!(error, CliError::Input(InputError::Nothing { .. })));
    assert_eq!(error.exit().code(), 2);
    // The profile before is whole.
    assert_eq!(load(&file).unwrap().client_secret.expose(), SECRET);
}

fn line_of(input: &[u8]) -> Result<String, InputError> {
    let mut console = Console {
        out: &mut Vec::new(),
        notes: &mut Vec::new(),
        input: &mut Cursor::new(input),
        input_is_terminal: false,
        variable: &|_| None,
    };
    console.line("token").map(|line| line.expose().to_owned())
}

#[test]
fn an_input_is_one_line_of_text_of_bounded_length() {
    let longest = "a".repeat(usize::try_from(LINE_BYTES_MAX).unwrap());
    for text in ["a", "a b", "é", &longest] {
        for end in ["", "\n", "\r\n"] {
            assert_eq!(line_of(format!("{text}{end}").as_bytes()).unwrap(), text);
        }
    }
    for input in [&b"a\nb"[..], b"a\n\n", b"\xff", b"a\x1b", format!("{longest}a").as_bytes()] {
        assert!(matches!(line_of(input), Err(InputError::NotALine { .. })), "{input:?}");
    }
    for input in [&b""[..], b"\n", b"\r\n"] {
        assert!(matches!(line_of(input), Err(InputError::Nothing { .. })), "{input:?}");
    }
}

#[test]
fn a_json_file_holds_one_object_of_bounded_length() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client.json");
    let read = |path: &Path, input: &[u8]| {
        let mut console = Console {
            out: &mut Vec::new(),
            notes: &mut Vec::new(),
            input: &mut Cursor::new(input),
            input_is_terminal: false,
            variable: &|_| None,
        };
        console.json_object(path).map(|members| serde_json::Value::from(members).to_string())
    };
    std::fs::write(&path, " {\"scope\": \"read\"}\n").unwrap();
    assert_eq!(read(&path, b"").unwrap(), "{\"scope\":\"read\"}");
    assert_eq!(read(Path::new("-"), b"{\"a\":null}").unwrap(), "{\"a\":null}");
    let long = format!("{{\"a\":\"{}\"}}", "a".repeat(64 * 1024));
    for text in ["", "[]", "{", "{} {}", "null", &long] {
        let error = read(Path::new("-"), text.as_bytes()).unwrap_err();
        assert!(matches!(error, InputError::NotAnObject { .. }), "{text:.9}");
    }
    let missing = read(&directory.path().join("no"), b"").unwrap_err();
    assert!(matches!(missing, InputError::Unreadable { .. }));
}

#[test]
fn the_shell_is_told_by_exit_code_and_the_person_by_two_lines() {
    let binary = env!("CARGO_BIN_EXE_token-ledger");
    let empty = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        let args = line.split(' ').filter(|word| !word.is_empty());
        let output =
            Process::new(binary).args(args).env_clear().env("HOME", empty.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run("--help").0, Some(0));
    assert_eq!(run("--version").0, Some(0));
    assert_eq!(run("").0, Some(2));
    assert_eq!(run("client lust").0, Some(2));
    assert_eq!(run("client").0, Some(2));
    let (code, told) = run("client list");
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].starts_with("error: there is no profile at "), "{told}");
    assert!(lines[1].starts_with("hint: token-ledger login "), "{told}");
}
