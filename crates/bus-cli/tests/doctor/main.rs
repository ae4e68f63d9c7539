//! `bus doctor` as its users meet it: the real program, beside real projects, healthy and broken.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broken;
mod embedded;
mod faults;
mod healthy;
mod refused;
#[path = "../support/mod.rs"]
mod support;

use std::process::Command;

use bus_testkit::Project;
use serde_json::Value;

use crate::support::{Place, Ran, finish};

/// The program, with this project and its secret key in its environment.
fn doctor(place: &Place, project: &Project, args: &[&str]) -> Command {
    with_key(place, project.url(), project.secret_key(), args)
}

fn with_key(place: &Place, url: &str, key: &str, args: &[&str]) -> Command {
    let mut command = place.bus(["doctor"]);
    command
        .args(args)
        .env("MESSAGE_BUS_ENABLED", "true")
        .env("SUPABASE_URL", url)
        .env("SUPABASE_KEY", key);
    command
}

/// Runs it beside the runtime, which the gateway of the project needs.
async fn run(mut command: Command) -> Ran {
    tokio::task::spawn_blocking(move || finish(&mut command))
        .await
        .unwrap()
}

/// What it says with `--json --quick` of this project.
async fn quick(project: &Project) -> Ran {
    run(doctor(&Place::new(), project, &["--json", "--quick"])).await
}

/// One line of the report.
#[track_caller]
fn line(ran: &Ran, name: &str) -> Value {
    let report = ran.json();
    let lines = report["lines"].as_array().unwrap();
    let found = lines.iter().find(|line| line["name"] == name);
    found
        .unwrap_or_else(|| panic!("no line {name}\n{}", ran.shown()))
        .clone()
}

/// Panics unless the line of this name ended so and holds `part`; gives it.
#[track_caller]
fn says(ran: &Ran, name: &str, status: &str, part: &str) -> Value {
    let line = line(ran, name);
    assert_eq!(line["status"], status, "{line:#}\n{}", ran.stderr);
    assert!(
        line.to_string().contains(part),
        "{part:?} is missing in {line:#}"
    );
    line
}
