//! A daemon from its settings to its last answer: bind, run, shut down.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bus_client::MessageBusClient;
use secrecy::ExposeSecret as _;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};

use crate::{
    audit,
    config::DaemonConfig,
    error::DaemonError,
    http,
    listener::StallListener,
    retention,
    state::AppState,
    tools::{Echo, Generate, ReadFile, Registry, Tool, load_commands},
};

/// Makes daemons.
#[derive(Debug)]
pub struct Daemon;

impl Daemon {
    /// Collects what a daemon needs.
    #[must_use]
    pub fn builder() -> DaemonBuilder {
        DaemonBuilder::default()
    }
}

/// What a daemon is made of. [`DaemonBuilder::bind`] starts it.
#[derive(Default)]
pub struct DaemonBuilder {
    config: DaemonConfig,
    client: Option<MessageBusClient>,
    tools: Vec<Arc<dyn Tool>>,
}

impl DaemonBuilder {
    /// The settings; defaults where this is not called.
    #[must_use]
    pub fn config(mut self, config: DaemonConfig) -> Self {
        self.config = config;
        self
    }

    /// The way to the store. Needed.
    #[must_use]
    pub fn client(mut self, client: MessageBusClient) -> Self {
        self.client = Some(client);
        self
    }

    /// A tool of the caller's own, beside the built-in ones.
    #[must_use]
    pub fn tool(mut self, tool: Arc<dyn Tool>) -> Self {
        self.tools.push(tool);
        self
    }

    /// Checks everything, listens, and serves in the background from then on.
    ///
    /// # Errors
    /// [`DaemonError`] where the settings or the tools cannot be used or the address is taken.
    pub async fn bind(self) -> Result<RunningDaemon, DaemonError> {
        let Self {
            config,
            client,
            tools,
        } = self;
        let client = client.ok_or(DaemonError::NoClient)?;
        check_exposure(&config)?;
        let registry = Registry::builder()
            .tools(built_in(&config)?)
            .tools(tools)
            .build()?;
        let address = config.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| DaemonError::Listen { address, source })?;
        let local_addr = listener
            .local_addr()
            .map_err(|source| DaemonError::Listen { address, source })?;
        let state = AppState::new(config, client, registry, local_addr);
        Ok(RunningDaemon::start(state, listener))
    }
}

impl std::fmt::Debug for DaemonBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DaemonBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// A daemon that listens. Dropping it gives up everything at once; [`RunningDaemon::shutdown`]
/// lets calls finish.
#[derive(Debug)]
pub struct RunningDaemon {
    state: Arc<AppState>,
    server: JoinHandle<()>,
    audit: JoinHandle<()>,
}

impl RunningDaemon {
    fn start(state: Arc<AppState>, listener: TcpListener) -> Self {
        let listener = StallListener::new(listener, state.config.limits.write_stall);
        let router = http::router(Arc::clone(&state));
        let serving = http::connection::serve(listener, router, Arc::clone(&state));
        let server = tokio::spawn(serving);
        state.tasks.spawn(retention::run(Arc::clone(&state)));
        let audit = tokio::spawn(write_audit(Arc::clone(&state)));
        tracing::info!(address = %state.local_addr(), tools = state.tools.len(), "listening");
        Self {
            state,
            server,
            audit,
        }
    }

    /// Where the daemon listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.state.local_addr()
    }

    /// What its sessions and requests share.
    #[must_use]
    pub fn state(&self) -> &Arc<AppState> {
        &self.state
    }

    /// Serves until `signal` comes, then shuts down with the grace of the settings.
    pub async fn run_until(self, signal: impl Future<Output = ()>) {
        signal.await;
        let grace = self.state.config.limits.shutdown_grace;
        self.shutdown(grace).await;
    }

    /// Accepts nothing new, lets calls in flight finish for `grace`, tells clients of those that
    /// did not, and closes every session with 1001.
    pub async fn shutdown(mut self, grace: Duration) {
        /// What sessions get on top of the grace to send their last frames.
        const LAST_FRAMES: Duration = Duration::from_secs(5);
        /// What the audit log gets on top of that to write its last entries.
        const LAST_ENTRIES: Duration = Duration::from_secs(5);

        tracing::info!(
            ?grace,
            in_flight = self.state.calls_in_flight(),
            "shutting down"
        );
        self.state.shutdown.cancel();
        self.state.tasks.close();
        if timeout(grace, self.ended()).await.is_err() {
            self.state.grace_over.cancel();
            if timeout(LAST_FRAMES, self.ended()).await.is_err() {
                tracing::warn!("gave up connections that did not end");
            }
        }
        self.state.audit.close();
        if timeout(LAST_ENTRIES, &mut self.audit).await.is_err() {
            self.audit.abort();
            // Over, so that no entry is counted as dropped and then as written.
            let _ = (&mut self.audit).await;
            let entries = self.state.audit.give_up(&self.state.metrics);
            tracing::warn!(entries, "gave up the last entries of the audit log");
        }
    }

    /// Resolves once all sessions, tasks and requests are over.
    async fn ended(&mut self) {
        self.state.tasks.wait().await;
        // Only an aborted or panicked server is an error here, and both mean that it is over.
        let _ = (&mut self.server).await;
    }
}

impl Drop for RunningDaemon {
    fn drop(&mut self) {
        self.state.shutdown.cancel();
        self.state.grace_over.cancel();
        self.server.abort();
        self.audit.abort();
    }
}

async fn write_audit(state: Arc<AppState>) {
    if let Some(queue) = state.audit.take_queue() {
        audit::write(state, queue).await;
    }
}

/// The tools that every daemon has, and those that its settings ask for.
fn built_in(config: &DaemonConfig) -> Result<Vec<Arc<dyn Tool>>, DaemonError> {
    let mut tools: Vec<Arc<dyn Tool>> = vec![Arc::new(Echo::new()), Arc::new(Generate::new())];
    if let Some(root) = &config.root {
        let tool = ReadFile::new(root).map_err(|source| DaemonError::Root {
            root: root.clone(),
            source,
        })?;
        tools.push(Arc::new(tool));
    }
    if let Some(file) = &config.tools_file {
        tools.extend(load_commands(file)?);
    }
    Ok(tools)
}

/// Without a token only this machine's own programs may come.
fn check_exposure(config: &DaemonConfig) -> Result<(), DaemonError> {
    match &config.token {
        Some(token) if token.expose_secret().is_empty() => Err(DaemonError::EmptyToken),
        None if !config.listen.ip().is_loopback() => Err(DaemonError::TokenNeeded {
            address: config.listen,
        }),
        _ => Ok(()),
    }
}
