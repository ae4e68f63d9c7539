//! What a verb works with, built from flags, the environment and `.env`; flags win.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use anyhow::Context as _;
use bus_client::{
    ClientBuilder, MessageBusClient,
    settings::{Env, Settings, StoreSpec},
};
use bus_remote::{DaemonUrl, HttpApi, RemoteConfig};
use clap::ValueEnum as _;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::{
    exit::Failure,
    flags::{GlobalFlags, LogFormat, StoreFlag},
    output::Output,
};

/// What every verb is handed.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where it writes.
    pub(crate) output: Output,
    /// Cancelled by Ctrl-C.
    pub(crate) stop: CancellationToken,
    flags: GlobalFlags,
    env: Env,
}

/// Where messages are.
#[derive(Debug)]
pub(crate) enum Target {
    /// A store that this process opens itself.
    Store(MessageBusClient),
    /// A daemon.
    Daemon(HttpApi),
}

impl Context {
    /// Reads `.env`; nothing else is looked at before a verb asks for it.
    ///
    /// # Errors
    /// Where `.env` cannot be read or is malformed.
    pub(crate) fn new(flags: GlobalFlags, stop: CancellationToken) -> anyhow::Result<Self> {
        Ok(Self {
            output: output_of(&flags),
            stop,
            flags,
            env: Env::load()?,
        })
    }

