//! Applies steps: each in a transaction of its own, under one lock, without keeping writers waiting.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::{
    Error,
    error::{ErrorPosition, SqlState},
};

use crate::{Database, MigrateError, Plan, Step, StepState, error::cause, history, step::steps};

/// The number of the advisory lock, "busmigra" as bytes; held per transaction, so that it works behind any pooler.
const LOCK: i64 = 0x6275_736d_6967_7261;

/// Less than the server's deadlock_timeout (1 s): were a writer and a step to wait for each other, the step lets go
/// before the server looks for somebody to kill, which might be the writer.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// No statement of a step may take longer than this, in ms, whatever the role's own timeout is.
const LIMIT: u32 = 600_000;

/// How long a step is tried, and how long another runner is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes every table of ours that is there, in one order, at once: either all are had soon or none is.
const TAKE_TABLES: &str = "
do $$
declare
  ours text := (
    select string_agg(c.oid::regclass::text, ', ' order by c.relname)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'public' and c.relkind in ('r', 'p')
      and pg_catalog.obj_description(c.oid, 'pg_class') like 'bus:%');
begin
  if ours is not null then
    execute 'lock table ' || ours || ' in access exclusive mode';
  end if;
end $$";

/// Who keeps tables of ours, in words.
const HOLDERS: &str = "
select string_agg(distinct format('pid %s (%s, %s, for %s s)', a.pid, coalesce(nullif(a.application_name, ''), a.usename),
    coalesce(a.state, 'in a transaction'), extract(epoch from now() - a.xact_start)::bigint), ', ')
from pg_catalog.pg_locks l
  join pg_catalog.pg_class c on c.oid = l.relation
  join pg_catalog.pg_stat_activity a on a.pid = l.pid
where l.granted and l.pid <> pg_catalog.pg_backend_pid()
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
  and pg_catalog.obj_description(c.oid, 'pg_class') like 'bus:%'";

/// What happens while a database is migrated.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// The database has this step.
    AlreadyThere(&'a Step),
    /// This step was applied, in this time.
    Applied(&'a Step, Duration),
    /// This step waits for tables that are in use.
    Waiting(&'a Step),
    /// The server has something to say that somebody should read.
    Warning(&'a str),
}

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// File names of the steps that were applied.
    pub applied: Vec<String>,
    /// Migrations of the project's own in the same history.
    pub others: usize,
    /// File names of the steps that were there already.
    pub already_there: Vec<String>,
    /// What the server said that somebody should read, such as that no purge job could be scheduled.
    pub warnings: Vec<String>,
}

/// Brings databases to the schema of this build.
#[derive(Debug, Clone)]
pub struct Migrator {
    steps: Vec<Step>,
    lock_timeout: Duration,
    patience: Duration,
}

impl Default for Migrator {
    fn default() -> Self {
        Self::new(steps().to_vec())
    }
}

impl Migrator {
    /// Applies `steps`, which must be in the order of their versions.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        Self {
            steps,
            lock_timeout: LOCK_TIMEOUT,
            patience: PATIENCE,
        }
    }

    /// How long a step is tried, and another runner waited for. 60 s unless set.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What would be done; changes nothing.
    ///
    /// # Errors
    /// Where the database cannot be read, or is not as this build expects it.
    pub async fn plan(&self, database: &Database) -> Result<Plan<'_>, MigrateError> {
        refuse_old_server(database).await?;
        history::plan(database, &self.steps).await
    }

    /// Applies what is missing.
    ///
    /// Where the future is dropped, drop `database` as well: the step at hand is taken back and its locks are let go
    /// when the connection ends. The steps before it stay.
    ///
    /// # Errors
    /// Of the first step that could not be applied; nothing of it was, the steps before it were.
    pub async fn run(
        &self,
        database: &mut Database,
        mut tell: impl FnMut(Progress<'_>),
    ) -> Result<Report, MigrateError> {
        let plan = self.plan(database).await?;
        let mut report = Report {
            others: plan.others,
            ..Report::default()
        };
        for (step, state) in plan.steps {
            let applied = match state {
                StepState::AlreadyThere => None,
                StepState::ToApply => self.apply(database, step, &mut tell).await?,
            };
            // Those of an applied step; else there are none.
            warn(database, &mut report, &mut tell);
            if let Some(time) = applied {
                report.applied.push(step.file_name());
                tell(Progress::Applied(step, time));
            } else {
                report.already_there.push(step.file_name());
                tell(Progress::AlreadyThere(step));
            }
        }
        if let Some(why_not) = schedule_purge(database).await?
            && !report.warnings.contains(&why_not)
        {
            tell(Progress::Warning(&why_not));
            report.warnings.push(why_not);
        }
        Ok(report)
    }

    /// Applies one step, again and again where tables are in use; `None` where another runner was faster.
    async fn apply(
        &self,
        database: &mut Database,
        step: &Step,
        tell: &mut impl FnMut(Progress<'_>),
    ) -> Result<Option<Duration>, MigrateError> {
        let began = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            database.take_notices();
            let tried = Instant::now();
            let error = match self.attempt(database, step).await {
                Ok(Outcome::Applied) => return Ok(Some(tried.elapsed())),
                Ok(Outcome::AlreadyThere) => return Ok(None),
                Ok(Outcome::OtherRunner) => {
                    return Err(MigrateError::Busy {
                        waited_secs: began.elapsed().as_secs(),
                    });
                }
                Ok(Outcome::InUse(error)) => error,
                Err(error) if is_passing(&error) => error,
                Err(error) => return Err(step_error(database, step, error)),
            };
            if began.elapsed() + pause > self.patience {
                return Err(MigrateError::Locked {
                    step: step.file_name(),
                    waited_secs: began.elapsed().as_secs(),
                    holders: holders(database).await,
                    source: cause(error),
                });
            }
            tell(Progress::Waiting(step));
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// One try. After an error the transaction is over.
    async fn attempt(&self, database: &Database, step: &Step) -> Result<Outcome, Error> {
        let outcome = self.in_transaction(database, step).await;
        let end = match outcome {
            Ok(Outcome::Applied) => "commit",
            _ => "rollback",
        };
        let ended = database.execute(end).await;
        let outcome = outcome?;
        ended?;
        Ok(outcome)
    }

    async fn in_transaction(&self, database: &Database, step: &Step) -> Result<Outcome, Error> {
        let (patience, lock) = (
            self.patience.as_millis().max(1),
            self.lock_timeout.as_millis(),
        );
        database
            .execute(&format!(
                "begin; set local client_min_messages = notice; set local statement_timeout = {LIMIT};
                 set local lock_timeout = {patience}"
            ))
            .await?;
        let take = format!("select pg_catalog.pg_advisory_xact_lock({LOCK})");
        match database.execute(&take).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                return Ok(Outcome::OtherRunner);
            }
            taken => taken?,
        }
        database
            .execute(&format!("set local lock_timeout = {lock}"))
            .await?;
        if history::has(database, step).await? {
            return Ok(Outcome::AlreadyThere);
        }
        // A lock timeout is for each table; this one is for all of them together.
        database
            .execute(&format!("set local statement_timeout = {lock}"))
            .await?;
        match database.execute(TAKE_TABLES).await {
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                return Ok(Outcome::InUse(error));
            }
            taken => taken?,
        }
        database
            .execute(&format!("set local statement_timeout = {LIMIT}"))
            .await?;
        database.execute(step.sql()).await?;
        history::record(database, step).await?;
        Ok(Outcome::Applied)
    }
}

