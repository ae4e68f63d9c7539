//! `cargo xtask migrate`: new steps of the database schema, and whether all of them are in order.
//!
//! What needs a server is tested in bus-migrations; this starts those tests.

use crate::workspace::{root, shell};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use std::fs;
use std::path::PathBuf;
use xshell::cmd;

/// The comment that every step begins with: by it an older build knows that a newer step is ours.
const MARK: &str = "-- bus: ";

/// What every step ends with: the REST server reads the schema anew.
const END: &str = "notify pgrst, 'reload schema';\n";

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make a file for a new step
    New {
        /// What it is about, such as `message_tags`
        name: String,
    },
    /// Check names and heads, that each step may run twice, and that schema.sql is their sum
    Check,
    /// Write schema.sql anew, and what `bus doctor` expects
    Schema,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.task {
        Task::New { name } => new(name),
        Task::Check => check(),
        Task::Schema => schema(),
    }
}

fn new(name: &str) -> Result<()> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || !name.chars().all(legal) {
        bail!("{name:?} is no name of a step: lower-case letters, digits and _ are expected");
    }
    let shell = shell()?;
    let now = cmd!(shell, "date -u +%Y%m%d%H%M%S").quiet().read()?;
    let stamp = after(&now, &steps()?);
    let path = root().join(format!("migrations/{stamp}_{name}.sql"));
    fs::write(&path, head(name)).with_context(|| format!("writing {}", path.display()))?;
    println!("{}", path.display());
    println!("then: cargo xtask migrate schema && cargo xtask migrate check");
    Ok(())
}

/// `now`, or right after the last step where that lies in the future.
fn after(now: &str, steps: &[(String, String)]) -> String {
    let last = steps
        .last()
        .and_then(|(file, _)| file.split('_').next()?.parse::<u64>().ok());
    let now = now.parse::<u64>().unwrap_or_default();
    last.map_or(now, |last| now.max(last + 1)).to_string()
}

fn head(name: &str) -> String {
    let words = name.replace('_', " ");
    format!(
        "{MARK}{words}: why it is needed, in a sentence.\n--\n\
         -- May run twice and beside writers: if [not] exists, or replace, no rewrite of a big table. Objects of ours are\n\
         -- commented 'bus: ...'. Ends with its grants: revoke all from public and anon, then grant what is needed.\n\n{END}"
    )
}

fn check() -> Result<()> {
    let problems = problems(&steps()?);
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} problems in migrations/", problems.len());
    }
    tests("every_step_may_run_twice", false)?;
    tests("schema_sql", false)?;
    inventory(false)
}

fn schema() -> Result<()> {
    tests("schema_sql_is_the_sum_of_the_steps", true)?;
    println!("migrations/schema.sql is the sum of the steps");
    inventory(true)?;
    println!("bus doctor expects what the steps make");
    Ok(())
}

/// What `bus doctor` compares a database with.
fn inventory(write: bool) -> Result<()> {
    let shell = shell()?;
    let mut command = cmd!(
        shell,
        "cargo test --quiet -p bus-store-supabase --test it expected_inventory"
    );
    if write {
        command = command.env("BUS_REWRITE_EXPECTED", "1");
    }
    command.quiet().run().map_err(Into::into)
}

/// Runs those tests of bus-migrations whose names hold `filter`.
fn tests(filter: &str, write: bool) -> Result<()> {
    let shell = shell()?;
    let mut command = cmd!(
        shell,
        "cargo test --quiet -p bus-migrations --test it {filter}"
    );
    if write {
        command = command.env("BUS_WRITE_SCHEMA", "1");
    }
    command.quiet().run().map_err(Into::into)
}

/// File names and texts of the steps, in order.
fn steps() -> Result<Vec<(String, String)>> {
    let folder = root().join("migrations");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.file_name().is_some_and(|name| name != "schema.sql"));
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text =
                fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            Ok((name, text))
        })
        .collect()
}

fn problems(steps: &[(String, String)]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut last = "";
    for (file, text) in steps {
        let (stamp, name) = file.split_once('_').unwrap_or((file, ""));
        let named = stamp.len() == 14
            && stamp.bytes().all(|b| b.is_ascii_digit())
            && name
                .strip_suffix(".sql")
                .is_some_and(|name| !name.is_empty());
        let mut complain = |what: &str| problems.push(format!("migrations/{file}: {what}"));
        if !named {
            complain("is not named YYYYMMDDHHMMSS_name.sql");
        }
        if stamp == last {
            complain("has the time of the step before it");
        }
        if !text.starts_with(MARK) {
            complain("does not begin with '-- bus: ' and its purpose");
        }
        if !text.ends_with(END) {
            complain("does not end with: notify pgrst, 'reload schema';");
        }
        last = stamp;
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(file: &str, text: &str) -> (String, String) {
        (file.to_owned(), text.to_owned())
    }

    #[test]
    fn a_new_step_is_in_order() {
        let there = [step("20300101000000_later.sql", "")];
        assert_eq!(after("20260101000000", &there), "20300101000001");
        assert_eq!(after("20310101000000", &there), "20310101000000");
        assert!(problems(&[step("20260101000000_x.sql", &head("x"))]).is_empty());
    }

    #[test]
    fn what_is_not_in_order_is_named() {
        let fine = step("20260101000000_a.sql", &head("a"));
        let twin = step("20260101000000_b.sql", &head("b"));
        let odd = step("notes.sql", "select 1;\n");
        let found = problems(&[fine, twin, odd]);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("_b.sql: has the time"), "{found:?}");
    }
}
