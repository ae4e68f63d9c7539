//! The lines about a Supabase project: what is asked of it, and in which order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bus_client::{
    MessageBusClient,
    settings::{Settings, SupabaseSettings},
};
use bus_store::{StoreError, StoreErrorKind};
use bus_store_supabase::{
    ServerInfo, SupabaseConfig, SupabaseStore,
    diagnose::{Diagnosis, Expected, is_missing_function},
};
use chrono::{DateTime, Utc};

use crate::{
    commands::doctor::{
        credentials::{self, Credentials},
        judge,
        line::Line,
        report::Report,
        round_trip,
        timeouts::{self, Patience},
        tools,
    },
    context::Context,
    exit::{Exit, exit_of},
    flags::DoctorFlags,
    output::with_causes,
};

const REACHABLE: &str = "reachable";
const LATENCY: &str = "latency";
const CLOCK: &str = "clock";

/// How many calls are timed.
const CALLS: usize = 20;
/// How long the database may count messages.
const BUDGET: Duration = Duration::from_secs(2);
/// A call that takes longer makes small messages slow: each costs two to three.
const SLOW: Duration = Duration::from_millis(300);
/// A clock that is off by more makes tokens and times to live look wrong.
const SKEWED_MS: i64 = 5000;

/// All lines about the project.
///
/// # Errors
/// Where it was interrupted, or nothing can be printed.
pub(super) async fn examine(
    context: &Context,
    flags: &DoctorFlags,
    settings: &Settings,
    given: &SupabaseSettings,
    report: &mut Report,
) -> anyhow::Result<()> {
    let Some(config) = configuration(context, given, report)? else {
        return Ok(report.extend(unreached("address or key is not legal"))?);
    };
    let hosted = config.project_ref().is_some();
    let patience = Patience {
        small: config.call_time(0),
        largest: config.call_time(4 << 20),
    };
    let store = SupabaseStore::new(config)?;
    let began = Instant::now();
    let asked = store.info().await;
    let first = (began.elapsed(), Utc::now());
    let (line, reached) = reached(&asked);
    report.push(line)?;
    let Some(reached) = reached else {
        return Ok(report.extend(unreached("the project does not answer as it should"))?);
    };
    let Reached::Info(info) = reached else {
        let why = "the schema of bus is not there";
        report.push(
            Line::failure(judge::VERSION, "there is no schema of bus in this database")
                .advice("run: bus migrate"),
        )?;
        let rest = unreached(why)
            .into_iter()
            .filter(|line| line.name != judge::VERSION);
        return Ok(report.extend(rest)?);
    };
    report.extend(timed(&store, info, first, flags.quick).await)?;
    let expected = Expected::of_this_build()?;
    report.push(judge::version(
        Some(info.schema_version),
        expected.schema_version,
    ))?;
    let found = store
        .diagnose(Some(&expected.inventory.tables()), BUDGET)
        .await;
    let found = match found {
        Ok(found) => Some(found),
        Err(error) => {
            report.extend(undiagnosed(error))?;
            None
        }
    };
    if let Some(found) = &found {
        let steps: Vec<&str> = bus_migrations::steps()
            .iter()
            .map(bus_migrations::Step::version)
            .collect();
        report.extend(judge::inventory(found, expected, &steps))?;
        report.push(judge::purge(found, purge_secs(context)))?;
    }
    trips(context, flags, settings, store, report).await?;
    if let Some(found) = found {
        report.extend(content(&found, settings, patience, hosted))?;
    } else {
        let names = [
            judge::MESSAGES,
            judge::LEFTOVERS,
            tools::NAME,
            judge::SPACE,
            timeouts::NAME,
        ];
        report.extend(names.map(|name| Line::skipped(name, NOT_SAID)))?;
    }
    Ok(())
}

const NOT_SAID: &str = "the database does not say: see the line about the schema";

fn configuration(
    context: &Context,
    given: &SupabaseSettings,
    report: &mut Report,
) -> anyhow::Result<Option<SupabaseConfig>> {
    let project_id = context
        .lookup("SUPABASE_PROJECT_ID")
        .filter(|id| !id.trim().is_empty());
    let given = Credentials {
        url: &given.url,
        key: &given.key,
        token: given.token.as_ref(),
        project_id: project_id.as_deref(),
    };
    let (lines, config) = credentials::examine(given, Utc::now());
    report.extend(lines)?;
    Ok(config)
}

fn purge_secs(context: &Context) -> u64 {
    let set = context.parsed("BUS_PURGE_SECS", "a whole number of seconds is expected");
    set.ok().flatten().unwrap_or(3600)
}

