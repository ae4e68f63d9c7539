//! What the demo plays on: a temporary folder, daemons on free ports, sessions with them.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bus_client::{MessageBusClient, settings::StoreSpec};
use bus_daemon::{Daemon, DaemonConfig, RunningDaemon};
use bus_model::{ByteSize, SessionId, TransactionId};
use bus_remote::{DaemonUrl, Remote, RemoteConfig};
use secrecy::SecretString;
use tempfile::TempDir;

use super::{
    input::Files,
    place::{self, Place},
};
use crate::flags::DemoFlags;

/// What a client with default limits takes: that of Python's websockets.
pub(super) const CLIENT_LIMIT: usize = 1 << 20;
/// A threshold that sends everything in one frame.
const NO_THRESHOLD: u64 = 64 << 20;

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
    client: MessageBusClient,
    /// Sessions that may have stored something where others store, too.
    sessions: Option<Mutex<Vec<SessionId>>>,
    bus: RunningDaemon,
    one_frame: RunningDaemon,
    disabled: RunningDaemon,
}

impl Stage {
    /// Makes the files and starts the daemons.
    pub(super) async fn set(flags: &DemoFlags, place: &Place) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("bus-demo-").context("no temporary folder")?;
        let root = folder.path().join("files");
        std::fs::create_dir(&root)?;
        let store = folder.path().join("store");
        // A project that cannot be used is told before files are made.
        place.client(&store)?.build().check().await?;
        let (input, big_mb, there) = (flags.input.clone(), flags.big_mb, root.clone());
        let files =
            tokio::task::spawn_blocking(move || Files::write(&there, input.as_deref(), big_mb))
                .await??;
        let token = SecretString::from(TransactionId::mint().to_string());
        let largest = files.big.size.max(files.input.size).max(100 << 20);
        let client = place
            .client(&store)?
            .max_payload(ByteSize::new(largest)?)
            .build();
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
            bus: start(client.clone()).await?,
            one_frame: start(off().threshold_bytes(NO_THRESHOLD).build()).await?,
            disabled: start(off().build()).await?,
            files,
            folder,
            token,
            client,
            sessions: matches!(place, Place::Supabase(_)).then(Mutex::default),
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
        let remote = Remote::connect(config).await?;
        if let Some(sessions) = &self.sessions {
            let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.push(remote.session_id().clone());
        }
        Ok(remote)
    }

    /// Where a fetched payload goes.
    pub(super) fn place_for(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("fetched-{name}"))
    }

    /// Stops the daemons, whose calls may go on for `grace`, and removes every file and message.
    pub(super) async fn clear(self, grace: Duration) -> anyhow::Result<()> {
        for daemon in [self.bus, self.one_frame, self.disabled] {
            daemon.shutdown(grace).await;
        }
        let removed = match self.sessions {
            Some(sessions) => {
                let sessions = sessions
                    .into_inner()
                    .unwrap_or_else(PoisonError::into_inner);
                place::remove(&self.client, &sessions).await
            }
            None => Ok(()),
        };
        self.folder
            .close()
            .context("the temporary folder could not be removed")?;
        removed
    }
}

fn config(token: &SecretString, root: PathBuf) -> DaemonConfig {
    DaemonConfig {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        token: Some(token.clone()),
        root: Some(root),
        purge_interval: Duration::ZERO,
        // Its entries could not be removed from a project again.
        audit_kept: Duration::ZERO,
        ..DaemonConfig::default()
    }
}
