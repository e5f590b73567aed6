//! What each part of the service is told of the configuration. It carries numbers over, and never
//! decides one.

use crate::config::settings::Config;
use crate::config::value::{AssertionAudience, FilePath};
use crate::crypto::assertion::AudienceRule;
use crate::edge::EdgeLimits;
use crate::edge::assertion::AssertionLimits;
use crate::edge::back_up::CopyPlaces;
use crate::edge::client_keys::ClientKeyLimits;
use crate::edge::throttle::ThrottleLimits;
use crate::http::server::ServerLimits;
use crate::ledger::handle::Limits;

pub(super) fn ledger_limits(config: &Config) -> Limits {
    Limits {
        queue_commands_max: config.queue_commands_max,
        batch_commands_max: config.batch_commands_max,
        coalesce_keys_max: config.coalesce_keys_max,
        submit_timeout_ms: config.submit_timeout_ms,
        clock_step_warn_ms: config.clock_step_warn_ms,
        snapshot_every_records: config.snapshot_every_records,
    }
}

pub(super) fn edge_limits(config: &Config) -> EdgeLimits {
    EdgeLimits {
        code_lifetime_s: u64::from(config.code_lifetime_s),
        page_grants_max: config.page_grants_max,
        page_records_max: config.page_records_max,
        trail_records_max: config.trail_records_max,
        scan_wait_ms: config.submit_timeout_ms,
        key_published_before_use_s: u64::from(config.key_published_before_use_s),
        checkpoint_key_overlap_s: u64::from(config.checkpoint_key_overlap_s),
        key_rotation_s: u64::from(config.key_rotation_s),
    }
}

pub(super) fn copy_places(config: &Config) -> CopyPlaces {
    let place = |path: &FilePath| path.path().map(std::path::Path::to_owned);
    CopyPlaces { vault: place(&config.backup_vault_dir), keys: place(&config.backup_keys_dir) }
}

pub(super) fn throttle_limits(config: &Config) -> ThrottleLimits {
    ThrottleLimits {
        per_address_minute_max: config.auth_failures_per_minute_max,
        per_client_minute_max: config.client_auth_failures_per_minute_max,
        keys_max: config.throttle_keys_max,
    }
}

pub(super) fn assertion_limits(config: &Config) -> AssertionLimits {
    AssertionLimits {
        audience: match config.assertion_audience {
            AssertionAudience::Rfc7523 => AudienceRule::Rfc7523,
            AssertionAudience::Issuer => AudienceRule::Issuer,
        },
        lifetime_s_max: u64::from(config.assertion_lifetime_s_max),
        leeway_s: u64::from(config.assertion_leeway_s),
        kept_max: config.assertions_kept_max,
    }
}

pub(super) fn client_key_limits(config: &Config) -> ClientKeyLimits {
    ClientKeyLimits {
        max_age_s: u64::from(config.client_jwks_max_age_s),
        refetch_min_s: u64::from(config.client_jwks_refetch_min_s),
        timeout_ms: config.client_jwks_timeout_ms,
        clients_max: config.client_jwks_clients_max,
    }
}

pub(super) fn server_limits(config: &Config) -> ServerLimits {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ServerLimits {
        workers: if config.workers == 0 { cores } else { config.workers },
        connections_max: config.connections_max,
        backlog_connections_max: config.backlog_connections_max,
        client_request_timeout_ms: config.client_request_timeout_ms,
        unread_answer_timeout_ms: config.unread_answer_timeout_ms,
        keep_alive_s: u64::from(config.keep_alive_s),
        shutdown_timeout_s: u64::from(config.shutdown_timeout_s),
    }
}