/// What a first call found.
enum Reached<'a> {
    Info(&'a ServerInfo),
    /// The project is there, our functions are not.
    NoSchema,
}

/// The line, and what can be built on it.
fn reached(asked: &Result<ServerInfo, StoreError>) -> (Line, Option<Reached<'_>>) {
    let error = match asked {
        Ok(info) => {
            let whom = match &info.principal {
                None => "it lets the key act for everybody".to_owned(),
                Some(principal) => format!("it lets the key act for {principal}"),
            };
            return (
                Line::ok(REACHABLE, format!("the project answers, and {whom}")),
                Some(Reached::Info(info)),
            );
        }
        Err(error) => error,
    };
    let text = with_causes(error);
    if is_missing_function(error) {
        return (
            Line::ok(REACHABLE, "the project answers and takes the key"),
            Some(Reached::NoSchema),
        );
    }
    let line = match error.kind() {
        StoreErrorKind::Denied => Line::failure(REACHABLE, "the project answers, and refuses the key")
            .advice("take address and key from the same project; the dashboard shows both"),
        StoreErrorKind::Unavailable => Line::failure(REACHABLE, "the project cannot be reached")
            .advice("check SUPABASE_URL, this machine's network and proxy, and whether the project is paused"),
        StoreErrorKind::Timeout => Line::failure(REACHABLE, "the project does not answer in time")
            .advice("check the network, and the project's status and load in its dashboard"),
        _ => Line::failure(REACHABLE, "the project does not answer as one with bus should"),
    };
    (line.detail(text).exit(exit_of_store(error)), None)
}

fn exit_of_store(error: &StoreError) -> Exit {
    let again = StoreError::new(error.kind(), "");
    exit_of(&again.into())
}

/// Latency and clock.
async fn timed(
    store: &SupabaseStore,
    info: &ServerInfo,
    first: (Duration, DateTime<Utc>),
    quick: bool,
) -> Vec<Line> {
    let (took, at) = first;
    // The first call made the connection, too: its middle is a poor guess.
    let mut best = (took, skew(info.time, at, took));
    if quick {
        return vec![
            Line::skipped(LATENCY, "--quick leaves it out"),
            clock(best.1, best.0),
        ];
    }
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        match store.info().await {
            Ok(info) => {
                let took = began.elapsed();
                if took < best.0 {
                    best = (took, skew(info.time, Utc::now(), took));
                }
                times.push(took);
            }
            Err(error) => {
                let line = Line::failure(
                    LATENCY,
                    format!("call {} of {CALLS} failed", times.len() + 1),
                );
                let line = line.detail(with_causes(&error)).exit(exit_of_store(&error));
                return vec![line, clock(best.1, best.0)];
            }
        }
    }
    vec![latency(&mut times), clock(best.1, best.0)]
}

/// By how many ms the server's clock is ahead; it read it in the middle of the call.
fn skew(server: DateTime<Utc>, ended: DateTime<Utc>, took: Duration) -> i64 {
    let half = chrono::TimeDelta::from_std(took / 2).unwrap_or_default();
    (server - (ended - half)).num_milliseconds()
}

fn latency(times: &mut [Duration]) -> Line {
    times.sort();
    let at = |percent: usize| {
        times[(times.len() * percent)
            .div_ceil(100)
            .saturating_sub(1)
            .min(times.len() - 1)]
    };
    let shown = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    let (half, most) = (at(50), at(95));
    let line = format!(
        "p50 {}, p95 {} of {} calls",
        shown(half),
        shown(most),
        times.len()
    );
    if half > SLOW {
        return Line::warning(LATENCY, line)
            .detail("a small message costs one call to store and two to read")
            .advice("choose a region of Supabase near the daemon");
    }
    Line::ok(LATENCY, line)
}

fn clock(ahead_ms: i64, took: Duration) -> Line {
    let doubt = i64::try_from(took.as_millis() / 2).unwrap_or(i64::MAX);
    let summary = match ahead_ms {
        ms if ms.abs() <= doubt.max(100) => "this machine and the server agree".to_owned(),
        ms if ms > 0 => format!("the server is {ms} ms ahead of this machine"),
        ms => format!("the server is {} ms behind this machine", -ms),
    };
    if ahead_ms.abs() > SKEWED_MS.saturating_add(doubt) {
        return Line::warning(CLOCK, summary)
            .detail("times to live and leases are judged by the server; tokens may look expired here or there")
            .advice("set this machine's clock by NTP");
    }
    Line::ok(CLOCK, summary)
}

