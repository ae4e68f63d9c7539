//! The accept loop: HTTP/1.1 connections with limits on their number, the size of a request's head
//! and the time that it may take.
//!
//! `axum::serve` has none of these, and a client that opens connections and sends a byte a minute
//! would hold them for ever.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};

use crate::state::AppState;

/// As good as without end; hyper adds it to the present, and panics where that overflows.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Serves `router` on `listener` until `state.shutdown` is cancelled, then waits until the
/// connections have ended: idle ones do at once, others after their answer. Those that are still
/// there when `state.grace_over` is cancelled are cut.
///
/// Upgraded connections are not waited for: they belong to whoever upgraded them.
pub(crate) async fn serve<L>(mut listener: L, router: Router, state: Arc<AppState>)
where
    L: Listener<Addr = SocketAddr>,
{
    let most = state.config.limits.max_connections.clamp(1, 1 << 20);
    let places = Arc::new(Semaphore::new(most));
    loop {
        // The semaphore is never closed; a closed one would mean that nothing is served any more.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (io, _) = tokio::select! {
            () = state.shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let router = router.clone();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            one(io, router, &state).await;
            drop(place);
        });
    }
    drop(listener);
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    // Every place is free again once every connection has ended.
    let _ = places.acquire_many(all).await;
}

async fn one<I>(io: I, router: Router, state: &AppState)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &state.config.limits;
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout.min(LONGEST_WAIT))
        .max_header_size(limits.max_header_bytes)
        // A client may say that no more comes and wait for its answer all the same.
        .half_close(true)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = state.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = state.grace_over.cancelled() => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        // A client that went away is everyday life.
        tracing::debug!(%error, "a connection ended early");
    }
}
