//! The `bus` program: serve tools, call them, put and get payloads of any size.

mod allocator;
mod commands;
mod context;
mod exit;
mod file;
mod flags;
mod interrupt;
mod logging;
mod output;
mod progress;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;
use tracing_subscriber::filter::LevelFilter;

use crate::{
    context::Context,
    exit::{Exit, is_broken_pipe},
    flags::{Cli, Command},
    logging::Logging,
};

/// How long an interrupted verb may take to leave nothing half-written behind.
const CLEAN_UP: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    // Usage errors end here with 2, help and version with 0.
    let cli = Cli::parse();
    if matches!(cli.command, Command::Serve(_)) {
        allocator::hold_threshold();
    }
    let output = context::output_of(&cli.global);
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let ended = runtime.block_on(run(cli));
            // A read of stdin cannot be called back; nothing waits for it.
            runtime.shutdown_background();
            ended
        });
    match ended {
        Ok(()) => Exit::Ok.into(),
        // Whoever read our output had enough.
        Err(error) if is_broken_pipe(&error) => Exit::Ok.into(),
        Err(error) => output.error(&error).into(),
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { global, command } = cli;
    let (quiet, verbose) = (global.quiet, global.verbose);
    let usual = match command {
        Command::Serve(_) => LevelFilter::INFO,
        Command::Demo(_) => LevelFilter::ERROR,
        _ => LevelFilter::WARN,
    };
    let level = Logging::level(usual, quiet, verbose);
    match command {
        Command::Completions(flags) => commands::completions::run(&flags),
        Command::Demo(flags) => {
            // Looks at no environment but where the project is, so that it is the same everywhere.
            let format = global.log_format.unwrap_or_default();
            Logging {
                format,
                level,
                environment: false,
            }
            .install();
            let stop = interrupt::watch()?;
            let work = commands::demo::run(context::output_of(&global), &global, &flags, &stop);
            interrupt::guard(&stop, commands::demo::clean_up(&global), work).await
        }
        command => {
            let stop = interrupt::watch()?;
            let context = Context::new(global, stop.clone())?;
            Logging {
                format: context.log_format()?,
                level,
                environment: true,
            }
            .install();
            let clean_up = match command {
                // Finishes what is in flight, in a time of its own.
                Command::Serve(_) => Duration::MAX,
                Command::Put(_)
                | Command::Get(_)
                | Command::Call(_)
                | Command::History(_)
                | Command::Doctor(_) => CLEAN_UP,
                _ => Duration::ZERO,
            };
            interrupt::guard(&stop, clean_up, dispatch(&context, command)).await
        }
    }
}

async fn dispatch(context: &Context, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(flags) => commands::serve::run(context, flags).await,
        Command::Call(flags) => commands::call::run(context, &flags).await,
        Command::Put(flags) => commands::put::run(context, flags).await,
        Command::Get(flags) => commands::get::run(context, flags).await,
        Command::Ls(flags) => commands::ls::run(context, &flags).await,
        Command::Show(flags) => commands::show::run(context, &flags).await,
        Command::Rm(flags) => commands::rm::run(context, &flags).await,
        Command::Purge(flags) => commands::purge::run(context, &flags).await,
        Command::Audit(flags) => commands::audit::run(context, &flags).await,
        Command::History(command) => commands::history::run(context, command).await,
        Command::Prefs(command) => commands::prefs::run(context, command).await,
        Command::Migrate(flags) => commands::migrate::run(context, &flags).await,
        Command::Stats => commands::stats::run(context).await,
        Command::Verify => commands::verify::run(context).await,
        Command::Doctor(flags) => commands::doctor::run(context, &flags).await,
        // These two look at no settings and ran before.
        Command::Demo(_) | Command::Completions(_) => Ok(()),
    }
}
