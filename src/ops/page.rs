//! What `/metrics` shows, read from where it is kept.

use super::ready::Stale;
use crate::gateway::Gateway;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the text is; Prometheus reads it since version 2.5.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The page.
pub struct Page(Registry);

impl Page {
    /// Shows this gateway.
    pub fn new(gateway: Arc<Gateway>, stale: Arc<Stale>) -> Self {
        let mut registry = Registry::with_prefix("rowgate");
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        registry.register_collector(Box::new(Shown {
            gateway,
            stale,
            started: started.unwrap_or_default().as_secs_f64(),
        }));
        Self(registry)
    }

    /// As of now.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        encode(&mut text, &self.0).ok();
        text
    }
}

struct Shown {
    gateway: Arc<Gateway>,
    stale: Arc<Stale>,
    started: f64,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

/// A name, and what it counts.
type Named = (&'static str, &'static str);
/// A label's value, and how many.
type Labelled<'a> = (&'a [(&'static str, &'static str)], u64);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        gauge(
            out,
            (
                "start_time_seconds",
                "When the gate started, in seconds since 1970",
            ),
            self.started,
        )?;
        self.requests(out)?;
        self.times(out)?;
        self.pools(out)?;
        self.caches(out)?;
        let (sessions, opened) = self.gateway.sessions().count();
        gauge(out, ("sessions", "Sessions on the wire now"), sessions)?;
        counters(
            out,
            ("sessions_opened", "Sessions on the wire since the start"),
            &[(&[], opened)],
        )?;
        let audit = self.gateway.audit();
        let (queued, _) = audit.queue();
        gauge(
            out,
            (
                "audit_queue_lines",
                "Lines of the audit that wait to be written",
            ),
            queued,
        )?;
        counters(
            out,
            (
                "audit_lost_lines",
                "Lines of the audit that could not be written",
            ),
            &[(&[], audit.lost())],
        )?;
        let policy = u32::from(self.stale.policy.load(Ordering::Relaxed));
        gauge(
            out,
            (
                "policy_stale",
                "1: the views could not be read again, the last good ones are in force",
            ),
            policy,
        )?;
        let configuration = u32::from(self.stale.configuration.load(Ordering::Relaxed));
        gauge(
            out,
            (
                "configuration_stale",
                "1: the configuration could not be read again",
            ),
            configuration,
        )
    }
}

impl Shown {
    fn requests(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let recorded = self.gateway.audit().recorded();
        let allowed = [("decision", "allow"), ("reason", "")];
        let refused = recorded.refused.get();
        let refused: Vec<_> = refused
            .iter()
            .map(|(reason, count)| ([("decision", "refuse"), ("reason", *reason)], *count))
            .collect();
        let mut rows: Vec<Labelled<'_>> = vec![(&allowed, recorded.allowed.get())];
        rows.extend(
            refused
                .iter()
                .map(|(labels, count)| (labels.as_slice(), *count)),
        );
        let name = (
            "requests",
            "Requests recorded in the audit, on the wire and over HTTP",
        );
        counters(out, name, &rows)?;
        let logins = recorded.logins_refused.get();
        let logins: Vec<_> = logins
            .iter()
            .map(|(reason, count)| ([("reason", *reason)], *count))
            .collect();
        let rows: Vec<Labelled<'_>> = logins
            .iter()
            .map(|(labels, count)| (labels.as_slice(), *count))
            .collect();
        counters(
            out,
            ("logins_refused", "Logins and credentials that were refused"),
            &rows,
        )
    }

    fn times(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let spent = self.gateway.spent();
        for (name, help, times) in [
            (
                "admit_duration_seconds",
                "From a question to its decision (who asks, what they may see, what they asked), but for the Bind of what was decided \
                 at its Parse",
                &spent.deciding,
            ),
            (
                "first_row_duration_seconds",
                "From a request's arrival to its first row from the database",
                &spent.first_row,
            ),
            (
                "request_duration_seconds",
                "From a request's arrival to its end",
                &spent.whole,
            ),
        ] {
            let metric = out.encode_descriptor(name, help, None, MetricType::Histogram)?;
            times.encode(metric)?;
        }
        Ok(())
    }

    fn pools(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (ordinary, superuser) = self.gateway.pools();
        let mut usages = vec![("ordinary", ordinary.usage())];
        usages.extend(superuser.map(|pool| ("superuser", pool.usage())));
        let help = "Connections to the database: in use (with those being opened and closed), idle, and their bound";
        let mut metric =
            out.encode_descriptor("pool_connections", help, None, MetricType::Gauge)?;
        for (pool, usage) in &usages {
            for (state, count) in [
                ("in_use", usage.in_use),
                ("idle", usage.idle),
                ("max", usage.size),
            ] {
                let labels = [("pool", *pool), ("state", state)];
                ConstGauge::new(wide(count)).encode(metric.encode_family(&labels)?)?;
            }
        }
        let help = "Requests that wait for a connection";
        let mut metric = out.encode_descriptor("pool_waiting", help, None, MetricType::Gauge)?;
        for (pool, usage) in &usages {
            let labels = [("pool", *pool)];
            ConstGauge::new(wide(usage.waiting)).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn caches(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let [principals, answers] = self.gateway.resolver().lookups();
        let labels = |cache, result| [("cache", cache), ("result", result)];
        let mut rows = Vec::new();
        for (cache, (hits, misses)) in [
            ("rewrites", self.gateway.spent().rewrites.get()),
            ("principals", principals),
            ("provider_answers", answers),
        ] {
            rows.push((labels(cache, "hit"), hits));
            rows.push((labels(cache, "miss"), misses));
        }
        let rows: Vec<Labelled<'_>> = rows
            .iter()
            .map(|(labels, count)| (labels.as_slice(), *count))
            .collect();
        let help = "Lookups: rewritten texts; principals as worked out last; answers of providers that are cached. The \
                    last two start anew when the configuration is read again";
        counters(out, ("cache_lookups", help), &rows)
    }
}

fn gauge(
    out: &mut DescriptorEncoder<'_>,
    (name, help): Named,
    value: impl prometheus_client::encoding::EncodeGaugeValue + fmt::Debug,
) -> fmt::Result {
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    metric.encode_gauge(&value)
}

fn counters(
    out: &mut DescriptorEncoder<'_>,
    (name, help): Named,
    rows: &[Labelled<'_>],
) -> fmt::Result {
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in rows {
        if labels.is_empty() {
            metric.encode_counter::<NoLabelSet, _, u64>(count, None)?;
            continue;
        }
        let mut metric = metric.encode_family(labels)?;
        metric.encode_counter::<NoLabelSet, _, u64>(count, None)?;
    }
    Ok(())
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
