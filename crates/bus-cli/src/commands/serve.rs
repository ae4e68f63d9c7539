//! `bus serve`: runs the daemon until Ctrl-C or SIGTERM.

use std::time::Duration;

use bus_client::{
    MessageBusClient,
    settings::{Settings, StoreSpec},
};
use bus_daemon::{Daemon, DaemonConfig, DaemonError};

use crate::{context::Context, exit::Failure, flags::ServeFlags, output::with_causes};

/// Runs the verb.
///
/// # Errors
/// Where a setting is not legal, the store cannot be opened or the address cannot be listened on.
pub(crate) async fn run(context: &Context, flags: ServeFlags) -> anyhow::Result<()> {
    context.no_url("serve")?;
    let config = config(context, &flags)?;
    let client = client(context, &flags)?;
    check_store(&client).await?;
    let daemon = Daemon::builder()
        .config(config)
        .client(client)
        .bind()
        .await
        .map_err(refused)?;
    let address = daemon.local_addr();
    if context.output.json {
        context.output.json(&serde_json::json!({
            "address": address.to_string(),
            "url": format!("http://{address}"),
            "websocket": format!("ws://{address}"),
        }))?;
    } else {
        context
            .output
            .line(format!("listening on ws://{address} and http://{address}"))?;
    }
    daemon
        .run_until(context.stop.clone().cancelled_owned())
        .await;
    context.output.note("stopped");
    Ok(())
}

fn config(context: &Context, flags: &ServeFlags) -> anyhow::Result<DaemonConfig> {
    let default = DaemonConfig::default();
    let mut limits = default.limits.clone();
    if let Some(bytes) = max_message(context)? {
        limits.max_inbound_message = bytes;
    }
    let purge = match flags.purge_secs {
        Some(secs) => Some(secs),
        None => purge_secs(context)?,
    };
    let audit = match flags.audit_days {
        Some(days) => Some(days),
        None => audit_days(context)?,
    };
    Ok(DaemonConfig {
        listen: match flags.listen {
            Some(address) => address,
            None => context.listen()?.unwrap_or(default.listen),
        },
        token: context.token()?,
        root: flags.root.clone().or_else(|| context.path("BUS_ROOT")),
        tools_file: flags.tools.clone().or_else(|| context.path("BUS_TOOLS")),
        allowed_origins: flags.allow_origin.clone(),
        allowed_hosts: flags.allow_host.clone(),
        limits,
        purge_interval: purge.map_or(default.purge_interval, Duration::from_secs),
        audit_kept: audit.map_or(default.audit_kept, |days: u32| {
            Duration::from_secs(u64::from(days) * 86_400)
        }),
        ..default
    })
}

/// The store of a daemon may be in memory, and `MESSAGE_BUS_ENABLED=false` counts: then a setting
/// of the bus that is not legal stops nobody who only wants inline delivery.
fn client(context: &Context, flags: &ServeFlags) -> anyhow::Result<MessageBusClient> {
    let mut settings = match context.settings() {
        Err(error) if context.is_disabled() => {
            tracing::warn!(%error, "the bus is disabled, so this setting is not looked at");
            Settings {
                enabled: Some(false),
                ..Settings::default()
            }
        }
        settings => settings?,
    };
    if let Some(bytes) = flags.threshold_bytes {
        settings.threshold_bytes = bytes;
    }
    let builder = MessageBusClient::builder();
    match context.store_spec(&settings) {
        Ok(spec) => {
            tell_store(context, &settings, &spec);
            Ok(builder.settings(settings).store_spec(spec).build())
        }
        // Whoever reads from it will be told.
        Err(_) if settings.enabled == Some(false) => Ok(builder.settings(settings).build()),
        Err(error) => Err(error),
    }
}

/// A misspelt variable selects another store than was meant, which nobody would notice otherwise.
fn tell_store(context: &Context, settings: &Settings, spec: &StoreSpec) {
    context.output.note(format!("storing in {spec}"));
    if settings.supabase.is_some() && settings.enabled.is_none() && !context.names_store() {
        context.output.warning(
            "SUPABASE_URL and SUPABASE_KEY are set, but not MESSAGE_BUS_ENABLED=true: Supabase is not used",
        );
    }
}

/// Before anybody is told that the daemon is there.
async fn check_store(client: &MessageBusClient) -> anyhow::Result<()> {
    match client.check().await {
        Err(error) if !client.is_enabled() => {
            let error = with_causes(&error);
            tracing::warn!(%error, "the bus is disabled, and its store cannot be used");
            Ok(())
        }
        checked => Ok(checked?),
    }
}

/// What the caller asked for is at fault, rather than the machine.
fn refused(error: DaemonError) -> anyhow::Error {
    match error {
        DaemonError::TokenNeeded { .. } | DaemonError::EmptyToken => {
            Failure::usage(error.to_string()).into()
        }
        error => error.into(),
    }
}

/// `WS_MAX_MSG_BYTES`.
///
/// # Errors
/// Where it is not legal.
pub(super) fn max_message(context: &Context) -> anyhow::Result<Option<usize>> {
    let sizes = "a number of bytes from 1024 up is expected";
    match context.parsed("WS_MAX_MSG_BYTES", sizes)? {
        Some(bytes) if bytes < 1024 => Err(Failure::usage(format!(
            "WS_MAX_MSG_BYTES=\"{bytes}\" is not allowed: {sizes}"
        ))
        .into()),
        bytes => Ok(bytes),
    }
}

/// `BUS_PURGE_SECS`.
///
/// # Errors
/// Where it is not legal.
pub(super) fn purge_secs(context: &Context) -> anyhow::Result<Option<u64>> {
    context.parsed(
        "BUS_PURGE_SECS",
        "a whole number of seconds is expected, 0 for never",
    )
}

/// `BUS_AUDIT_DAYS`.
///
/// # Errors
/// Where it is not legal.
pub(super) fn audit_days(context: &Context) -> anyhow::Result<Option<u32>> {
    context.parsed(
        "BUS_AUDIT_DAYS",
        "a whole number of days is expected, 0 for no audit log",
    )
}
