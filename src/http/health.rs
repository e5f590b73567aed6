//! Whether the service is up, whether it can write, and what it counts.

use std::sync::atomic::Ordering;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, ServiceConfig, get};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde_json::json;

use crate::http::app::App;
use crate::http::respond::{json as json_answer, uncached};
use crate::http::server::route;

/// Puts health in place: whether the service is up, and nothing that counts.
pub fn configure_checks(config: &mut ServiceConfig) {
    route(config, "/healthz", "GET", get().to(healthz));
    route(config, "/readyz", "GET", get().to(readyz));
}

/// Puts health and metrics in place.
pub fn configure(config: &mut ServiceConfig) {
    configure_checks(config);
    route(config, "/metrics", "GET", get().to(metrics));
}

async fn healthz() -> HttpResponse {
    json_answer(StatusCode::OK, &json!({ "status": "ok" }))
}

async fn readyz(app: Data<App>) -> HttpResponse {
    if app.edge.ledger.has_stopped() {
        let body = json!({ "status": "stopped", "reason": "the writer has stopped" });
        return json_answer(StatusCode::SERVICE_UNAVAILABLE, &body);
    }
    if *app.edge.vault.failed().borrow() {
        let body = json!({ "status": "stopped", "reason": "a write to the vault failed" });
        return json_answer(StatusCode::SERVICE_UNAVAILABLE, &body);
    }
    if !app.edge.ledger.has_room() {
        let body = json!({ "status": "disk_full", "reason": "the disk is nearly full" });
        return json_answer(StatusCode::SERVICE_UNAVAILABLE, &body);
    }
    // Tokens are given all the same: who routes them here must go on to.
    let checkpoints = match app.edge.notary.failure() {
        Some(_) => "stopped",
        None => "signed",
    };
    json_answer(StatusCode::OK, &json!({ "status": "ready", "checkpoints": checkpoints }))
}

async fn metrics(app: Data<App>) -> HttpResponse {
    let mut registry = Registry::with_prefix("token_ledger");
    registry.register_collector(Box::new(Figures { app }));
    let mut body = String::new();
    if encode(&mut body, &registry).is_err() {
        return uncached(StatusCode::SERVICE_UNAVAILABLE).finish();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    uncached(StatusCode::OK).insert_header((CONTENT_TYPE, kind)).body(body)
}

/// Reads the figures when asked for them: nothing is counted twice.
struct Figures {
    app: Data<App>,
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Figures")
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let ledger = &self.app.edge.ledger;
        let (records, counts) = {
            let state = ledger.state();
            (state.next_seq().0, state.counts())
        };
        let written = ledger.counters();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let counters = [
            ("records", "Records in the log.", records),
            ("batches", "Batches made durable.", count(&written.batches)),
            ("commands", "Commands answered.", count(&written.commands)),
            ("record_bytes", "Bytes of records made durable.", count(&written.record_bytes)),
            ("overloaded", "Commands turned away.", count(&written.overloaded)),
            ("checkpoints", "Checkpoints signed since the start.", self.app.edge.notary.signed()),
            ("syncs", "Syncs that made batches durable.", ledger.store().syncs()),
        ];
        for (name, help, value) in counters {
            let metric = ConstCounter::new(value);
            let one = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(one)?;
        }
        let notary = &self.app.edge.notary;
        let covered = notary.newest().map_or(0, |newest| newest.head.size);
        let covered = usize::try_from(covered).unwrap_or(usize::MAX);
        let unsigned = usize::from(notary.failure().is_some());
        let gauges = [
            ("clients", "Registered clients.", counts.clients),
            ("subjects", "Resource owners.", counts.subjects),
            ("grants", "Grants, dead ones too.", counts.grants),
            ("access_tokens", "Access tokens in memory.", counts.access_tokens),
            ("blacklist_entries", "Blacklist entries, lifted ones too.", counts.blacklist),
            ("queued_commands", "Commands that wait.", ledger.queued()),
            ("checkpoint_size", "Records that the newest checkpoint covers.", covered),
            ("checkpoints_stopped", "1 once no checkpoint is signed any more.", unsigned),
            ("stopped", "1 once nothing is written any more.", usize::from(ledger.has_stopped())),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let one = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(one)?;
        }
        self.encode_witnesses(&mut encoder)
    }
}

impl Figures {
    /// How each witness stands, labelled with its name.
    fn encode_witnesses(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let witnesses = &self.app.witnesses;
        if witnesses.is_empty() {
            return Ok(());
        }
        let newest = self.app.edge.notary.newest().map_or(0, |newest| newest.head.size);
        let standings: Vec<_> = witnesses.iter().map(|witness| witness.standing()).collect();
        let gauges: [(&str, &str, Vec<u64>); 5] = [
            (
                "witness_cosigned_records",
                "Records in the last checkpoint that the witness cosigned.",
                standings.iter().map(|standing| standing.cosigned).collect(),
            ),
            (
                "witness_lag_records",
                "Records in the newest checkpoint that the witness has not cosigned.",
                standings.iter().map(|s| newest.saturating_sub(s.cosigned)).collect(),
            ),
            (
                "witness_lag_seconds",
                "How long a checkpoint has been waiting for the witness.",
                witnesses.iter().map(|witness| witness.waits_s()).collect(),
            ),
            (
                "witness_failures",
                "Submissions that failed since the start.",
                standings.iter().map(|standing| standing.failures).collect(),
            ),
            (
                "witness_alarm",
                "1 while the witness has cosigned another history than this one, or more of it.",
                standings.iter().map(|standing| u64::from(standing.alarm.is_some())).collect(),
            ),
        ];
        for (name, help, values) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (witness, value) in witnesses.iter().zip(values) {
                let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
                metric.encode(family.encode_family(&[("witness", witness.name())])?)?;
            }
        }
        Ok(())
    }
}