    /// Where messages are, by `--url`, `--store` or the settings.
    ///
    /// # Errors
    /// Where a setting is not legal.
    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        match &self.flags.url {
            Some(url) => Ok(Target::Daemon(HttpApi::new(self.remote(url.clone())?)?)),
            None => Ok(Target::Store(self.client_builder()?.build())),
        }
    }

    /// The store of a verb that a daemon does not offer.
    ///
    /// # Errors
    /// A usage error with `--url`; where a setting is not legal.
    pub(crate) fn store_only(&self, verb: &str) -> anyhow::Result<MessageBusClient> {
        if self.flags.url.is_some() {
            return Err(Failure::usage(format!(
                "bus {verb} works on a store, not on a daemon: leave --url away and run it on the daemon's machine with --store embedded:DIR"
            ))
            .into());
        }
        Ok(self.client_builder()?.build())
    }

    /// What the environment and `.env` say of a variable, unchecked.
    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        self.env.get(name)
    }

    /// Whether `--store` decides, and not the settings.
    pub(crate) fn names_store(&self) -> bool {
        self.flags.store.is_some()
    }

    /// Refuses `--url` for a verb that examines what is behind a daemon.
    ///
    /// # Errors
    /// A usage error with `--url`.
    pub(crate) fn no_daemon(&self, verb: &str) -> anyhow::Result<()> {
        match &self.flags.url {
            Some(_) => Err(Failure::usage(format!(
                "bus {verb} examines a store: leave --url away and run it where the daemon runs, with the daemon's settings"
            ))
            .into()),
            None => Ok(()),
        }
    }

    /// Refuses `--url` where this process is to be the daemon.
    ///
    /// # Errors
    /// A usage error with `--url`.
    pub(crate) fn no_url(&self, verb: &str) -> anyhow::Result<()> {
        match &self.flags.url {
            Some(_) => Err(Failure::usage(format!(
                "bus {verb} runs a daemon of its own: leave --url away, and say with --listen where it listens"
            ))
            .into()),
            None => Ok(()),
        }
    }

    /// Refuses `--url` and `--store` where a verb works on neither.
    ///
    /// # Errors
    /// A usage error with one of the two.
    pub(crate) fn no_store(&self, verb: &str) -> anyhow::Result<()> {
        if self.flags.url.is_some() || self.flags.store.is_some() {
            return Err(Failure::usage(format!(
                "bus {verb} works on a database, not on a store or a daemon: leave --store and --url away"
            ))
            .into());
        }
        Ok(())
    }

    /// A client of the store for a verb that ends, so memory is no store for it. Publishing is on:
    /// `MESSAGE_BUS_ENABLED` is about routing, not about verbs.
    ///
    /// # Errors
    /// A usage error for `--store memory`; where a setting is not legal.
    pub(crate) fn client_builder(&self) -> anyhow::Result<ClientBuilder> {
        let settings = self.settings()?;
        let spec = self.store_spec(&settings)?;
        if spec == StoreSpec::Memory {
            return Err(Failure::usage(
                "a store in memory ends with this command: use --store embedded:DIR, or --url to reach a daemon",
            )
            .into());
        }
        Ok(MessageBusClient::builder()
            .settings(settings)
            .enabled(true)
            .store_spec(spec))
    }

    /// The settings of the client.
    ///
    /// # Errors
    /// Where one is not legal.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings::from_lookup(|name| self.env.get(name))?)
    }

    /// Whether `MESSAGE_BUS_ENABLED` is false, whatever else is set.
    pub(crate) fn is_disabled(&self) -> bool {
        let only = |name: &str| {
            (name == "MESSAGE_BUS_ENABLED")
                .then(|| self.env.get(name))
                .flatten()
        };
        Settings::from_lookup(only).is_ok_and(|settings| settings.enabled == Some(false))
    }

    /// The store that `--store` or else the settings name.
    ///
    /// # Errors
    /// Where the settings name none.
    pub(crate) fn store_spec(&self, settings: &Settings) -> anyhow::Result<StoreSpec> {
        match &self.flags.store {
            Some(StoreFlag::Embedded(dir)) => Ok(StoreSpec::Embedded(dir.clone())),
            Some(StoreFlag::Supabase) => self.supabase(settings),
            Some(StoreFlag::Memory) => Ok(StoreSpec::Memory),
            None => Ok(settings.store_spec()?),
        }
    }

    /// The project that `--store supabase` means: whatever `MESSAGE_BUS_ENABLED` says, since it was
    /// asked for by name.
    fn supabase(&self, settings: &Settings) -> anyhow::Result<StoreSpec> {
        settings.supabase_spec().map_err(|_| {
            let url = self
                .variable("SUPABASE_URL")
                .or_else(|| self.variable("SUPABASE_PROJECT_ID"));
            let missing = match (url, self.variable("SUPABASE_KEY")) {
                (None, Some(_)) => "SUPABASE_URL (or SUPABASE_PROJECT_ID) is",
                (Some(_), None) => "SUPABASE_KEY is",
                _ => "SUPABASE_URL (or SUPABASE_PROJECT_ID) and SUPABASE_KEY are",
            };
            Failure::usage(format!("--store supabase: {missing} not set")).into()
        })
    }

    /// How to reach a daemon at `url`.
    ///
    /// # Errors
    /// Where a setting is not legal.
    pub(crate) fn remote(&self, url: DaemonUrl) -> anyhow::Result<RemoteConfig> {
        let mut config = RemoteConfig::new(url);
        config.token = self.token()?;
        Ok(config)
    }

    /// The daemon that `call` talks to: `--url`, else the one that `serve` would be here.
    ///
    /// # Errors
    /// A usage error with `--store`; where `BUS_LISTEN` is not legal.
    pub(crate) fn daemon_url(&self) -> anyhow::Result<DaemonUrl> {
        if self.flags.store.is_some() {
            return Err(
                Failure::usage("bus call talks to a daemon, not to a store: use --url").into(),
            );
        }
        match &self.flags.url {
            Some(url) => Ok(url.clone()),
            None => Ok(self
                .listen()?
                .map_or_else(DaemonUrl::default, DaemonUrl::of)),
        }
    }

    /// `--token`, else `BUS_TOKEN`.
    ///
    /// # Errors
    /// Where it cannot travel in a header.
    pub(crate) fn token(&self) -> anyhow::Result<Option<SecretString>> {
        let token = match &self.flags.token {
            Some(token) => Some(token.clone()),
            None => self.variable("BUS_TOKEN").map(SecretString::from),
        };
        match token {
            Some(token) if !is_visible(&token) => Err(Failure::usage(
                "the token (--token or BUS_TOKEN) is not allowed: visible ASCII characters are expected",
            )
            .into()),
            token => Ok(token),
        }
    }

    /// The value of a variable that nobody may see.
    pub(crate) fn secret(&self, name: &str) -> Option<SecretString> {
        self.variable(name).map(SecretString::from)
    }

    /// `BUS_LISTEN`.
    ///
    /// # Errors
    /// Where it is not an address.
    pub(crate) fn listen(&self) -> anyhow::Result<Option<SocketAddr>> {
        self.parsed(
            "BUS_LISTEN",
            "an address and a port, such as 127.0.0.1:8079, are expected",
        )
    }

    /// The value of a variable as a path.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from)
    }

    /// The value of a variable, checked.
    ///
    /// # Errors
    /// A usage error that names the variable, its value and what is allowed.
    pub(crate) fn parsed<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> anyhow::Result<Option<T>> {
        self.variable(name)
            .map(|value| {
                value.trim().parse().map_err(|_| {
                    let shown: String = value.chars().take(80).collect();
                    Failure::usage(format!("{name}={shown:?} is not allowed: {expected}")).into()
                })
            })
            .transpose()
    }

    /// `--log-format`, else `BUS_LOG_FORMAT`.
    ///
    /// # Errors
    /// Where the variable is not legal.
    pub(crate) fn log_format(&self) -> anyhow::Result<LogFormat> {
        let Some(value) = self
            .variable("BUS_LOG_FORMAT")
            .filter(|_| self.flags.log_format.is_none())
        else {
            return Ok(self.flags.log_format.unwrap_or_default());
        };
        LogFormat::from_str(value.trim(), true).map_err(|_| {
            let shown: String = value.chars().take(80).collect();
            Failure::usage(format!(
                "BUS_LOG_FORMAT={shown:?} is not allowed: text or json are expected"
            ))
            .into()
        })
    }

    /// A variable that is set and not empty.
    fn variable(&self, name: &str) -> Option<String> {
        self.env.get(name).filter(|value| !value.trim().is_empty())
    }
}

/// How the flags want output.
pub(crate) fn output_of(flags: &GlobalFlags) -> Output {
    Output {
        json: flags.json,
        quiet: flags.quiet,
    }
}

fn is_visible(token: &SecretString) -> bool {
    use secrecy::ExposeSecret as _;
    token.expose_secret().bytes().all(|b| b.is_ascii_graphic())
}

/// Refuses a folder or a missing file where a file is read.
///
/// # Errors
/// Naming the path and what is wrong with it.
pub(crate) async fn open_input(
    path: &std::path::Path,
) -> anyhow::Result<(tokio::fs::File, Option<u64>)> {
    let shown = path.display();
    let file = tokio::fs::File::open(path)
        .await
        .with_context(|| format!("{shown} cannot be read"))?;
    let metadata = file
        .metadata()
        .await
        .with_context(|| format!("{shown} cannot be read"))?;
    if metadata.is_dir() {
        anyhow::bail!("{shown} is a folder: pack it first, as in tar -c {shown} | bus put -");
    }
    // A pipe or a device says 0: its length is not known.
    Ok((file, metadata.is_file().then_some(metadata.len())))
}
