//! From what the database says of itself to lines: pure functions.

use bus_model::ByteSize;
use bus_store_supabase::diagnose::{
    Diagnosis, Difference, Expected, LastRun, Leftovers, Part, PurgeJob, Rows, Severity, Sizes,
    compare,
};

use crate::{
    commands::doctor::{
        line::Line,
        tools::{self, ToolCount},
    },
    exit::Exit,
};

pub(super) const VERSION: &str = "schema version";
pub(super) const SCHEMA: &str = "schema";
pub(super) const RIGHTS: &str = "rights";
pub(super) const PURGE: &str = "purge job";
pub(super) const MESSAGES: &str = "messages";
pub(super) const LEFTOVERS: &str = "leftovers";
pub(super) const SPACE: &str = "space";

const MIGRATE: &str = "run: bus migrate";
const OWN: &str =
    "the key is a user's token, which may not see that: ask with the project's secret key";

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// Hosted projects of the free plan become read-only at 500 MB.
const FREE_PLAN: u64 = 500_000_000;

/// The version of the schema beside the one that this build knows.
pub(super) fn version(found: Option<u32>, wanted: u32) -> Line {
    match found {
        Some(found) if found == wanted => {
            Line::ok(VERSION, format!("{found}, the one that this build knows"))
        }
        Some(found) if found > wanted => Line::failure(
            VERSION,
            format!("{found}; this build knows {wanted} and refuses a newer one"),
        )
        .advice("update bus on this machine"),
        Some(found) => {
            Line::failure(VERSION, format!("{found}; this build wants {wanted}")).advice(MIGRATE)
        }
        None => {
            Line::failure(VERSION, "the database does not say which version it has").advice(MIGRATE)
        }
    }
}

/// Whether the objects are there (first line), and who may do what with them (second).
pub(super) fn inventory(diagnosis: &Diagnosis, expected: &Expected, steps: &[&str]) -> [Line; 2] {
    let Some(found) = &diagnosis.inventory else {
        return [Line::skipped(SCHEMA, OWN), Line::skipped(RIGHTS, OWN)];
    };
    let found = match found.found() {
        Ok(found) => found,
        Err(error) => {
            let line = Line::failure(SCHEMA, format!("the database says: {error}")).advice(MIGRATE);
            return [
                line,
                Line::skipped(RIGHTS, "the inventory could not be made"),
            ];
        }
    };
    if diagnosis.schema_version > Some(expected.schema_version) {
        let why = "the schema is newer than this build";
        return [Line::skipped(SCHEMA, why), Line::skipped(RIGHTS, why)];
    }
    let (rights, objects): (Vec<_>, Vec<_>) = compare(&expected.inventory, found)
        .into_iter()
        .partition(Difference::is_about_rights);
    let count = |kind| expected.inventory.of_kind(kind).count();
    let whole = format!(
        "{} tables, {} columns, {} indexes and {} functions are as this build wants them",
        count("table"),
        count("column"),
        count("index"),
        count("function")
    );
    let safe = format!(
        "row level security is on for all {} tables, {} grants and {} policies are as they should be; anon may do nothing",
        count("row level security"),
        count("grant"),
        count("policy")
    );
    let lacks = lacks_steps(diagnosis, steps);
    [
        differences(SCHEMA, objects, whole, lacks),
        differences(RIGHTS, rights, safe, lacks),
    ]
}

/// Whether `bus migrate` would do anything: the history lacks steps, or there is none.
fn lacks_steps(diagnosis: &Diagnosis, steps: &[&str]) -> bool {
    match diagnosis.steps.as_ref().map(Part::found) {
        Some(Ok(applied)) => steps
            .iter()
            .any(|step| !applied.iter().any(|found| found == step)),
        _ => true,
    }
}

fn differences(name: &'static str, found: Vec<Difference>, fine: String, lacks: bool) -> Line {
    if found.is_empty() {
        return Line::ok(name, fine);
    }
    let failures = found
        .iter()
        .filter(|one| one.severity == Severity::Failure)
        .count();
    let summary = match found.as_slice() {
        [one] => one.sentence.clone(),
        many => format!("{} differences from what this build wants", many.len()),
    };
    let line = if failures > 0 {
        Line::failure(name, summary)
    } else {
        Line::warning(name, summary)
    };
    let advice = advice(&found, lacks);
    let line = match found.as_slice() {
        [_] => line,
        many => line.details(many.iter().map(|one| match &one.repair {
            Some(statement) => format!("{}: {statement}", one.sentence),
            None => one.sentence.clone(),
        })),
    };
    line.advice(advice)
}

