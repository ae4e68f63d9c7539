//! What all sessions and all HTTP requests of one daemon share.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bus_client::MessageBusClient;
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    audit::Audit,
    config::DaemonConfig,
    metrics::Metrics,
    results::{Bounds, Results},
    token::TokenGuard,
    tools::Registry,
};

/// Shared by everything that runs in one daemon; handed around as `Arc<AppState>`.
#[derive(Debug)]
pub struct AppState {
    /// What the daemon was told when it started. Its token is only the first one: ask `token`.
    pub config: DaemonConfig,
    /// The way to the store.
    pub client: MessageBusClient,
    /// The tools that can be called.
    pub tools: Registry,
    /// Counts for `/metrics`.
    pub metrics: Metrics,
    /// The current token.
    pub token: TokenGuard,
    /// Cancelled when the daemon begins to shut down: nothing new is accepted from then on.
    pub shutdown: CancellationToken,
    /// Cancelled when the grace of a shutdown is over: what still runs is given up.
    pub grace_over: CancellationToken,
    /// Every session and background task, so that a shutdown can wait for them.
    pub tasks: TaskTracker,
    /// Results of calls, for clients that repeat one.
    pub(crate) results: Mutex<Results>,
    /// The way into the audit log.
    pub(crate) audit: Audit,
    local_addr: SocketAddr,
    capacity: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
    sessions: AtomicUsize,
    started: Instant,
}

impl AppState {
    /// The state of a daemon that listens on `local_addr`.
    #[must_use]
    pub fn new(
        config: DaemonConfig,
        client: MessageBusClient,
        tools: Registry,
        local_addr: SocketAddr,
    ) -> Arc<Self> {
        Arc::new(Self {
            token: TokenGuard::new(config.token.clone()),
            capacity: places(config.limits.calls_total),
            transfers: places(config.limits.transfers),
            sockets: places(config.limits.max_sockets),
            results: Mutex::new(Results::new(Bounds {
                age: config.limits.results_kept,
                bytes: config.limits.results_bytes,
                count: config.limits.results_count,
            })),
            audit: Audit::new(!config.audit_kept.is_zero()),
            config,
            client,
            tools,
            metrics: Metrics::default(),
            shutdown: CancellationToken::new(),
            grace_over: CancellationToken::new(),
            tasks: TaskTracker::new(),
            local_addr,
            sessions: AtomicUsize::new(0),
            started: Instant::now(),
        })
    }

    /// Where the daemon listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How long the daemon has been running.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Number of WebSocket sessions now.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Number of calls in flight now.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.config
            .limits
            .calls_total
            .saturating_sub(self.capacity.available_permits())
    }

    /// Number of calls that could start now.
    #[must_use]
    pub fn free_capacity(&self) -> usize {
        self.capacity.available_permits()
    }

    /// A place among the calls of all sessions; `None` where all are taken.
    pub(crate) fn try_start_call(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.capacity).try_acquire_owned().ok()
    }

    /// A place among the WebSockets; `None` where all are taken.
    pub(crate) fn try_open_socket(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.sockets).try_acquire_owned().ok()
    }

    /// A place among the payloads on their way over HTTP; `None` where none became free in time.
    pub(crate) async fn start_transfer(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.transfers).acquire_owned();
        timeout(self.config.limits.transfer_wait, place)
            .await
            .ok()?
            .ok()
    }

    /// Counts a session for as long as the answer lives.
    pub(crate) fn open_session(self: &Arc<Self>) -> SessionCount {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        self.metrics.sessions(1);
        SessionCount(Arc::clone(self))
    }
}

/// A semaphore of `count` places; more than it can count is as good as no limit.
pub(crate) fn places(count: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
}

/// One counted session; dropping it ends the count.
#[derive(Debug)]
pub(crate) struct SessionCount(Arc<AppState>);

impl Drop for SessionCount {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.sessions(-1);
    }
}
