//! Texts to settings.

use std::{fmt::Display, path::PathBuf, str::FromStr, time::Duration};

use bus_model::ByteSize;
use secrecy::SecretString;

use super::{BreakerSettings, Settings, SettingsError, SupabaseSettings};

/// Gives the value of a variable; never an empty one.
pub(super) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

const TTL: &str = "more than 0 and at most 87600 hours (ten years) are expected";
const COMPRESSION: &str = "none, gzip or zstd are expected";

pub(super) fn settings(lookup: &Lookup<'_>) -> Result<Settings, SettingsError> {
    let default = Settings::default();
    Ok(Settings {
        enabled: flag(lookup, "MESSAGE_BUS_ENABLED")?,
        ttl: parsed(lookup, "MESSAGE_BUS_TTL_HOURS", TTL)?.unwrap_or(default.ttl),
        max_payload: max_payload(lookup)?.unwrap_or(default.max_payload),
        compression: parsed(lookup, "MESSAGE_BUS_COMPRESSION", COMPRESSION)?
            .unwrap_or(default.compression),
        checksum: flag(lookup, "MESSAGE_BUS_CHECKSUM_ENABLED")?.unwrap_or(default.checksum),
        threshold_bytes: number(lookup, "BUS_THRESHOLD_BYTES", 1, u64::MAX >> 1)?
            .unwrap_or(default.threshold_bytes),
        lease: number(lookup, "BUS_LEASE_SECS", 1, 86_400)?
            .map_or(default.lease, Duration::from_secs),
        store_dir: store_dir(lookup),
        supabase: supabase(lookup)?,
        breaker: breaker(lookup, default.breaker)?,
        fallback_to_websocket: flag(lookup, "FALLBACK_TO_WEBSOCKET")?
            .unwrap_or(default.fallback_to_websocket),
    })
}

fn invalid(name: &'static str, value: &str, expected: impl Display) -> SettingsError {
    let value = value.chars().take(80).collect();
    SettingsError::Invalid {
        name,
        value,
        expected: expected.to_string(),
    }
}

fn flag(lookup: &Lookup<'_>, name: &'static str) -> Result<Option<bool>, SettingsError> {
    let Some(value) = lookup(name) else {
        return Ok(None);
    };
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(Some(true)),
        "false" | "0" | "no" | "off" => Ok(Some(false)),
        _ => Err(invalid(name, &value, "true or false are expected")),
    }
}

fn parsed<T: FromStr>(
    lookup: &Lookup<'_>,
    name: &'static str,
    expected: &str,
) -> Result<Option<T>, SettingsError> {
    let Some(value) = lookup(name) else {
        return Ok(None);
    };
    value
        .trim()
        .parse()
        .map(Some)
        .map_err(|_| invalid(name, &value, expected))
}

fn number(
    lookup: &Lookup<'_>,
    name: &'static str,
    least: u64,
    most: u64,
) -> Result<Option<u64>, SettingsError> {
    let Some(value) = lookup(name) else {
        return Ok(None);
    };
    match value.trim().parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => Err(invalid(
            name,
            &value,
            format!("a whole number from {least} to {most} is expected"),
        )),
    }
}

fn max_payload(lookup: &Lookup<'_>) -> Result<Option<ByteSize>, SettingsError> {
    let mb = number(lookup, "MESSAGE_BUS_MAX_PAYLOAD_MB", 1, 1 << 30)?;
    Ok(mb.and_then(|mb| u32::try_from(mb).ok()).map(ByteSize::mib))
}

fn store_dir(lookup: &Lookup<'_>) -> Option<PathBuf> {
    let named = lookup("BUS_STORE_DIR").map(PathBuf::from);
    named
        .or_else(|| lookup("XDG_DATA_HOME").map(|dir| PathBuf::from(dir).join("bus")))
        .or_else(|| lookup("HOME").map(|dir| PathBuf::from(dir).join(".local/share/bus")))
}

fn supabase(lookup: &Lookup<'_>) -> Result<Option<SupabaseSettings>, SettingsError> {
    let enabled = flag(lookup, "MESSAGE_BUS_ENABLED")? == Some(true);
    let project = lookup("SUPABASE_PROJECT_ID");
    let named = lookup("SUPABASE_URL");
    let because = if named.is_some() {
        "SUPABASE_URL"
    } else {
        "SUPABASE_PROJECT_ID"
    };
    let url = named.or_else(|| project.map(|id| format!("https://{}.supabase.co", id.trim())));
    match (url, lookup("SUPABASE_KEY")) {
        (Some(url), Some(key)) => {
            let legal = url.starts_with("https://") || url.starts_with("http://");
            if enabled && !legal {
                // It may be the key, in the wrong place.
                return Err(invalid(
                    "SUPABASE_URL",
                    "[not shown]",
                    "an http or https URL is expected",
                ));
            }
            Ok(Some(SupabaseSettings {
                url,
                key: SecretString::from(key),
                token: lookup("BUS_SUPABASE_TOKEN").map(SecretString::from),
            }))
        }
        (Some(_), None) if enabled => Err(SettingsError::Missing {
            missing: "SUPABASE_KEY",
            because,
        }),
        (None, Some(_)) if enabled => Err(SettingsError::Missing {
            missing: "SUPABASE_URL",
            because: "SUPABASE_KEY",
        }),
        _ => Ok(None),
    }
}

fn breaker(
    lookup: &Lookup<'_>,
    default: BreakerSettings,
) -> Result<BreakerSettings, SettingsError> {
    let threshold = number(lookup, "CIRCUIT_BREAKER_THRESHOLD", 1, u64::from(u32::MAX))?;
    Ok(BreakerSettings {
        enabled: flag(lookup, "CIRCUIT_BREAKER_ENABLED")?.unwrap_or(default.enabled),
        threshold: threshold
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(default.threshold),
        timeout: number(lookup, "CIRCUIT_BREAKER_TIMEOUT_SECS", 1, 86_400)?
            .map_or(default.timeout, Duration::from_secs),
    })
}
