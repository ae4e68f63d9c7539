//! `bus doctor`: whether messages can be published and read here, and what to do where not.
//!
//! Each check is a [`line::Line`]; what can be judged without I/O is a pure function with a table of tests. The order
//! is that in which one check rests on another, so that the first that failed is the cause to look at.

mod credentials;
mod embedded;
mod judge;
mod line;
mod project;
mod report;
mod round_trip;
mod settings;
mod timeouts;
mod tools;

use std::path::{Path, PathBuf};

use bus_client::{
    MessageBusClient,
    settings::{Settings, StoreSpec, SupabaseSettings},
};

use self::report::Report;
use super::serve;
use crate::{context::Context, exit::Failure, flags::DoctorFlags, output::with_causes};

/// The store that is examined.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selected {
    Embedded(PathBuf),
    Supabase(SupabaseSettings),
    Memory,
}

/// Runs the verb.
///
/// # Errors
/// A usage error for a store that cannot be examined; where a check failed, with the exit code of
/// the first.
pub(crate) async fn run(context: &Context, flags: &DoctorFlags) -> anyhow::Result<()> {
    context.no_daemon("doctor")?;
    let lookup = |name: &str| context.lookup(name);
    let selected = context.settings().and_then(|settings| {
        let selected = select(context, &settings)?;
        Ok((selected, settings))
    });
    let mut report = Report::new(context.output);
    let store = selected.as_ref().ok().map(|(store, _)| store);
    report.push(settings::enabled(&lookup, context.names_store(), store))?;
    report.push(settings::legal(&lookup, daemon_settings(context)))?;
    match selected {
        Ok((Selected::Embedded(dir), settings)) => {
            embedded(context, flags, &settings, &dir, &mut report).await?;
            report.finish("embedded")
        }
        Ok((Selected::Supabase(given), settings)) => {
            project::examine(context, flags, &settings, &given, &mut report).await?;
            report.finish("supabase")
        }
        Ok((Selected::Memory, _)) => Err(Failure::usage(
            "a store in memory ends with this command, so there is nothing to examine: use --store embedded:DIR or --store supabase",
        )
        .into()),
        Err(error) => {
            let told = report.failed("settings") || report.failed("enabled");
            report.push(settings::no_store(&error, told))?;
            report.finish("none")
        }
    }
}

fn select(context: &Context, settings: &Settings) -> anyhow::Result<Selected> {
    match context.store_spec(settings)? {
        StoreSpec::Embedded(dir) => Ok(Selected::Embedded(dir)),
        StoreSpec::Supabase(given) => Ok(Selected::Supabase(given)),
        StoreSpec::Memory => Ok(Selected::Memory),
        other => Err(Failure::usage(format!("bus doctor cannot examine {other:?}")).into()),
    }
}

/// What is wrong with the variables of the daemon.
fn daemon_settings(context: &Context) -> Vec<String> {
    let checks = [
        context.listen().err(),
        context.token().err(),
        context.log_format().err(),
        serve::purge_secs(context).err(),
        serve::audit_days(context).err(),
        serve::max_message(context).err(),
    ];
    let bad = checks.into_iter().flatten();
    bad.map(|error| with_causes(error.as_ref())).collect()
}

async fn embedded(
    context: &Context,
    flags: &DoctorFlags,
    settings: &Settings,
    dir: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    report.extend(embedded::before(dir, settings.max_payload.get()).await)?;
    let client = context.client_builder()?.build();
    let (store, lines) = embedded::inside(&client, flags.quick).await;
    report.extend(lines)?;
    let Some(store) = store else {
        let why = "the store does not open";
        return Ok(report.extend(embedded::unopened(why))?);
    };
    round_trips(context, flags, &client, report).await?;
    Ok(report.extend(embedded::content(store.as_ref(), dir).await)?)
}

async fn round_trips(
    context: &Context,
    flags: &DoctorFlags,
    client: &MessageBusClient,
    report: &mut Report,
) -> anyhow::Result<()> {
    if flags.quick {
        return Ok(report.extend(round_trip::skipped("--quick leaves it out"))?);
    }
    round_trip::run(client, &context.stop, |line| report.push(line)).await
}
