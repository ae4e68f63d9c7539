//! The project's own commands: what CI runs is exactly what a developer runs.
//!
//! One file a command; `main` only tells them apart.

#![expect(clippy::print_stdout, reason = "these commands talk to a person")]

mod bench;
mod ci;
mod counts;
mod each_feature;
mod fuzz;
mod install;
mod kill;
mod layers;
mod load;
mod migrate;
mod outside;
mod supabase;
mod tee;
mod tidy;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The tasks of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything a reviewer would run, with the time of each step
    Ci(ci::Options),
    /// Fail on a dependency between our crates that is not in the table
    Layers,
    /// Fail on what a reviewer would send back: stray files, left-overs, dead links
    Tidy,
    /// Benchmarks, in release
    Bench(bench::Options),
    /// The kill -9 tests, for as many rounds as asked
    Kill(kill::Options),
    /// Run the fuzz targets of the decoders
    Fuzz(fuzz::Options),
    /// Steps of the database schema: new, check, schema
    Migrate(migrate::Options),
    /// The servers of the tests, for a developer: up, down, status
    Supabase(supabase::Options),
    /// Build outside projects that depend on one of our crates each
    Outside,
}

fn main() -> ExitCode {
    match run(Xtask::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Ci(options) => ci::run(&options),
        Task::Layers => layers::run(),
        Task::Tidy => tidy::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Kill(options) => kill::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Migrate(options) => migrate::run(&options),
        Task::Supabase(options) => supabase::run(&options),
        Task::Outside => outside::run(),
    }
}
