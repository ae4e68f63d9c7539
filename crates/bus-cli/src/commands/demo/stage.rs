//! What the demo plays on: a temporary folder, daemons on free ports, sessions with them.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use bus_client::{MessageBusClient, settings::StoreSpec};
use bus_daemon::{Daemon, DaemonConfig, RunningDaemon};
use bus_model::{ByteSize, TransactionId};
use bus_remote::{DaemonUrl, Remote, RemoteConfig};
use secrecy::SecretString;
use tempfile::TempDir;

use super::input::Files;
use crate::flags::DemoFlags;

/// What a client with default limits takes: that of Python's websockets.
pub(super) const CLIENT_LIMIT: usize = 1 << 20;
/// A threshold that sends everything in one frame.
const NO_THRESHOLD: u64 = 64 << 20;
/// How long calls of an ended row may go on.
const GRACE: Duration = Duration::from_secs(5);

/// Which daemon a row plays against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// As a newcomer starts it.
    Bus,
    /// The bus disabled, and every result in one frame, however large.
    OneFrame,
    /// The bus disabled, all else as a newcomer starts it.
    Disabled,
}

/// Everything that is set up; nothing of it stays.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) files: Files,
    folder: TempDir,
    token: SecretString,
    bus: RunningDaemon,
    one_frame: RunningDaemon,
    disabled: RunningDaemon,
}

impl Stage {
    /// Makes the files and starts the daemons.
    pub(super) async fn set(flags: &DemoFlags) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("bus-demo-").context("no temporary folder")?;
        let root = folder.path().join("files");
        std::fs::create_dir(&root)?;
        let (input, big_mb, place) = (flags.input.clone(), flags.big_mb, root.clone());
        let files =
            tokio::task::spawn_blocking(move || Files::write(&place, input.as_deref(), big_mb))
                .await??;
        let token = SecretString::from(TransactionId::mint().to_string());
        let store = StoreSpec::Embedded(folder.path().join("store"));
        let largest = files.big.size.max(files.input.size).max(100 << 20);
        let client = MessageBusClient::builder()
            .max_payload(ByteSize::new(largest)?)
            .store_spec(store);
        let off = || {
            MessageBusClient::builder()
                .store_spec(StoreSpec::Memory)
                .enabled(false)
        };
        let start = |client: MessageBusClient| {
            Daemon::builder()
                .config(config(&token, root.clone()))
                .client(client)
                .bind()
        };
        Ok(Self {
            bus: start(client.build()).await?,
            one_frame: start(off().threshold_bytes(NO_THRESHOLD).build()).await?,
            disabled: start(off().build()).await?,
            files,
            folder,
            token,
        })
    }

    /// Opens a session over a real WebSocket, with the limits of most clients.
    pub(super) async fn connect(&self, setting: Setting) -> anyhow::Result<Remote> {
        let daemon = match setting {
            Setting::Bus => &self.bus,
            Setting::OneFrame => &self.one_frame,
            Setting::Disabled => &self.disabled,
        };
        let mut config = RemoteConfig::new(DaemonUrl::of(daemon.local_addr()));
        config.token = Some(self.token.clone());
        config.max_message = CLIENT_LIMIT;
        config.call_timeout = Duration::from_secs(600);
        Ok(Remote::connect(config).await?)
    }

    /// Where a fetched payload goes.
    pub(super) fn place_for(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("fetched-{name}"))
    }

    /// Stops the daemons and removes every file.
    pub(super) async fn clear(self) -> anyhow::Result<()> {
        for daemon in [self.bus, self.one_frame, self.disabled] {
            daemon.shutdown(GRACE).await;
        }
        self.folder
            .close()
            .context("the temporary folder could not be removed")
    }
}

fn config(token: &SecretString, root: PathBuf) -> DaemonConfig {
    DaemonConfig {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        token: Some(token.clone()),
        root: Some(root),
        purge_interval: Duration::ZERO,
        ..DaemonConfig::default()
    }
}
