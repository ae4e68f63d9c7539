//! The history of a database: the table of the Supabase CLI, read and written as it does.
//!
//! A project's own migrations stand in the same table. They are none of ours: passed over, and never touched.

use tokio_postgres::Error;

use crate::{
    MigrateError, Step,
    database::{Database, literal},
    step::MARK,
};

/// What this build knows of `bus_internal.schema_version()`.
pub const SCHEMA_VERSION: u32 = 1;

const TABLE: &str = "supabase_migrations.schema_migrations";

/// The table as the Supabase CLI makes it, column by column as it grew.
const ENSURE: &str = "
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
";

/// Whether the table is there with all its columns.
const IS_THERE: &str = "
select count(*) = 3 from pg_catalog.pg_attribute
where attrelid = pg_catalog.to_regclass('supabase_migrations.schema_migrations')
  and attname in ('version', 'statements', 'name') and not attisdropped";

/// Where each step of ours stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// The database has it.
    AlreadyThere,
    /// The database does not have it.
    ToApply,
}

/// What the database has and what it lacks.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Every step of this build, in order.
    pub steps: Vec<(&'a Step, StepState)>,
    /// Migrations of the project's own in the same history.
    pub others: usize,
}

impl<'a> Plan<'a> {
    /// The steps that the database lacks, in order.
    pub fn to_apply(&self) -> impl Iterator<Item = &'a Step> {
        self.steps
            .iter()
            .filter(|(_, state)| *state == StepState::ToApply)
            .map(|(step, _)| *step)
    }
}

/// A row of the history.
struct Row {
    version: String,
    name: String,
    /// What it says was executed; `None` where it does not say.
    recorded: Option<String>,
    /// Whether it bears the mark of a step of bus.
    is_marked: bool,
}

/// Compares the history with `steps`; changes nothing.
pub(crate) async fn plan<'a>(
    database: &Database,
    steps: &'a [Step],
) -> Result<Plan<'a>, MigrateError> {
    let rows = read(database, steps)
        .await
        .map_err(|error| database.error("reading the history of migrations", error))?;
    refuse_newer(database, &rows, steps).await?;
    let mut plan = Plan {
        steps: Vec::with_capacity(steps.len()),
        others: rows.iter().filter(|row| !is_ours(row, steps)).count(),
    };
    for step in steps {
        let row = rows.iter().find(|row| row.version == step.version());
        if let Some(recorded) = row.and_then(|row| row.recorded.as_deref())
            && !step.is_recorded_as(recorded)
        {
            return Err(MigrateError::Changed {
                step: step.file_name(),
            });
        }
        let state = match row {
            Some(_) => StepState::AlreadyThere,
            None => StepState::ToApply,
        };
        plan.steps.push((step, state));
    }
    for step in plan.to_apply() {
        refuse_foreign(database, step).await?;
    }
    Ok(plan)
}

fn is_ours(row: &Row, steps: &[Step]) -> bool {
    steps.iter().any(|step| step.version() == row.version)
}

async fn read(database: &Database, steps: &[Step]) -> Result<Vec<Row>, Error> {
    let there = format!("select pg_catalog.to_regclass('{TABLE}')");
    if database.value(&there).await?.is_none() {
        return Ok(Vec::new());
    }
    let ours: Vec<String> = steps.iter().map(|step| literal(step.version())).collect();
    // By way of JSON, since a table that an old CLI made may lack columns. The statements of others stay there.
    let rows = format!(
        "select j ->> 'version', coalesce(j ->> 'name', ''),
           case when j ->> 'version' in ({ours}) and jsonb_typeof(j -> 'statements') = 'array' then
             (select string_agg(t, E';\\n' order by n) from jsonb_array_elements_text(j -> 'statements')
               with ordinality as e (t, n)) end,
           coalesce(strpos(j #>> '{{statements,0}}', {mark}), 0) = 1
         from (select to_jsonb(m) as j from {TABLE} m) as h order by 1",
        ours = ours.join(", "),
        mark = literal(MARK),
    );
    let read = |row: &tokio_postgres::SimpleQueryRow| Row {
        version: row.get(0).unwrap_or_default().to_owned(),
        name: row.get(1).unwrap_or_default().to_owned(),
        recorded: row
            .get(2)
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
        is_marked: row.get(3) == Some("t"),
    };
    Ok(database.rows(&rows).await?.iter().map(read).collect())
}

/// Refuses a database that a newer build has migrated.
async fn refuse_newer(
    database: &Database,
    rows: &[Row],
    steps: &[Step],
) -> Result<(), MigrateError> {
    let unknown: Vec<String> = rows
        .iter()
        .filter(|row| row.is_marked && !is_ours(row, steps))
        .map(|row| format!("{}_{}", row.version, row.name))
        .collect();
    if !unknown.is_empty() {
        return Err(MigrateError::Newer {
            found: unknown.join(", "),
        });
    }
    let doing = "asking for the version of the schema";
    let is_there = database
        .value("select pg_catalog.to_regprocedure('bus_internal.schema_version()')")
        .await
        .map_err(|error| database.error(doing, error))?;
    if is_there.is_none() {
        return Ok(());
    }
    let version = database
        .value("select bus_internal.schema_version()")
        .await
        .map_err(|error| database.error(doing, error))?;
    match version.and_then(|text| text.parse::<u32>().ok()) {
        Some(version) if version > SCHEMA_VERSION => Err(MigrateError::Newer {
            found: format!("schema version {version}, this build knows {SCHEMA_VERSION}"),
        }),
        _ => Ok(()),
    }
}

/// Refuses to build upon a table of somebody else: `create table if not exists` would pass over it in silence.
async fn refuse_foreign(database: &Database, step: &Step) -> Result<(), MigrateError> {
    for table in created_tables(step.sql()) {
        let foreign = format!(
            "select c.oid::regclass from pg_catalog.pg_class c
             where c.oid = pg_catalog.to_regclass({})
               and coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), '') not like 'bus:%'",
            literal(table)
        );
        let found = database
            .value(&foreign)
            .await
            .map_err(|error| database.error("looking for tables of the same name", error))?;
        if found.is_some() {
            return Err(MigrateError::Foreign {
                table: table.to_owned(),
                step: step.file_name(),
            });
        }
    }
    Ok(())
}

/// The tables that these statements make. All of ours get a comment that begins with `bus:`.
fn created_tables(sql: &str) -> impl Iterator<Item = &str> {
    sql.lines()
        .filter_map(|line| line.strip_prefix("create table if not exists "))
        .filter_map(|rest| rest.split([' ', '(']).next())
}

/// Makes the table where it is not there, and tells whether it holds `step`; inside the transaction of the step.
pub(crate) async fn has(database: &Database, step: &Step) -> Result<bool, Error> {
    if database.value(IS_THERE).await?.as_deref() != Some("t") {
        database.execute(ENSURE).await?;
    }
    let version = literal(step.version());
    let row = format!("select 1 from {TABLE} where version = {version}");
    Ok(database.value(&row).await?.is_some())
}

/// Writes the row of `step`, as the Supabase CLI does.
pub(crate) async fn record(database: &Database, step: &Step) -> Result<(), Error> {
    database
        .execute(&format!(
            "insert into {TABLE} (version, name, statements) values ({}, {}, array[{}])",
            literal(step.version()),
            literal(step.name()),
            literal(step.recorded()),
        ))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_tables_are_found() {
        let sql = "create table if not exists public.a (\n  x int);\n  create table no (y int);\ncreate table if not exists b(z int);";
        assert_eq!(created_tables(sql).collect::<Vec<_>>(), ["public.a", "b"]);
    }
}
