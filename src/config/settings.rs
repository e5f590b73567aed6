//! Every setting, in one table: from it come what a file may say, what the service gets, the ranges
//! and the reference. A setting is added here and nowhere else.

use std::fmt::Display;
use std::str::FromStr;

use super::ConfigFault;
use super::value::{
    AssertionAudience, FilePath, ListenAddress, LogFormat, LogLevel, ProxyHeader, YesNo,
};
use super::witnesses::WitnessList;
use crate::types::network::TrustedProxies;

/// One setting, for the reference.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name: the TOML key; after `--` with dashes the flag; in capitals after `TOKEN_LEDGER_`
    /// the environment variable.
    pub key: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it does.
    pub meaning: &'static str,
}

/// What a setting may be, and what it is unless set.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A text.
    Text {
        /// Unless set.
        default: &'static str,
        /// In words.
        range: &'static str,
    },
    /// A whole number; both ends may be taken.
    Number {
        /// Unless set.
        default: u64,
        /// The smallest.
        least: u64,
        /// The greatest.
        greatest: u64,
    },
}

macro_rules! settings {
    (
        texts { $(
            $text:ident: $text_type:ty = $text_default:literal, $range:literal,
            $text_meaning:literal;
        )* }
        numbers { $(
            $number:ident: $type:ty = $default:literal, $least:literal..=$greatest:literal,
            $meaning:literal;
        )* }
    ) => {
        /// What the sources say together, before anything was checked but its type.
        #[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct RawConfig {
            $(#[doc = $text_meaning] pub $text: String,)*
            $(#[doc = $meaning] pub $number: u64,)*
        }

        /// The configuration of the service: every value is in its range.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            $(#[doc = $text_meaning] pub $text: $text_type,)*
            $(#[doc = $meaning] pub $number: $type,)*
        }

        /// Every setting, in the order of the reference.
        pub const SETTINGS: &[Setting] = &[
            $(Setting {
                key: stringify!($text),
                kind: Kind::Text { default: $text_default, range: $range },
                meaning: $text_meaning,
            },)*
            $(Setting {
                key: stringify!($number),
                kind: Kind::Number { default: $default, least: $least, greatest: $greatest },
                meaning: $meaning,
            },)*
        ];

        impl Default for RawConfig {
            fn default() -> Self {
                Self {
                    $($text: $text_default.to_owned(),)*
                    $($number: $default,)*
                }
            }
        }

        impl TryFrom<RawConfig> for Config {
            type Error = ConfigFault;

            fn try_from(raw: RawConfig) -> Result<Self, ConfigFault> {
                let config = Self {
                    $($text: text(stringify!($text), &raw.$text, $range)?,)*
                    $($number: number(stringify!($number), raw.$number, $least..=$greatest)?,)*
                };
                config.check()
            }
        }
    };
}

settings! {
    texts {
        listen: ListenAddress = "127.0.0.1:8080", "HOST:PORT",
            "Where clients reach the service; port 0 lets the system choose.";
        admin_listen: ListenAddress = "127.0.0.1:8081", "HOST:PORT",
            "Where administrators and auditors reach it.";
        tls_certificate_file: FilePath = "", "PATH",
            "The certificate of both listeners in PEM, with those that signed it; read again on SIGHUP.";
        tls_key_file: FilePath = "", "PATH",
            "Its private key in PEM.";
        admin_tls_certificate_file: FilePath = "", "PATH",
            "Another certificate for the admin listener.";
        admin_tls_key_file: FilePath = "", "PATH",
            "Its private key.";
        behind_proxy: TrustedProxies = "", "ADDRESS or NETWORK/BITS, separated by commas",
            "The proxies in front that speak TLS to callers: with it plain HTTP may be served on \
             other addresses than loopback, and these peers are believed about who the caller is.";
        proxy_header: ProxyHeader = "x-forwarded-for", "x-forwarded-for, forwarded",
            "The header in which these proxies append the address of the hop before them.";
        fence_file: FilePath = "", "PATH",
            "Where it is remembered which checkpoint was signed last, best on another disk than the \
             ledger's; unless set, the file `fence` in the data directory.";
        public_log: YesNo = "no", "yes, no",
            "Whether the public listener serves checkpoints, tiles of hashes and proofs, too.";
        publish_entries: YesNo = "no", "yes, no",
            "Whether the records are served with them to everybody, without a token.";
        witnesses: WitnessList = "", "VERIFIER_KEY URL, separated by commas, 16 at most",
            "The witnesses that are asked to cosign each checkpoint; one that is down delays nothing, \
             one that answers is waited for at a stop.";
        backup_vault_dir: FilePath = "", "PATH",
            "Where a backup puts the copy of the vault, each in the place of the one before: on a \
             medium of its own, never in a copy that is kept, so that the erased are gone from it.";
        backup_keys_dir: FilePath = "", "PATH",
            "Where a backup puts the copy of the private keys: apart from the vault's, and as well \
             guarded as the keys themselves.";
        log_format: LogFormat = "text", "text, json",
            "How log lines on standard error look.";
        log_level: LogLevel = "info", "error, warn, info, debug, trace",
            "The least severe log lines that are written.";
        assertion_audience: AssertionAudience = "rfc7523", "rfc7523, issuer",
            "Which audience a client's assertion (`private_key_jwt`) may name: the issuer, the \
             token endpoint or the endpoint called, among others; or the issuer alone.";
    }
    numbers {
        workers: usize = 0, 0..=1024,
            "Threads that serve HTTP; 0 is one for each core.";
        connections_max: usize = 10240, 1..=1000000,
            "Connections that are open at once, for each worker; more wait to be accepted.";
        backlog_connections_max: u32 = 2048, 1..=65535,
            "Connections that wait to be accepted; more are refused by the system.";
        client_request_timeout_ms: u64 = 5000, 100..=600000,
            "How long a client may take to send the head of a request.";
        unread_answer_timeout_ms: u32 = 20000, 1000..=3600000,
            "How long a client may leave an answer unread before its connection is closed.";
        keep_alive_s: u32 = 75, 0..=3600,
            "How long an idle connection is kept; 0 closes it after each answer.";
        shutdown_timeout_s: u32 = 30, 1..=600,
            "How long requests in flight may take once the service stops.";
        body_bytes_max: usize = 16384, 4096..=1048576,
            "The longest request body.";
        queue_commands_max: usize = 4096, 1..=1048576,
            "Commands that wait for the writer; more are answered 503.";
        batch_commands_max: usize = 256, 1..=4096,
            "Commands that one write to the disk makes durable.";
        submit_timeout_ms: u64 = 10000, 100..=600000,
            "How long a request waits for its command to be durable before it is answered 503.";
        sled_cache_bytes_max: u64 = 67108864, 1048576..=1099511627776,
            "The cache of the storage engine.";
        recovery_copy_bytes_max: u64 = 1073741824, 0..=17592186044416,
            "Up to this size a ledger that was not closed is copied before it is opened, where the \
             file system cannot share its blocks.";
        disk_free_bytes_min: u64 = 67108864, 0..=17592186044416,
            "How many bytes of the disk stay free: below it clients are answered 503, before a write \
             can fail; reading goes on, and writing with the first free space. 0 lets writes fail.";
        snapshot_every_records: u64 = 1000000, 0..=1000000000,
            "After how many records the next snapshot of what is valid is made, so that a start reads \
             only the records since; 0 makes and reads none.";
        code_lifetime_s: u32 = 60, 1..=600,
            "How long an authorization code may be exchanged.";
        auth_failures_per_minute_max: u32 = 20, 1..=1000000,
            "Failed client authentications from one address (for IPv6, one network of 64 bits), and \
             as many invalid bearer tokens at the administration; further attempts are answered 429.";
        client_auth_failures_per_minute_max: u32 = 10, 1..=1000000,
            "Failed authentications of one client from one address; other addresses are not affected.";
        throttle_keys_max: usize = 65536, 1..=16777216,
            "Addresses, and pairs of client and address, whose failures are remembered.";
        page_records_max: usize = 1000, 1..=10000,
            "Records in one page of an audit answer.";
        page_grants_max: usize = 1000, 1..=10000,
            "Grants in one page of a list.";
        trail_records_max: usize = 100000, 1..=10000000,
            "Records in one trail.";
        audit_scans_max: usize = 2, 1..=64,
            "Audit questions that scan the log at once; more are answered 503.";
        coalesce_keys_max: usize = 65536, 1..=16777216,
            "Grants and clients whose refusals are counted together instead of one by one.";
        vault_rewrite_s_max: u32 = 3600, 1..=604800,
            "How long after an erasure the subject's key may still stand in a file of the vault.";
        vault_incomplete_ok: u32 = 0, 0..=1,
            "1 starts the service although the vault has lost people whom the log knows; they are \
             registered anew.";
        assertion_lifetime_s_max: u32 = 300, 1..=3600,
            "How far ahead the expiry of a client's assertion may lie.";
        assertion_leeway_s: u32 = 10, 0..=60,
            "How far the clocks of client and service may be apart when an assertion is judged.";
        assertions_kept_max: usize = 1000000, 1..=16777216,
            "Used assertions remembered until they expire; further ones are answered 503.";
        client_jwks_max_age_s: u32 = 300, 1..=86400,
            "How long keys from a client's `jwks_uri` are used before they are fetched again.";
        client_jwks_refetch_min_s: u32 = 10, 1..=3600,
            "The shortest time between two fetches of one client's keys.";
        client_jwks_timeout_ms: u64 = 5000, 100..=60000,
            "How long a fetch of a client's keys may take.";
        client_jwks_clients_max: usize = 1024, 1..=1048576,
            "Clients whose fetched keys are kept.";
        key_published_before_use_s: u32 = 600, 60..=86400,
            "How long a signing key is published before it signs; a fetched key set may be kept for \
             half of it, and for 300 s at most.";
        key_rotation_s: u32 = 7776000, 0..=315360000,
            "How old a signing key is when the next one is made, at least 86400; 0 leaves it to \
             `keys rotate`.";
        checkpoint_interval_ms: u64 = 1000, 10..=60000,
            "How long a record waits at most until a signed checkpoint covers it.";
        checkpoint_heartbeat_s: u32 = 600, 1..=86400,
            "After how long a checkpoint is signed though nothing was recorded.";
        checkpoint_key_overlap_s: u32 = 2592000, 0..=31536000,
            "How long an old checkpoint key goes on signing beside the one that replaces it.";
        witness_timeout_ms: u64 = 10000, 100..=60000,
            "How long a witness may take to answer, and a stop to wait for it.";
        witness_pause_ms_max: u64 = 60000, 10..=3600000,
            "The longest pause before a witness that failed is asked again.";
        clock_step_warn_ms: u64 = 5000, 1..=3600000,
            "From which step of the system's clock on, forward or back, it is recorded and warned of.";
    }
}

impl Setting {
    /// The setting of this name.
    pub fn named(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// What it may be, in words.
    pub fn range(&self) -> String {
        match self.kind {
            Kind::Text { range, .. } => range.to_owned(),
            Kind::Number { least, greatest, .. } => format!("{least} to {greatest}"),
        }
    }

    /// What it is unless set.
    pub fn default_text(&self) -> String {
        match self.kind {
            Kind::Text { default, .. } => default.to_owned(),
            Kind::Number { default, .. } => default.to_string(),
        }
    }
}

/// The reference as a Markdown table: key, default, range, meaning.
pub fn reference() -> String {
    let mut table = String::from("| key | default | range | meaning |\n|---|---|---|---|\n");
    for setting in SETTINGS {
        let (default, range) = (setting.default_text(), setting.range());
        let Setting { key, meaning, .. } = setting;
        let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
        table.push_str(&format!("| `{key}` | {default} | {range} | {meaning} |\n"));
    }
    table
}

fn text<T: FromStr<Err: Display>>(key: &str, text: &str, range: &str) -> Result<T, ConfigFault> {
    text.parse().map_err(|fault: T::Err| ConfigFault {
        key: key.to_owned(),
        what: format!("{text:?} is {fault}"),
        remedy: format!("set it to {range}"),
    })
}

fn number<T: TryFrom<u64>>(
    key: &str,
    number: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<T, ConfigFault> {
    let converted = if range.contains(&number) { T::try_from(number).ok() } else { None };
    converted.ok_or_else(|| ConfigFault {
        key: key.to_owned(),
        what: format!("{number} is out of range"),
        remedy: format!("set it to a number from {} to {}", range.start(), range.end()),
    })
}
