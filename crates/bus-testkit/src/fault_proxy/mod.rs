//! A TCP proxy that does to a connection what networks do: delays, cuts, resets, silence.

mod pipe;

use crate::supabase::{here, runtime};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What is done to connections. "Up" is towards the server, "down" towards the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Everything arrives this much later, both ways.
    Delay(Duration),
    /// Each direction of each connection carries this many bytes a second.
    Throttle {
        /// Bytes a second.
        bytes_per_sec: u64,
    },
    /// New connections are reset at once; live ones are reset as well.
    Refuse,
    /// The connection is reset (RST, both sides) once that many bytes went through in either direction, counted for
    /// each connection from the moment the fault was set (from its start, for a later one).
    ResetAfter {
        /// Bytes towards the server.
        up: Option<u64>,
        /// Bytes towards the client.
        down: Option<u64>,
    },
    /// The same, but the connection is closed in good order (FIN, both sides).
    CutAfter {
        /// Bytes towards the server.
        up: Option<u64>,
        /// Bytes towards the client.
        down: Option<u64>,
    },
    /// Connections are accepted, what comes is swallowed, nothing is answered.
    Blackhole,
    /// What the client sends arrives; what the server answers is dropped.
    HalfOpen,
}

/// What a proxy has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProxyCounts {
    /// Connections that were accepted, refused ones included.
    pub connections: u64,
    /// Bytes that were passed on to the server.
    pub up: u64,
    /// Bytes that were passed on to the client.
    pub down: u64,
    /// Connections that a fault has ended.
    pub broken: u64,
}

/// One TCP proxy in front of an address. Faults act on live and on new connections; without one it only passes on.
///
/// It runs on a runtime of the kit's own, so it goes on while a test blocks. Dropping it resets what is left.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    order: watch::Sender<Order>,
    connections: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    broken: AtomicU64,
}

/// What connections are told: the fault, its number, and up to which moment connections are to be reset.
#[derive(Debug, Clone, Copy, Default)]
struct Order {
    fault: Option<Fault>,
    number: u64,
    reset: u64,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 in front of `upstream`.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        here(async move {
            let listener = TcpListener::bind(("127.0.0.1", 0))
                .await
                .context("listening for the proxy")?;
            let addr = listener.local_addr()?;
            let shared = Arc::new(Shared {
                upstream,
                order: watch::Sender::new(Order::default()),
                connections: AtomicU64::new(0),
                up: AtomicU64::new(0),
                down: AtomicU64::new(0),
                broken: AtomicU64::new(0),
            });
            let task = runtime()
                .spawn(accept(listener, Arc::clone(&shared)))
                .abort_handle();
            Ok(Self { addr, shared, task })
        })
        .await
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://` and its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// From now on this happens, in place of what happened before.
    pub fn set(&self, fault: Fault) {
        self.order(|order| order.fault = Some(fault));
    }

    /// From now on nothing happens. What was broken stays broken.
    pub fn clear(&self) {
        self.order(|order| order.fault = None);
    }

    /// Resets every live connection now, once.
    pub fn reset_all(&self) {
        self.order(|order| order.reset += 1);
    }

    /// What has gone through so far.
    #[must_use]
    pub fn counts(&self) -> ProxyCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ProxyCounts {
            connections: read(&self.shared.connections),
            up: read(&self.shared.up),
            down: read(&self.shared.down),
            broken: read(&self.shared.broken),
        }
    }

    fn order(&self, change: impl FnOnce(&mut Order)) {
        self.shared.order.send_modify(|order| {
            order.number += 1;
            change(order);
        });
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.reset_all();
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        runtime().spawn(pipe::serve(client, Arc::clone(&shared)));
    }
}
