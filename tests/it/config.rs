//! The configuration: which source wins, and what the operator is told.

use token_ledger::config::ConfigFault;
use token_ledger::config::settings::{Config, Kind, RawConfig, SETTINGS, reference};
use token_ledger::config::source::{ConfigFile, Sources};
use token_ledger::config::value::{LogFormat, LogLevel};

fn sources(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let owned = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    Sources {
        file: Some(ConfigFile { name: "ledger.toml".to_owned(), text: file.to_owned() }),
        environment: owned(environment),
        environment_apart: vec!["TOKEN_LEDGER_DATA".to_owned()],
        flags: owned(flags),
    }
}

/// The fault of these sources, as one line.
fn fault(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    Config::load(&sources(file, environment, flags)).unwrap_err().to_string()
}

#[test]
fn without_any_source_everything_has_its_default() {
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!(config, Config::try_from(RawConfig::default()).unwrap());
    assert_eq!(config.listen.as_str(), "127.0.0.1:8080");
    assert_eq!(config.admin_listen.as_str(), "127.0.0.1:8081");
    assert_eq!(config.queue_commands_max, 4096);
    assert_eq!(config.code_lifetime_s, 60);
    assert_eq!((config.log_format, config.log_level), (LogFormat::Text, LogLevel::Info));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "workers = 1\ncode_lifetime_s = 10\nlog_level = \"debug\"\nlisten = \"[::1]:0\"";
    let environment = [
        ("TOKEN_LEDGER_WORKERS", "2"),
        ("TOKEN_LEDGER_CODE_LIFETIME_S", "20"),
        ("TOKEN_LEDGER_ADMIN_LISTEN", "[::1]:0"),
        ("TOKEN_LEDGER_DATA", "/var/lib/ledger"),
        ("TOKEN_LEDGERX", "of somebody else"),
        ("PATH", "/bin"),
    ];
    let config = Config::load(&sources(file, &environment, &[("workers", "3")])).unwrap();
    assert_eq!((config.workers, config.code_lifetime_s), (3, 20));
    assert_eq!(config.log_level, LogLevel::Debug);
    assert_eq!((config.listen.as_str(), config.admin_listen.as_str()), ("[::1]:0", "[::1]:0"));
}

#[test]
fn an_unknown_key_is_named_with_its_source_and_the_nearest_known_one() {
    for (told, expected) in [
        (
            fault("queue_command_max = 1", &[], &[]),
            "queue_command_max: there is no such setting, in the file ledger.toml; \
             perhaps queue_commands_max is meant",
        ),
        (
            fault("", &[("TOKEN_LEDGER_WORKER", "1")], &[]),
            "worker: there is no such setting, in the environment variable TOKEN_LEDGER_WORKER; \
             perhaps workers is meant",
        ),
        (
            fault("", &[], &[("keepalive-s", "1")]),
            "keepalive-s: there is no such setting, in the flag --set keepalive-s; \
             perhaps keep_alive_s is meant",
        ),
        (
            fault("[listen_on]\nport = 1", &[], &[]),
            "listen_on: there is no such setting, in the file ledger.toml; perhaps listen is meant",
        ),
        (
            fault("grace_s = 1", &[], &[]),
            "grace_s: there is no such setting, in the file ledger.toml; see which there are",
        ),
    ] {
        assert_eq!(told, expected);
    }
}

