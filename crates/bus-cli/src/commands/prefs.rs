//! `bus prefs`: preferences, JSON values by name.

use std::sync::Arc;

use bus_model::Principal;
use bus_store::records::{
    Preference, PreferenceQuery, PreferenceValue, Preferences, TIMEZONE, check_preference,
};
use serde::Serialize;

use super::show::time;
use crate::{
    context::Context,
    exit::Failure,
    flags::{PrefsCommand, PrefsNameFlags, PrefsRmFlags, PrefsSetFlags},
};

/// How much of a value a listing shows, in characters.
const SHOWN: usize = 60;

/// Runs the verb.
///
/// # Errors
/// Where the store cannot be used, the value is not legal, or there is no such preference.
pub(crate) async fn run(context: &Context, command: PrefsCommand) -> anyhow::Result<()> {
    let client = context.store_only("prefs")?;
    let open = || async {
        let prefs = client.records().await?.preferences;
        let me = client.principal().clone();
        anyhow::Ok(Mine { prefs, me })
    };
    match command {
        PrefsCommand::Get(flags) => open().await?.get(context, &flags).await,
        PrefsCommand::Set(flags) => {
            let value = value(&flags)?;
            open().await?.set(context, &flags, &value).await
        }
        PrefsCommand::Rm(flags) => open().await?.rm(context, &flags).await,
        PrefsCommand::Ls => open().await?.ls(context).await,
    }
}

/// What is to be set, checked before a store is opened.
fn value(flags: &PrefsSetFlags) -> anyhow::Result<PreferenceValue> {
    let bare = flags.name.as_str() == TIMEZONE && !flags.value.trim_start().starts_with('"');
    let usage = |text: String| anyhow::Error::from(Failure::usage(text));
    let value = if flags.text || bare {
        PreferenceValue::text(&flags.value).map_err(|error| usage(error.to_string()))
    } else {
        PreferenceValue::new(flags.value.as_str())
            .map_err(|error| usage(format!("{error} (--text adds them)")))
    }?;
    check_preference(&flags.name, &value).map_err(|error| usage(error.to_string()))?;
    Ok(value)
}

struct Mine {
    prefs: Arc<dyn Preferences>,
    me: Principal,
}

impl Mine {
    async fn get(&self, context: &Context, flags: &PrefsNameFlags) -> anyhow::Result<()> {
        let preference = self.prefs.get(&self.me, &flags.name).await?;
        if context.output.json {
            return Ok(context.output.json(&preference)?);
        }
        Ok(context.output.line(&preference.value)?)
    }

    async fn set(
        &self,
        context: &Context,
        flags: &PrefsSetFlags,
        value: &PreferenceValue,
    ) -> anyhow::Result<()> {
        let updated_at = self.prefs.set(&self.me, &flags.name, value).await?;
        if context.output.json {
            let preference = Preference {
                name: flags.name.clone(),
                value: value.clone(),
                updated_at,
            };
            return Ok(context.output.json(&preference)?);
        }
        context.output.note(format!("set {}", flags.name));
        Ok(())
    }

    /// A preference that cannot be removed does not keep the others.
    async fn rm(&self, context: &Context, flags: &PrefsRmFlags) -> anyhow::Result<()> {
        let mut removed = Vec::new();
        let mut first_error = None;
        for name in &flags.names {
            match self.prefs.delete(&self.me, name).await {
                Ok(()) => {
                    context.output.note(format!("removed {name}"));
                    removed.push(name);
                }
                Err(error) if first_error.is_none() => first_error = Some(error),
                Err(error) => context.output.note(format!("{error:#}")),
            }
        }
        if context.output.json {
            let report = serde_json::json!({ "removed": removed });
            context.output.json(&report)?;
        }
        first_error.map_or(Ok(()), |error| Err(error.into()))
    }

    async fn ls(&self, context: &Context) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Listed {
            preferences: Vec<Preference>,
        }
        let mut preferences = Vec::new();
        let mut query = PreferenceQuery::new(self.me.clone());
        loop {
            let page = self.prefs.list(&query).await?;
            preferences.extend(page.preferences);
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        if context.output.json {
            return Ok(context.output.json(&Listed { preferences })?);
        }
        if preferences.is_empty() {
            context.output.note("no preferences");
            return Ok(());
        }
        let mut table = context.output.table();
        table.set_header(["NAME", "VALUE", "UPDATED"]);
        for preference in &preferences {
            table.add_row([
                preference.name.to_string(),
                shown(preference.value.as_json()),
                time(preference.updated_at),
            ]);
        }
        Ok(context.output.line(table.trim_fmt())?)
    }
}

/// The beginning of a value, on one line.
fn shown(json: &str) -> String {
    let mut start: String = json
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if json.chars().nth(SHOWN).is_some() {
        start.push('…');
    }
    start
}
