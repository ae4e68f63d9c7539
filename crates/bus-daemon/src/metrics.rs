//! What the daemon counts, in Prometheus' text form.
//!
//! Every daemon has a registry of its own: nothing is global, so two daemons in one process (as in
//! tests) never mix. Label values are `&'static str` by type, so that no caller's text can make
//! the number of series grow.

use std::{fmt, time::Instant};

use bus_store::PurgeReport;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};

/// The counters of one daemon. Cheap to update from anywhere; each update is an atomic or two.
pub struct Metrics {
    registry: Registry,
    calls: Family<RouteOutcome, Counter>,
    call_bytes: Family<RouteOutcome, Counter>,
    call_seconds: Family<RouteOnly, Histogram, fn() -> Histogram>,
    calls_in_flight: Gauge,
    sessions: Gauge,
    store_seconds: Family<Operation, Histogram, fn() -> Histogram>,
    http_requests: Family<HttpLabels, Counter>,
    http_seconds: Family<RouteOnly, Histogram, fn() -> Histogram>,
    http_in_flight: Gauge,
    http_bytes: Family<Direction, Counter>,
    http_aborted: Counter,
    purged: Family<Reason, Counter>,
    purged_bytes: Counter,
    audit_entries: Family<AuditResult, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteOutcome {
    route: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteOnly {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    op: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuditResult {
    result: &'static str,
}

/// From 0.5 ms to about 131 s, doubling.
fn seconds_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 19))
}

impl Metrics {
    /// Counters at zero, in a registry of their own.
    #[must_use]
    pub fn new() -> Self {
        let timed: fn() -> Histogram = seconds_histogram;
        let mut metrics = Self {
            registry: Registry::with_prefix("bus"),
            calls: Family::default(),
            call_bytes: Family::default(),
            call_seconds: Family::new_with_constructor(timed),
            calls_in_flight: Gauge::default(),
            sessions: Gauge::default(),
            store_seconds: Family::new_with_constructor(timed),
            http_requests: Family::default(),
            http_seconds: Family::new_with_constructor(timed),
            http_in_flight: Gauge::default(),
            http_bytes: Family::default(),
            http_aborted: Counter::default(),
            purged: Family::default(),
            purged_bytes: Counter::default(),
            audit_entries: Family::default(),
        };
        metrics.register_calls();
        metrics.register_http();
        metrics.register_store();
        metrics
    }

    fn register_calls(&mut self) {
        let r = &mut self.registry;
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The version of the daemon", version);
        r.register(
            "calls",
            "Tool calls that ended, by route of the reply and outcome",
            self.calls.clone(),
        );
        r.register_with_unit(
            "call_payload",
            "Payload bytes of tool calls, by route of the reply and outcome",
            Unit::Bytes,
            self.call_bytes.clone(),
        );
        r.register_with_unit(
            "call",
            "From accepting a tool call to its outcome, by route of the reply",
            Unit::Seconds,
            self.call_seconds.clone(),
        );
        r.register(
            "calls_in_flight",
            "Tool calls that are running",
            self.calls_in_flight.clone(),
        );
        r.register(
            "sessions",
            "WebSocket sessions that are open",
            self.sessions.clone(),
        );
    }

    fn register_http(&mut self) {
        let r = &mut self.registry;
        r.register(
            "http_requests",
            "HTTP requests that were answered, by route, method and status",
            self.http_requests.clone(),
        );
        r.register_with_unit(
            "http_request",
            "From the head of an HTTP request to the head of its answer, by route",
            Unit::Seconds,
            self.http_seconds.clone(),
        );
        r.register(
            "http_in_flight",
            "HTTP requests whose answer is not sent in full yet",
            self.http_in_flight.clone(),
        );
        r.register_with_unit(
            "http_payload",
            "Payload bytes over HTTP: in (published) and out (fetched)",
            Unit::Bytes,
            self.http_bytes.clone(),
        );
        r.register(
            "http_transfers_aborted",
            "Payload transfers broken off since a check failed after their beginning",
            self.http_aborted.clone(),
        );
    }

    fn register_store(&mut self) {
        let r = &mut self.registry;
        r.register_with_unit(
            "store",
            "Time of store operations, by operation",
            Unit::Seconds,
            self.store_seconds.clone(),
        );
        r.register(
            "purged_messages",
            "Messages removed by the purge, by reason",
            self.purged.clone(),
        );
        r.register_with_unit(
            "purged",
            "Stored bytes freed by the purge",
            Unit::Bytes,
            self.purged_bytes.clone(),
        );
        r.register(
            "audit_entries",
            "Entries of the audit log, by what became of them: written, dropped or purged",
            self.audit_entries.clone(),
        );
    }

    /// A tool call was accepted. Each is followed by one [`Metrics::call_finished`].
    pub fn call_started(&self) {
        self.calls_in_flight.inc();
    }

