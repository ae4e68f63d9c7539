//! `bus demo`: shows what bus does, on a fresh store and a free port, and checks every byte of it.
//!
//! Everything is real: the daemon, the WebSocket, the store on disk, the files. Nothing is looked
//! at in the environment and nothing is left behind.

mod input;
mod report;
mod rows;
mod stage;

use std::time::Instant;

use crate::{
    commands::demo::{report::Report, stage::Stage},
    exit::{Exit, Failure},
    flags::DemoFlags,
    output::Output,
    progress,
};

/// Runs the verb.
///
/// # Errors
/// Where the stage cannot be set, or a row was not what it should be.
pub(crate) async fn run(output: Output, flags: &DemoFlags) -> anyhow::Result<()> {
    let start = Instant::now();
    let spinner = progress::spinner(output);
    spinner.set_message("making files");
    let stage = Stage::set(flags).await?;
    let mut rows = Vec::new();
    for step in rows::Step::ALL {
        spinner.set_message(step.title());
        rows.push(rows::play(step, &stage).await);
    }
    spinner.finish_and_clear();
    let input = stage.files.input.clone();
    stage.clear().await?;
    let report = Report {
        rows,
        input,
        elapsed: start.elapsed(),
    };
    report.print(output)?;
    match report.is_ok() {
        true => Ok(()),
        false => Err(Failure::new(Exit::Error, "the demo did not go as it should").into()),
    }
}
