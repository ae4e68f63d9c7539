//! `bus demo`: shows what bus does, on a fresh store and a free port, and checks every byte of it.
//!
//! Everything is real: the daemon, the WebSocket, the store, the files. Nothing is looked at in the
//! environment, except where the Supabase project is with `--store supabase`, and nothing is left
//! behind.

mod input;
mod place;
mod report;
mod rows;
mod stage;

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::{
    commands::demo::{place::Place, report::Report, stage::Stage},
    exit::{Exit, Failure},
    flags::{DemoFlags, GlobalFlags, StoreFlag},
    output::Output,
    progress,
};

/// How long calls of an ended row may go on.
const GRACE: Duration = Duration::from_secs(5);
/// The same after a Ctrl-C.
const SHORT_GRACE: Duration = Duration::from_secs(1);

/// How long an interrupted demo may take to leave nothing behind: files go at once, messages in a
/// project have to be removed by calls.
pub(crate) fn clean_up(global: &GlobalFlags) -> Duration {
    match global.store {
        Some(StoreFlag::Supabase) => Duration::from_secs(10),
        _ => Duration::ZERO,
    }
}

/// Runs the verb; where `stop` is cancelled, it only cleans up.
///
/// # Errors
/// Where the stage cannot be set, or a row was not what it should be.
pub(crate) async fn run(
    output: Output,
    global: &GlobalFlags,
    flags: &DemoFlags,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let place = Place::of(global)?;
    let spinner = progress::spinner(output);
    spinner.set_message("making files");
    let stage = Stage::set(flags, &place).await?;
    let mut rows = Vec::new();
    for step in rows::Step::ALL {
        spinner.set_message(step.title());
        tokio::select! {
            row = rows::play(step, &stage) => rows.push(row),
            () = stop.cancelled() => {
                stage.clear(SHORT_GRACE).await?;
                return Err(Failure::interrupted().into());
            }
        }
    }
    spinner.finish_and_clear();
    let input = stage.files.input.clone();
    let cleared = stage.clear(GRACE).await;
    let report = Report {
        store: place,
        rows,
        input,
        elapsed: start.elapsed(),
    };
    report.print(output)?;
    cleared?;
    match report.is_ok() {
        true => Ok(()),
        false => Err(Failure::new(Exit::Error, "the demo did not go as it should").into()),
    }
}
