//! What each part of the service is told of the configuration. It carries numbers over, and never
//! decides one.

use rustix::process::{Resource, getrlimit};

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

/// Files that are open besides connections: the databases and the log, the sockets, what workers wait
/// on, witnesses and clients that are asked.
const OTHER_FILES: u64 = 512;
/// The share of the admin listener in connections that do not suffice for both.
const ADMIN_SHARE: u64 = 8;

/// How many connections a worker of the public listener and one of the admin listener may have, where
/// the process may open `allowed` files; none is as many as there are. Whoever connects must not use
/// up the files that the log and its checkpoints need.
fn connections(allowed: Option<u64>, workers: usize, connections_max: usize) -> [usize; 2] {
    let Some(allowed) = allowed else { return [connections_max; 2] };
    let (workers, wanted) = (workers.max(1) as u64, connections_max as u64);
    let all = allowed.saturating_sub(OTHER_FILES) / workers;
    if 2 * wanted <= all {
        return [connections_max; 2];
    }
    let admin = wanted.min(all / ADMIN_SHARE).max(1);
    let public = wanted.min(all.saturating_sub(admin)).max(1);
    [public, admin].map(|some| usize::try_from(some).unwrap_or(connections_max))
}

pub(super) fn server_limits(config: &Config) -> ServerLimits {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = if config.workers == 0 { cores } else { config.workers };
    let allowed = getrlimit(Resource::Nofile).current;
    let [public, admin] = connections(allowed, workers, config.connections_max);
    if public < config.connections_max {
        tracing::warn!(
            open_files = allowed,
            connections_max = public,
            "fewer files may be open than connections_max needs, so each worker takes fewer \
             connections: raise the hard limit (ulimit -Hn, LimitNOFILE), or set connections_max"
        );
    }
    ServerLimits {
        workers,
        connections_max: public,
        admin_connections_max: admin,
        backlog_connections_max: config.backlog_connections_max,
        client_request_timeout_ms: config.client_request_timeout_ms,
        unread_answer_timeout_ms: config.unread_answer_timeout_ms,
        keep_alive_s: u64::from(config.keep_alive_s),
        shutdown_timeout_s: u64::from(config.shutdown_timeout_s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_log_the_files_that_it_needs() {
        assert_eq!(connections(None, 2, 10_240), [10_240, 10_240]);
        assert_eq!(connections(Some(1_048_576), 2, 10_240), [10_240, 10_240]);
        for (allowed, workers, max) in [
            (20_000, 1, 10_240),
            (20_000, 2, 10_240),
            (1024, 4, 200),
            (600, 2, 10_240),
            (90, 64, 9),
        ] {
            let [public, admin] = connections(Some(allowed), workers, max);
            assert!(1 <= admin && admin <= public && public <= max, "{public} {admin}");
            let least = 2 * workers as u64;
            let files = (public + admin) as u64 * workers as u64;
            assert!(
                files <= allowed.saturating_sub(OTHER_FILES).max(least),
                "{files} of {allowed}"
            );
        }
        assert_eq!(connections(Some(20_000), 1, 10_240), [10_240, 2436]);
    }
}
