//! What a daemon is told when it starts: a plain struct with defaults for all of it.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use secrecy::SecretString;

/// Settings of a daemon. `Debug` shows whether there is a token, never the token.
#[derive(Clone)]
pub struct DaemonConfig {
    /// Address to listen on; port 0 takes a free one. 127.0.0.1:8079 by default.
    pub listen: SocketAddr,
    /// What a client must show. Without one, only a loopback address is accepted.
    pub token: Option<SecretString>,
    /// The folder that `read_file` may read from; without one the tool does not exist.
    pub root: Option<PathBuf>,
    /// TOML file of command tools.
    pub tools_file: Option<PathBuf>,
    /// Values of `Origin` that may drive the daemon, such as `https://tools.example`. None by
    /// default, so that no web page can.
    pub allowed_origins: Vec<String>,
    /// Host names that clients may call the daemon by, beside loopback names and the address that
    /// it listens on.
    pub allowed_hosts: Vec<String>,
    /// Sizes, times and counts that bound what a client can cost.
    pub limits: Limits,
    /// Time between two purges of the store (`BUS_PURGE_SECS`), an hour by default; zero means
    /// that the daemon never purges.
    pub purge_interval: Duration,
    /// Purge acknowledged messages this long after their acknowledgement; `None` keeps them until
    /// they expire.
    pub acknowledged_grace: Option<Duration>,
    /// How long entries of the audit log are kept (`BUS_AUDIT_DAYS`), 30 days by default; the purge
    /// removes older ones. Zero means that none are written.
    pub audit_kept: Duration,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8079)),
            token: None,
            root: None,
            tools_file: None,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            limits: Limits::default(),
            purge_interval: Duration::from_secs(3600),
            acknowledged_grace: None,
            audit_kept: Duration::from_secs(30 * 86_400),
        }
    }
}

impl fmt::Debug for DaemonConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaemonConfig")
            .field("listen", &self.listen)
            .field("token", &self.token.as_ref().map(|_| "[secret]"))
            .field("root", &self.root)
            .field("tools_file", &self.tools_file)
            .field("allowed_origins", &self.allowed_origins)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("limits", &self.limits)
            .field("purge_interval", &self.purge_interval)
            .field("acknowledged_grace", &self.acknowledged_grace)
            .field("audit_kept", &self.audit_kept)
            .finish()
    }
}

/// What bounds the cost of clients and calls. The defaults are the original's where it had one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest WebSocket message taken from a client, in bytes (32 MiB). A larger one closes the
    /// session with 1009.
    pub max_inbound_message: usize,
    /// How long a client may wait with its `hello` (15 s).
    pub hello_timeout: Duration,
    /// Time between two pings (45 s).
    pub ping_interval: Duration,
    /// How long a client may take to answer a ping (30 s).
    pub pong_timeout: Duration,
    /// How long a tool may take, unless it says otherwise (180 s).
    pub call_timeout: Duration,
    /// Time between two `progress` frames of a running call (8 s).
    pub progress_interval: Duration,
    /// Calls in flight of one session (8).
    pub calls_per_session: usize,
    /// Calls in flight of all sessions together (24).
    pub calls_total: usize,
    /// How long the result of a call is kept for a client that repeats it (600 s).
    pub results_kept: Duration,
    /// Most bytes of kept results, over all sessions (64 MiB). The oldest go first.
    pub results_bytes: usize,
    /// Most kept results, over all sessions (8,192). The oldest go first.
    pub results_count: usize,
    /// What `retry_after` of OVER_CAPACITY says (1 s).
    pub retry_after: Duration,
    /// A socket that takes nothing for this long is closed (30 s).
    pub write_stall: Duration,
    /// How long a client may take to send the head of an HTTP request, and how long an idle
    /// connection is kept (30 s).
    pub header_timeout: Duration,
    /// How long the body of an HTTP request may stand still (30 s).
    pub body_idle: Duration,
    /// Largest head of an HTTP request in bytes (32 KiB); a larger one is answered with 431.
    pub max_header_bytes: usize,
    /// HTTP connections at a time (1,024); further ones wait to be accepted. One that became a
    /// WebSocket counts among `max_sockets` instead.
    pub max_connections: usize,
    /// WebSockets at a time (1,024), those that have not said hello yet among them; a further
    /// upgrade is answered with 503.
    pub max_sockets: usize,
    /// Payloads on their way over HTTP at a time, in and out (16). Each costs about 8 MiB on two
    /// cores, so this bounds what all of them together cost.
    pub transfers: usize,
    /// How long a further one waits for its turn before it gets a 503 (30 s).
    pub transfer_wait: Duration,
    /// How long calls in flight may go on once the daemon shuts down (10 s).
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_inbound_message: 32 << 20,
            hello_timeout: Duration::from_secs(15),
            ping_interval: Duration::from_secs(45),
            pong_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(180),
            progress_interval: Duration::from_secs(8),
            calls_per_session: 8,
            calls_total: 24,
            results_kept: Duration::from_secs(600),
            results_bytes: 64 << 20,
            results_count: 8192,
            retry_after: Duration::from_secs(1),
            write_stall: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            body_idle: Duration::from_secs(30),
            max_header_bytes: 32 << 10,
            max_connections: 1024,
            max_sockets: 1024,
            transfers: 16,
            transfer_wait: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_token() {
        let config = DaemonConfig {
            token: Some("hunter2".into()),
            ..DaemonConfig::default()
        };
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("[secret]"), "{shown}");
    }
}
