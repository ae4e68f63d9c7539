//! Flags that every verb takes.

use std::{convert::Infallible, path::PathBuf, str::FromStr};

use bus_remote::DaemonUrl;
use clap::{Args, ValueEnum};
use secrecy::SecretString;

/// Flags that every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalFlags {
    /// Where messages are: embedded:DIR, supabase (SUPABASE_URL and SUPABASE_KEY say which), or
    /// memory (only for `serve`)
    #[arg(long, global = true, value_name = "STORE", conflicts_with = "url")]
    pub(crate) store: Option<StoreFlag>,

    /// Reach a daemon instead of a store, such as `http://127.0.0.1:8079`
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<DaemonUrl>,

    /// Token of the daemon; other users of this machine can see it here, so prefer BUS_TOKEN
    #[arg(long, global = true, value_name = "TOKEN", value_parser = parse_secret)]
    pub(crate) token: Option<SecretString>,

    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// How log events look on stderr [env: BUS_LOG_FORMAT] [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    /// Only errors on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// More on stderr; twice for all of it
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Which store to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreFlag {
    /// Files and an index in a folder.
    Embedded(PathBuf),
    /// The Supabase project of the settings.
    Supabase,
    /// In memory, for as long as the process lives.
    Memory,
}

/// A `--store` that is not known.
#[derive(Debug, thiserror::Error)]
#[error("embedded:DIR, supabase or memory are expected")]
pub(crate) struct StoreFlagError;

impl FromStr for StoreFlag {
    type Err = StoreFlagError;
    fn from_str(text: &str) -> Result<Self, StoreFlagError> {
        match text.split_once(':') {
            Some(("embedded", dir)) if !dir.is_empty() => Ok(Self::Embedded(dir.into())),
            None if text == "supabase" => Ok(Self::Supabase),
            None if text == "memory" => Ok(Self::Memory),
            _ => Err(StoreFlagError),
        }
    }
}

/// How log events look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

pub(super) fn parse_secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_told_apart() {
        assert_eq!(
            "embedded:/x:y".parse::<StoreFlag>().ok(),
            Some(StoreFlag::Embedded("/x:y".into()))
        );
        assert_eq!("memory".parse::<StoreFlag>().ok(), Some(StoreFlag::Memory));
        let supabase = "supabase".parse::<StoreFlag>().ok();
        assert_eq!(supabase, Some(StoreFlag::Supabase));
        for bad in [
            "",
            "supabase:x",
            "embedded",
            "embedded:",
            "memory:",
            "sqlite:/x",
            "/x",
        ] {
            assert!(bad.parse::<StoreFlag>().is_err(), "{bad:?}");
        }
    }
}