fn undiagnosed(error: StoreError) -> Vec<Line> {
    let missing = is_missing_function(&error);
    let line = if missing {
        Line::failure(
            judge::SCHEMA,
            "the function bus_doctor is missing, so the schema is not all there",
        )
        .advice("run: bus migrate")
    } else {
        Line::failure(judge::SCHEMA, "the database could not be examined")
            .detail(with_causes(&error))
            .exit(exit_of_store(&error))
    };
    vec![
        line,
        Line::skipped(judge::RIGHTS, NOT_SAID),
        Line::skipped(judge::PURGE, NOT_SAID),
    ]
}

async fn trips(
    context: &Context,
    flags: &DoctorFlags,
    settings: &Settings,
    store: SupabaseStore,
    report: &mut Report,
) -> anyhow::Result<()> {
    if flags.quick {
        return Ok(report.extend(round_trip::skipped("--quick leaves it out"))?);
    }
    let client = MessageBusClient::builder()
        .settings(settings.clone())
        .enabled(true)
        .store(Arc::new(store))
        .build();
    round_trip::run(&client, &context.stop, |line| report.push(line)).await
}

fn content(found: &Diagnosis, settings: &Settings, patience: Patience, hosted: bool) -> Vec<Line> {
    let sizes = found.sizes.as_ref().and_then(|sizes| sizes.found().ok());
    vec![
        judge::messages(&found.rows, sizes.map(|sizes| sizes.messages_estimated)),
        judge::leftovers(&found.leftovers, found.server_ms),
        judge::tools(&found.rows),
        judge::space(found, hosted),
        timeouts::line(&found.timeouts, patience, settings.breaker),
    ]
}

/// Every line that needs an answer of the project.
fn unreached(why: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let before = [
        LATENCY,
        CLOCK,
        judge::VERSION,
        judge::SCHEMA,
        judge::RIGHTS,
        judge::PURGE,
    ];
    lines.extend(before.map(|name| Line::skipped(name, why)));
    lines.extend(round_trip::skipped(why));
    let after = [
        judge::MESSAGES,
        judge::LEFTOVERS,
        tools::NAME,
        judge::SPACE,
        timeouts::NAME,
    ];
    lines.extend(after.map(|name| Line::skipped(name, why)));
    lines
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::commands::doctor::line::Status;

    #[rstest]
    #[case(&[1, 2, 3], Status::Ok, "p50 2.0 ms, p95 3.0 ms of 3 calls")]
    #[case(&[5], Status::Ok, "p50 5.0 ms, p95 5.0 ms of 1 calls")]
    #[case(&[400, 400, 1, 400], Status::Warning, "p50 400.0 ms")]
    fn latencies(#[case] ms: &[u64], #[case] status: Status, #[case] part: &str) {
        let mut times: Vec<Duration> = ms.iter().map(|ms| Duration::from_millis(*ms)).collect();
        let line = latency(&mut times);
        assert_eq!(line.status, status, "{line:?}");
        assert!(line.summary.contains(part), "{line:?}");
    }

    #[rstest]
    #[case(50, 10, Status::Ok, "agree")]
    #[case(-900, 10, Status::Ok, "900 ms behind")]
    #[case(1500, 4000, Status::Ok, "agree")]
    #[case(6000, 10, Status::Warning, "6000 ms ahead")]
    #[case(6000, 10_000, Status::Ok, "ahead")]
    fn clocks(#[case] ahead: i64, #[case] took: u64, #[case] status: Status, #[case] part: &str) {
        let line = clock(ahead, Duration::from_millis(took));
        assert_eq!(line.status, status, "{line:?}");
        assert!(line.summary.contains(part), "{line:?}");
    }

    #[test]
    fn the_server_reads_its_clock_in_the_middle_of_the_call() {
        let ended = DateTime::from_timestamp_millis(10_000).expect("a time");
        let server = DateTime::from_timestamp_millis(9_900).expect("a time");
        assert_eq!(skew(server, ended, Duration::from_millis(200)), 0);
    }

    #[rstest]
    #[case(StoreErrorKind::Denied, Exit::NotAuthorised, "refuses the key")]
    #[case(StoreErrorKind::Unavailable, Exit::TryAgain, "cannot be reached")]
    #[case(StoreErrorKind::Timeout, Exit::TryAgain, "in time")]
    #[case(StoreErrorKind::InvalidInput, Exit::Usage, "as one with bus should")]
    fn what_does_not_answer(#[case] kind: StoreErrorKind, #[case] exit: Exit, #[case] part: &str) {
        let asked = Err(StoreError::new(kind, "why"));
        let (line, reached) = reached(&asked);
        assert!(reached.is_none());
        assert_eq!(
            (line.status, line.exit),
            (Status::Failure, exit),
            "{line:?}"
        );
        assert!(
            line.summary.contains(part) && line.detail == ["why"],
            "{line:?}"
        );
    }
}