enum Outcome {
    Applied,
    AlreadyThere,
    OtherRunner,
    InUse(Error),
}

/// Passes on what somebody should read. "Already exists, skipping" is not among it.
fn warn(database: &mut Database, report: &mut Report, tell: &mut impl FnMut(Progress<'_>)) {
    for notice in database.take_notices() {
        let ours = notice.message.strip_prefix("bus: ");
        if ours.is_none() && notice.severity != "WARNING" {
            tracing::debug!(message = notice.message, "the server says");
            continue;
        }
        let words = ours.unwrap_or(&notice.message).to_owned();
        tell(Progress::Warning(&words));
        report.warnings.push(words);
    }
}

/// Sees to the purge job, each time: pg_cron may have been turned on meanwhile. Answers why there is none.
async fn schedule_purge(database: &Database) -> Result<Option<String>, MigrateError> {
    let doing = "scheduling the purge job";
    let there = "select pg_catalog.to_regprocedure('bus_internal.schedule_purge()')";
    let there = database
        .value(there)
        .await
        .map_err(|error| database.error(doing, error))?;
    if there.is_none() {
        return Ok(None);
    }
    let why_not = database.value("select bus_internal.schedule_purge()").await;
    why_not.map_err(|error| database.error(doing, error))
}

async fn refuse_old_server(database: &Database) -> Result<(), MigrateError> {
    let version = database
        .value("select current_setting('server_version') where current_setting('server_version_num')::integer < 150000")
        .await
        .map_err(|error| database.error("asking for the version of the server", error))?;
    version.map_or(Ok(()), |version| Err(MigrateError::OldServer { version }))
}

/// Whether the same step may succeed a moment later.
fn is_passing(error: &Error) -> bool {
    let Some(db) = error.as_db_error() else {
        return false;
    };
    let codes = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ];
    // Two that make or grant the same thing at once; the catalogs know no better code for it.
    codes.contains(db.code()) || db.message().starts_with("tuple concurrently")
}

async fn holders(database: &Database) -> String {
    // Only decoration: where it cannot be asked, the message goes without.
    match database.value(HOLDERS).await {
        Ok(Some(holders)) => format!("; in use by {holders}"),
        _ => String::new(),
    }
}

fn step_error(database: &Database, step: &Step, error: Error) -> MigrateError {
    let (user, name) = (database.user().to_owned(), step.file_name());
    let Some(db) = error.as_db_error() else {
        return database.error(&format!("applying {name}"), error);
    };
    let line = match db.position() {
        Some(ErrorPosition::Original(at)) => line_of(step.sql(), *at),
        _ => 0,
    };
    let text = db.message().to_lowercase();
    if *db.code() == SqlState::INSUFFICIENT_PRIVILEGE {
        let roles = text.contains("create role") || text.contains("bypassrls");
        let source = cause(error);
        return if roles {
            MigrateError::Roles {
                user,
                step: name,
                source,
            }
        } else {
            MigrateError::Forbidden {
                user,
                step: name,
                line,
                source,
            }
        };
    }
    if crate::database::is_lost(&error) {
        return database.error(&format!("applying {name}"), error);
    }
    MigrateError::Step {
        step: name,
        line,
        source: cause(error),
    }
}

/// The line, from 1, of the character `at`, from 1.
fn line_of(sql: &str, at: u32) -> usize {
    let before = usize::try_from(at).unwrap_or(usize::MAX).saturating_sub(1);
    1 + sql.chars().take(before).filter(|c| *c == '\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_line() {
        assert_eq!(line_of("a\nb\nc", 1), 1);
        assert_eq!(line_of("a\nb\nc", 3), 2);
        assert_eq!(line_of("a\nb\nc", 99), 3);
    }
}