fn advice(found: &[Difference], lacks: bool) -> String {
    let by_hand = match found {
        [Difference { repair: Some(statement), .. }] => format!("run: {statement}"),
        all if all.iter().all(|one| one.repair.is_some()) => {
            "run the statement behind each in the project's SQL editor".to_owned()
        }
        _ => "write the steps out (bus migrate --write DIR) and run those files with psql, in order; each may run again"
            .to_owned(),
    };
    if lacks {
        format!("run: bus migrate; should something stay, {by_hand}")
    } else {
        by_hand
    }
}

/// Whether what has expired goes away: by pg_cron, or by a daemon each `purge_secs` (0: never).
pub(super) fn purge(diagnosis: &Diagnosis, purge_secs: u64) -> Line {
    let Some(job) = &diagnosis.purge_job else {
        return Line::skipped(PURGE, OWN);
    };
    let job = match job.found() {
        Ok(job) => job,
        Err(error) => return Line::skipped(PURGE, format!("the database says: {error}")),
    };
    let daemon = if purge_secs == 0 {
        "BUS_PURGE_SECS=0: a daemon with these settings does not purge either".to_owned()
    } else {
        format!(
            "a daemon with these settings purges every {purge_secs} s while it runs (BUS_PURGE_SECS)"
        )
    };
    purge_job(job, diagnosis.server_ms).unwrap_or_else(|line| line.detail(daemon))
}

/// The job's line; as an error where the daemon has to do the work.
fn purge_job(job: &PurgeJob, now_ms: i64) -> Result<Line, Line> {
    let warning = |summary: &str, advice: &str| Line::warning(PURGE, summary).advice(advice);
    if !job.installed {
        return Err(if job.available {
            warning(
                "none: pg_cron is not installed in this database",
                "turn pg_cron on (hosted: Integrations, Cron) and run bus migrate again, or keep bus serve running",
            )
        } else {
            warning(
                "none: this server has no pg_cron",
                "keep bus serve running, or call bus purge from cron",
            )
        });
    }
    if !job.readable {
        return Err(warning(
            "pg_cron is there, but its tables may not be read by the owner of bus",
            "look into cron.job as its owner",
        ));
    }
    let Some(found) = &job.job else {
        return Err(warning("pg_cron is there, but no job bus-purge", MIGRATE));
    };
    if !found.active {
        return Err(warning(
            &format!("bus-purge ({}) is switched off", found.schedule),
            "run: update cron.job set active = true where jobname = 'bus-purge';",
        ));
    }
    Ok(last_run(&found.schedule, job.last.as_ref(), now_ms))
}

fn last_run(schedule: &str, last: Option<&LastRun>, now_ms: i64) -> Line {
    let Some(last) = last else {
        return Line::ok(
            PURGE,
            format!("bus-purge is scheduled ({schedule}) and has not run yet"),
        );
    };
    let when = match last.start_ms {
        Some(start) => format!("{} ago", duration(now_ms - start)),
        None => "just now".to_owned(),
    };
    if last.status.as_deref() == Some("failed") {
        return Line::failure(PURGE, format!("bus-purge failed {when}"))
            .details(last.message.clone())
            .advice("see cron.job_run_details; run bus purge until it works again");
    }
    let line = format!("bus-purge is scheduled ({schedule}) and ran last {when}");
    // Ours runs every five minutes; somebody may have chosen an hour, but hardly less than once a day.
    let late = if matches!(schedule, "*/5 * * * *" | "0 * * * *") {
        3 * HOUR
    } else {
        25 * HOUR
    };
    if last.start_ms.is_some_and(|start| now_ms - start > late) {
        return Line::warning(PURGE, line).advice(
            "see whether pg_cron runs (cron.job_run_details), and run bus purge meanwhile",
        );
    }
    Line::ok(PURGE, line)
}

/// Messages by status.
pub(super) fn messages(rows: &Part<Rows>, estimated: Option<u64>) -> Line {
    let rows = match rows.found() {
        Ok(rows) => rows,
        Err(error) => {
            return Line::failure(MESSAGES, format!("the database says: {error}")).advice(MIGRATE);
        }
    };
    let summary = format!(
        "{} complete, {} pending, {} given up, {} expired and not purged",
        rows.complete, rows.pending, rows.error, rows.expired
    );
    let bounded = (!rows.all).then(|| {
        let all = estimated
            .filter(|all| *all > rows.counted)
            .map(|all| format!(" of about {all}"));
        format!(
            "only the newest {} messages{} were counted, to keep the time bounded",
            rows.counted,
            all.unwrap_or_default()
        )
    });
    if rows.torn > 0 {
        return Line::failure(
            MESSAGES,
            format!(
                "{} complete messages have not the chunks that they should have",
                rows.torn
            ),
        )
        .detail(summary)
        .details(bounded)
        .advice("bus verify names them; delete them and publish them again")
        .exit(Exit::Mismatch);
    }
    Line::ok(MESSAGES, summary).details(bounded)
}