    /// A tool call ended: `route` is how its reply travelled (such as `inline` or `claim`),
    /// `outcome` how it ended (`ok` or a code in lower case), after `seconds`.
    pub fn call_finished(
        &self,
        route: &'static str,
        outcome: &'static str,
        payload_bytes: u64,
        seconds: f64,
    ) {
        let labels = RouteOutcome { route, outcome };
        self.calls.get_or_create_owned(&labels).inc();
        self.call_bytes
            .get_or_create_owned(&labels)
            .inc_by(payload_bytes);
        self.call_seconds
            .get_or_create_owned(&RouteOnly { route })
            .observe(seconds);
        self.calls_in_flight.dec();
    }

    /// A store operation such as `publish` or `fetch` took `seconds`.
    pub fn store_latency(&self, op: &'static str, seconds: f64) {
        self.store_seconds
            .get_or_create_owned(&Operation { op })
            .observe(seconds);
    }

    /// Runs a store operation and notes how long it took, also where it failed.
    pub async fn timed<F: Future>(&self, op: &'static str, operation: F) -> F::Output {
        let started = Instant::now();
        let output = operation.await;
        self.store_latency(op, started.elapsed().as_secs_f64());
        output
    }

    /// The number of open sessions changed by `delta`.
    pub fn sessions(&self, delta: i64) {
        self.sessions.inc_by(delta);
    }

    /// How many sessions are open.
    #[must_use]
    pub fn open_sessions(&self) -> i64 {
        self.sessions.get()
    }

    /// How many tool calls are running.
    #[must_use]
    pub fn running_calls(&self) -> i64 {
        self.calls_in_flight.get()
    }

    /// An HTTP request arrived. Each is followed by one [`Metrics::http_finished`].
    pub fn http_started(&self) {
        self.http_in_flight.inc();
    }

    /// The head of an answer is ready; `route` is a path with its parameters as names.
    pub fn http_answered(
        &self,
        route: &'static str,
        method: &'static str,
        status: u16,
        seconds: f64,
    ) {
        let labels = HttpLabels {
            route,
            method,
            status,
        };
        self.http_requests.get_or_create_owned(&labels).inc();
        self.http_seconds
            .get_or_create_owned(&RouteOnly { route })
            .observe(seconds);
    }

    /// The answer to an HTTP request was sent in full, or given up.
    pub fn http_finished(&self) {
        self.http_in_flight.dec();
    }

    /// Payload bytes passed over HTTP: `in` when published, `out` when fetched.
    pub fn http_payload(&self, direction: &'static str, bytes: u64) {
        self.http_bytes
            .get_or_create_owned(&Direction { direction })
            .inc_by(bytes);
    }

    /// A transfer was broken off, since a check failed after its beginning.
    pub fn http_aborted(&self) {
        self.http_aborted.inc();
    }

    /// A purge removed what `report` says.
    pub fn purged(&self, report: &PurgeReport) {
        for (reason, count) in [
            ("expired", report.expired),
            ("orphaned", report.orphaned),
            ("failed", report.failed),
            ("acknowledged", report.acknowledged),
        ] {
            self.purged
                .get_or_create_owned(&Reason { reason })
                .inc_by(count);
        }
        self.purged_bytes.inc_by(report.freed_bytes);
    }

    /// Entries of the audit log were `written`, `dropped` or `purged`.
    pub fn audit_entries(&self, result: &'static str, count: u64) {
        self.audit_entries
            .get_or_create_owned(&AuditResult { result })
            .inc_by(count);
    }

    /// Everything, in the OpenMetrics text form that Prometheus reads ([`Metrics::CONTENT_TYPE`]).
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail; an empty page would be the honest answer if it did.
        if text::encode(&mut out, &self.registry).is_err() {
            out.clear();
        }
        out
    }

    /// The media type of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("sessions", &self.sessions.get())
            .field("calls_in_flight", &self.calls_in_flight.get())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_route_and_outcome() {
        let metrics = Metrics::new();
        metrics.call_started();
        metrics.call_started();
        metrics.call_finished("claim", "ok", 5_000_000, 0.2);
        let text = metrics.render();
        for line in [
            r#"bus_calls_total{route="claim",outcome="ok"} 1"#,
            r#"bus_call_payload_bytes_total{route="claim",outcome="ok"} 5000000"#,
            r#"bus_call_seconds_count{route="claim"} 1"#,
            "bus_calls_in_flight 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn two_daemons_in_one_process_do_not_mix() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.sessions(2);
        assert_eq!((one.open_sessions(), other.open_sessions()), (2, 0));
    }

    #[test]
    fn a_purge_is_counted_by_reason() {
        let metrics = Metrics::new();
        metrics.purged(&PurgeReport {
            expired: 3,
            freed_bytes: 4096,
            ..PurgeReport::default()
        });
        let text = metrics.render();
        assert!(text.contains(r#"bus_purged_messages_total{reason="expired"} 3"#));
        assert!(text.contains("bus_purged_bytes_total 4096"));
    }
}
