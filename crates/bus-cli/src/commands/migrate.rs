//! `bus migrate`: brings a database to the schema of this build.

use std::{io, path::Path};

use anyhow::Context as _;
use bus_migrations::{Database, DatabaseUrl, Migrator, Plan, Progress, Step, StepState, steps};
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::{
    context::Context,
    exit::{Exit, Failure},
    flags::MigrateFlags,
    output::Output,
};

/// Where the URL comes from without a flag.
const VARIABLE: &str = "SUPABASE_DB_URL";

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    server: String,
    dry_run: bool,
    steps: Vec<StepReport>,
    /// Migrations of the project's own in the same history.
    others: usize,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct StepReport {
    version: String,
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql: Option<String>,
}

impl StepReport {
    fn new(step: &Step, state: &'static str) -> Self {
        Self {
            version: step.version().to_owned(),
            name: step.name().to_owned(),
            state,
            ms: None,
            sql: None,
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// Of the first step that could not be applied; those before it stay.
pub(crate) async fn run(context: &Context, flags: &MigrateFlags) -> anyhow::Result<()> {
    context.no_store("migrate")?;
    if let Some(folder) = &flags.write {
        return write(context.output, folder).await;
    }
    let url = database_url(context, flags)?;
    let mut database = Database::connect(&url).await?;
    let migrator = Migrator::default();
    let warnings = if url.is_unchecked() {
        let warning = "the connection is encrypted at most, its certificate is not checked: add sslmode=verify-full and sslrootcert=FILE to the URL";
        vec![warning.to_owned()]
    } else {
        Vec::new()
    };
    for warning in &warnings {
        context.output.warning(warning);
    }
    let mut report = Report {
        server: url.to_string(),
        dry_run: flags.dry_run,
        steps: Vec::new(),
        others: 0,
        warnings,
    };
    if flags.dry_run {
        preview(
            context.output,
            &migrator.plan(&database).await?,
            &mut report,
        )?;
    } else {
        apply(context.output, &migrator, &mut database, &mut report).await?;
    }
    if context.output.json {
        context.output.json(&report)?;
    }
    Ok(())
}

fn database_url(context: &Context, flags: &MigrateFlags) -> anyhow::Result<DatabaseUrl> {
    let given = flags.database_url.clone();
    let Some(url) = given.or_else(|| context.secret(VARIABLE)) else {
        return Err(Failure::usage(format!(
            "no database is named: set {VARIABLE} to postgresql://USER:PASSWORD@HOST:PORT/DATABASE (a hosted project shows it under Connect), or use --database-url"
        ))
        .into());
    };
    Ok(url.expose_secret().parse()?)
}

/// Prints what would be done: on stdout, as SQL.
fn preview(output: Output, plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    report.others = plan.others;
    for (step, state) in &plan.steps {
        let (word, title) = match state {
            StepState::AlreadyThere => ("already_there", "already there"),
            StepState::ToApply => ("to_apply", "would apply"),
        };
        let mut line = StepReport::new(step, word);
        if *state == StepState::ToApply {
            line.sql = Some(step.sql().to_owned());
        }
        if !output.json {
            output.line(format!("-- {title}: {}", step.file_name()))?;
            if let Some(sql) = &line.sql {
                output.line(sql)?;
            }
        }
        report.steps.push(line);
    }
    let missing = plan.to_apply().count();
    output.note(format!(
        "{}: {missing} steps to apply; nothing was changed",
        report.server
    ));
    Ok(())
}

async fn apply(
    output: Output,
    migrator: &Migrator,
    database: &mut Database,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut printed = Ok(());
    let (lines, warnings) = (&mut report.steps, &mut report.warnings);
    let done = migrator
        .run(database, |progress| {
            let shown = show(output, &progress);
            // Whether anybody reads decides nothing about the database.
            printed = std::mem::replace(&mut printed, Ok(())).and(shown);
            note_down(&progress, lines, warnings);
        })
        .await?;
    report.others = done.others;
    output.note(format!(
        "{}: {} applied, {} already there",
        report.server,
        done.applied.len(),
        done.already_there.len()
    ));
    Ok(printed?)
}

fn show(output: Output, progress: &Progress<'_>) -> io::Result<()> {
    match progress {
        Progress::Applied(step, time) if !output.json => {
            let ms = time.as_millis();
            output.line(format!("applied        {} ({ms} ms)", step.file_name()))
        }
        Progress::AlreadyThere(step) if !output.json => {
            output.line(format!("already there  {}", step.file_name()))
        }
        Progress::Waiting(step) => {
            output.note(format!(
                "{} waits for tables that are in use",
                step.file_name()
            ));
            Ok(())
        }
        Progress::Warning(words) => {
            output.warning(words);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn note_down(progress: &Progress<'_>, lines: &mut Vec<StepReport>, warnings: &mut Vec<String>) {
    match progress {
        Progress::Applied(step, time) => {
            let mut line = StepReport::new(step, "applied");
            line.ms = Some(time.as_millis());
            lines.push(line);
        }
        Progress::AlreadyThere(step) => lines.push(StepReport::new(step, "already_there")),
        Progress::Warning(words) => warnings.push((*words).to_owned()),
        _ => {}
    }
}

/// Writes the steps as the Supabase CLI wants them.
async fn write(output: Output, folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    tokio::fs::create_dir_all(folder)
        .await
        .with_context(|| format!("{shown} cannot be made"))?;
    let mut lines = Vec::new();
    for step in steps() {
        let path = folder.join(step.file_name());
        let state = match tokio::fs::read(&path).await {
            Ok(there) if there == step.sql().as_bytes() => "already_there",
            Ok(_) => return Err(Failure::new(Exit::Error, format!(
                "{} is there with another text: a released step never changes; find out which of the two is right",
                path.display()
            )).into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tokio::fs::write(&path, step.sql())
                    .await
                    .with_context(|| format!("{} cannot be written", path.display()))?;
                "written"
            }
            Err(error) => {
                return Err(error).with_context(|| format!("{} cannot be read", path.display()));
            }
        };
        if !output.json {
            output.line(format!(
                "{:<13}  {}",
                state.replace('_', " "),
                path.display()
            ))?;
        }
        lines.push(StepReport::new(step, state));
    }
    if output.json {
        output.json(&serde_json::json!({"folder": shown.to_string(), "steps": lines}))?;
    }
    output.note("apply them with: supabase db push");
    Ok(())
}