/// What should have been purged.
pub(super) fn leftovers(leftovers: &Part<Leftovers>, now_ms: i64) -> Line {
    let left = match leftovers.found() {
        Ok(left) => left,
        Err(error) => {
            return Line::failure(LEFTOVERS, format!("the database says: {error}")).advice(MIGRATE);
        }
    };
    let many = |count: u64| {
        if count > 10_000 {
            "more than 10000".to_owned()
        } else {
            count.to_string()
        }
    };
    let since = |ms: Option<i64>| ms.map_or(0, |ms| now_ms - ms);
    let mut late = Vec::new();
    if left.expired > 0 && since(left.expired_since_ms) > 3 * HOUR {
        late.push(format!(
            "{} messages have expired, the first {} ago",
            many(left.expired),
            duration(since(left.expired_since_ms))
        ));
    }
    if left.orphaned > 0 && since(left.orphaned_since_ms) > 3 * HOUR {
        late.push(format!(
            "{} uploads were abandoned, the first {} ago",
            many(left.orphaned),
            duration(since(left.orphaned_since_ms))
        ));
    }
    let stray = left.stray_chunks.unwrap_or_default();
    if stray > 0 {
        return Line::warning(LEFTOVERS, format!("{} chunks belong to no message", many(stray)))
            .details(late)
            .advice("run: delete from message_bus_chunks c where not exists (select from message_bus m where m.id = c.message_id);");
    }
    let summary = format!(
        "{} expired messages, {} abandoned uploads and {} given up ones wait for a purge",
        many(left.expired),
        many(left.orphaned),
        many(left.failed)
    );
    if late.is_empty() {
        Line::ok(LEFTOVERS, summary)
    } else {
        Line::warning(LEFTOVERS, summary)
            .details(late)
            .advice("run: bus purge; and see the line about the purge job")
    }
}

/// Who published.
pub(super) fn tools(rows: &Part<Rows>) -> Line {
    match rows.found() {
        Ok(rows) => {
            let counts: Vec<ToolCount> = rows
                .tools
                .iter()
                .map(|count| ToolCount {
                    tool: count.tool.chars().filter(|c| !c.is_control()).collect(),
                    messages: count.messages,
                    bytes: count.bytes,
                    stored_bytes: count.stored_bytes,
                })
                .collect();
            tools::line(&counts, rows.all)
        }
        Err(error) => Line::skipped(tools::NAME, format!("the database says: {error}")),
    }
}

/// How big the database is, and whether it takes writes.
pub(super) fn space(diagnosis: &Diagnosis, hosted: bool) -> Line {
    if diagnosis.read_only {
        return Line::failure(SPACE, "the database takes no writes")
            .detail("a hosted project does this when it is full, and a replica always")
            .advice("enlarge the disk, or purge over SQL (docs/supabase.md, Scheduling the purge)")
            .exit(Exit::TryAgain);
    }
    let Some(sizes) = &diagnosis.sizes else {
        return Line::skipped(SPACE, OWN);
    };
    let sizes: &Sizes = match sizes.found() {
        Ok(sizes) => sizes,
        Err(error) => return Line::skipped(SPACE, format!("the database says: {error}")),
    };
    let ours = sizes.tables.values().sum();
    let summary = format!(
        "the database has {}, {} of them of bus",
        size(sizes.database),
        size(ours)
    );
    if hosted && sizes.database > FREE_PLAN / 10 * 8 {
        return Line::warning(SPACE, summary)
            .detail("a project of the free plan becomes read-only at 500 MB")
            .advice("on the free plan: shorten MESSAGE_BUS_TTL_HOURS, purge, or upgrade");
    }
    Line::ok(SPACE, summary)
}

fn size(bytes: u64) -> String {
    ByteSize::new(bytes).unwrap_or_default().to_string()
}

/// A time for people, in its largest unit.
fn duration(ms: i64) -> String {
    match ms.max(0) {
        ms if ms < MINUTE => format!("{} s", ms / 1000),
        ms if ms < 2 * HOUR => format!("{} min", ms / MINUTE),
        ms if ms < 48 * HOUR => format!("{} h", ms / HOUR),
        ms => format!("{} days", ms / (24 * HOUR)),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