#[test]
fn a_setting_that_is_given_twice_in_one_source_is_refused() {
    for (told, last) in [
        (fault("", &[], &[("workers", "1"), ("workers", "2")]), "the flag --set workers"),
        (fault("", &[], &[("listen", "[::1]:1"), ("listen", "[::1]:2")]), "the flag --listen"),
        (
            fault("", &[("TOKEN_LEDGER_WORKERS", "1"), ("TOKEN_LEDGER_workers", "1")], &[]),
            "the environment variable TOKEN_LEDGER_workers",
        ),
    ] {
        let expected = format!("it is given more than once, the last time in {last}; give it once");
        assert!(told.contains(&expected), "{told}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_source() {
    for (told, expected) in [
        (
            fault("workers = \"many\"", &[], &[]),
            "workers: invalid type: found string \"many\", expected u64, in the file ledger.toml; \
             set it to a number, 0 to 1024",
        ),
        (
            fault("workers = 1", &[("TOKEN_LEDGER_WORKERS", "")], &[]),
            "workers: invalid type: found string \"\", expected u64, in the environment variable \
             TOKEN_LEDGER_WORKERS; set it to a number, 0 to 1024",
        ),
        (
            fault("log_level = 3", &[], &[]),
            "log_level: invalid type: found signed int `3`, expected a string, in the file \
             ledger.toml; set it to error, warn, info, debug, trace, in quotes",
        ),
    ] {
        assert_eq!(told, expected);
    }
    assert!(fault("workers = -1", &[], &[]).contains("set it to a number, 0 to 1024"));
    assert!(fault("workers = ", &[], &[]).starts_with("ledger.toml: not TOML: "));
}

#[test]
fn a_value_out_of_its_range_is_told_the_range() {
    let told = fault("", &[], &[("code_lifetime_s", "601")]);
    let expected = "code_lifetime_s: 601 is out of range, in the flag --set code_lifetime_s; \
                    set it to a number from 1 to 600";
    assert_eq!(told, expected);
    let told = fault("", &[("TOKEN_LEDGER_LOG_FORMAT", "xml")], &[]);
    let expected = "log_format: \"xml\" is not a log format, in the environment variable \
                    TOKEN_LEDGER_LOG_FORMAT; set it to text, json";
    assert_eq!(told, expected);
}

#[test]
fn both_ends_of_every_range_are_taken_and_nothing_beyond() {
    for setting in SETTINGS {
        let Kind::Number { default, least, greatest } = setting.kind else { continue };
        assert!((least..=greatest).contains(&default), "{}", setting.key);
        // Wide open, so that no setting meets the limit of another.
        let wide = [
            ("queue_commands_max", "1048576"),
            ("shutdown_timeout_s", "600"),
            ("batch_commands_max", "1"),
            ("submit_timeout_ms", "100"),
        ];
        let load = |value: u64| {
            let value = value.to_string();
            let mut flags: Vec<(&str, &str)> =
                wide.into_iter().filter(|(key, _)| *key != setting.key).collect();
            flags.push((setting.key, &value));
            Config::load(&sources("", &[], &flags))
        };
        assert!(load(least).is_ok() && load(greatest).is_ok(), "{}", setting.key);
        assert!(load(greatest + 1).is_err(), "{}", setting.key);
        assert!(least.checked_sub(1).is_none_or(|below| load(below).is_err()), "{}", setting.key);
    }
}

#[test]
fn settings_that_do_not_go_together_are_named() {
    let keys = |file: &str| -> ConfigFault { Config::load(&sources(file, &[], &[])).unwrap_err() };
    assert_eq!(keys("listen = \"127.0.0.1:8081\"").key, "admin_listen");
    assert_eq!(keys("queue_commands_max = 255").key, "batch_commands_max");
    let fault = keys("submit_timeout_ms = 30001");
    assert_eq!(fault.key, "submit_timeout_ms");
    assert_eq!(
        fault.remedy,
        "set it to at most 30000, or raise shutdown_timeout_s (in milliseconds)"
    );
}

#[test]
fn the_reference_has_a_row_for_every_setting() {
    let reference = reference();
    let mut rows = reference.lines();
    assert_eq!(rows.next(), Some("| key | default | range | meaning |"));
    assert_eq!(rows.nth(1).unwrap().split(" | ").next(), Some("| `listen`"));
    assert_eq!(reference.lines().count(), SETTINGS.len() + 2);
    assert!(reference.contains(
        "| `code_lifetime_s` | `60` | 1 to 600 | How long an authorization code may be exchanged. |"
    ));
    for row in reference.lines() {
        assert_eq!(row.matches('|').count(), 5, "{row}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.toml");
    let fault = ConfigFile::read(&path).unwrap_err();
    assert_eq!(fault.key, path.display().to_string());
    std::fs::write(&path, "workers = 1").unwrap();
    assert_eq!(ConfigFile::read(&path).unwrap().text, "workers = 1");
}
