//! The lines about settings: pure functions of what the variables say.

use bus_client::settings::{Settings, SettingsError};

use crate::{
    commands::doctor::{Selected, line::Line},
    exit::Exit,
    output::with_causes,
};

/// The variables of the client, in the order of docs/settings.md.
const VARIABLES: &[&str] = &[
    "MESSAGE_BUS_ENABLED",
    "MESSAGE_BUS_TTL_HOURS",
    "MESSAGE_BUS_MAX_PAYLOAD_MB",
    "MESSAGE_BUS_COMPRESSION",
    "MESSAGE_BUS_CHECKSUM_ENABLED",
    "BUS_THRESHOLD_BYTES",
    "BUS_LEASE_SECS",
    "CIRCUIT_BREAKER_ENABLED",
    "CIRCUIT_BREAKER_THRESHOLD",
    "CIRCUIT_BREAKER_TIMEOUT_SECS",
    "FALLBACK_TO_WEBSOCKET",
];

/// What is asked of the environment.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Whether messages are published, which store is selected, and why.
pub(super) fn enabled(lookup: Lookup<'_>, by_flag: bool, store: Option<&Selected>) -> Line {
    const NAME: &str = "enabled";
    let set = |name: &str| lookup(name).is_some_and(|value| !value.trim().is_empty());
    let store = match store {
        Some(store) => format!("the store is {}", store_name(store)),
        None => "the settings select no store".to_owned(),
    };
    let why = if by_flag { ", as --store says" } else { "" };
    let enabled = match alone("MESSAGE_BUS_ENABLED", lookup) {
        Ok(settings) => settings.enabled,
        Err(error) => {
            return Line::failure(NAME, error.to_string())
                .advice("set MESSAGE_BUS_ENABLED to true or false, or unset it")
                .exit(Exit::Usage);
        }
    };
    let supabase_is_set =
        set("SUPABASE_KEY") && (set("SUPABASE_URL") || set("SUPABASE_PROJECT_ID"));
    match enabled {
        Some(true) => Line::ok(NAME, format!("MESSAGE_BUS_ENABLED=true; {store}{why}")),
        Some(false) => Line::warning(NAME, format!("MESSAGE_BUS_ENABLED=false; {store}{why}"))
            .detail("the daemon and MessageBusClient::from_env publish nothing: a reply that is too big for its frame is refused")
            .advice("set MESSAGE_BUS_ENABLED=true to turn it on"),
        None if supabase_is_set && !by_flag => Line::warning(
            NAME,
            format!("MESSAGE_BUS_ENABLED is not set, so {store}, although Supabase is set up"),
        )
        .advice("set MESSAGE_BUS_ENABLED=true to use Supabase"),
        None => Line::ok(NAME, format!("MESSAGE_BUS_ENABLED is not set; {store}{why}"))
            .detail("bus serve and the other verbs work; MessageBusClient::from_env publishes only where it is true"),
    }
}

/// Whether each variable is legal by itself; `others` are what the daemon's variables say.
pub(super) fn legal(lookup: Lookup<'_>, others: Vec<String>) -> Line {
    const NAME: &str = "settings";
    let own = VARIABLES
        .iter()
        .filter_map(|name| alone(name, lookup).err());
    let bad: Vec<String> = own.map(|error| error.to_string()).chain(others).collect();
    match bad.as_slice() {
        [] => {
            let set = VARIABLES
                .iter()
                .filter(|name| lookup(name).is_some_and(|value| !value.trim().is_empty()));
            Line::ok(
                NAME,
                format!(
                    "all are legal; {} of {} are set",
                    set.count(),
                    VARIABLES.len()
                ),
            )
        }
        [one] => Line::failure(NAME, one.clone())
            .exit(Exit::Usage)
            .advice("correct it; docs/settings.md lists them all"),
        many => Line::failure(NAME, format!("{} are not legal", many.len()))
            .details(many.iter().cloned())
            .advice("correct them; docs/settings.md lists them all")
            .exit(Exit::Usage),
    }
}

/// The line for settings that name no store; `told` where a line before says why.
pub(super) fn no_store(error: &anyhow::Error, told: bool) -> Line {
    const NAME: &str = "store";
    if told {
        return Line::skipped(NAME, "a setting is not legal");
    }
    Line::failure(NAME, with_causes(error.as_ref()))
        .advice("correct the settings, or say --store embedded:DIR or --store supabase")
        .exit(Exit::Usage)
}

fn store_name(store: &Selected) -> String {
    match store {
        Selected::Embedded(dir) => format!("embedded, in {}", dir.display()),
        Selected::Memory => "in memory".to_owned(),
        Selected::Supabase(_) => "Supabase".to_owned(),
    }
}

/// The settings that one variable alone gives.
fn alone(name: &str, lookup: Lookup<'_>) -> Result<Settings, SettingsError> {
    Settings::from_lookup(|asked| (asked == name).then(|| lookup(asked)).flatten())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rstest::rstest;

    use super::*;
    use crate::commands::doctor::line::Status;

    fn lookup<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| {
            set.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        }
    }

    #[rstest]
    #[case(&[("MESSAGE_BUS_ENABLED", "true")], Status::Ok, "true; the store is embedded")]
    #[case(&[("MESSAGE_BUS_ENABLED", "off")], Status::Warning, "false; the store is embedded")]
    #[case(&[], Status::Ok, "not set; the store is embedded, in /s")]
    #[case(&[("MESSAGE_BUS_ENABLED", " ")], Status::Ok, "not set; the store is embedded")]
    #[case(&[("MESSAGE_BUS_ENABLED", "maybe")], Status::Failure, "\"maybe\" is not allowed")]
    #[case(&[("SUPABASE_URL", "https://x.supabase.co"), ("SUPABASE_KEY", "k")], Status::Warning, "although Supabase")]
    #[case(&[("SUPABASE_URL", "https://x.supabase.co")], Status::Ok, "not set")]
    fn whether_it_is_enabled(
        #[case] set: &[(&str, &str)],
        #[case] status: Status,
        #[case] part: &str,
    ) {
        let store = Selected::Embedded(PathBuf::from("/s"));
        let line = enabled(&lookup(set), false, Some(&store));
        assert_eq!(line.status, status, "{line:?}");
        assert!(line.summary.contains(part), "{line:?}");
    }

    #[rstest]
    #[case(&[], vec![], Status::Ok, 0)]
    #[case(&[("MESSAGE_BUS_TTL_HOURS", "0")], vec![], Status::Failure, 0)]
    #[case(&[("MESSAGE_BUS_TTL_HOURS", "0"), ("BUS_LEASE_SECS", "x")], vec![], Status::Failure, 2)]
    #[case(&[("BUS_LEASE_SECS", "x")], vec!["BUS_LISTEN=\"y\" is not allowed".to_owned()], Status::Failure, 2)]
    fn every_setting_that_is_not_legal_is_named(
        #[case] set: &[(&str, &str)],
        #[case] others: Vec<String>,
        #[case] status: Status,
        #[case] details: usize,
    ) {
        let line = legal(&lookup(set), others);
        assert_eq!(
            (line.status, line.detail.len()),
            (status, details),
            "{line:?}"
        );
        assert!(line.status == Status::Ok || line.exit == Exit::Usage);
    }
}
