//! Purging in the background: expired messages, what dead writers left behind, and old entries of
//! the audit log.

use std::{sync::Arc, time::Duration};

use bus_client::{ClientError, ClientErrorKind};
use bus_store::{PurgeOptions, PurgeReport};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{delivery::chain, state::AppState};

/// How long after its start a daemon purges first: what a crash left is gone soon, and a daemon
/// that lives for a moment does not bother.
const FIRST: Duration = Duration::from_secs(10);
/// How long after a failure the next try comes, at most.
const RETRY: Duration = Duration::from_secs(60);
/// Audit entries removed at a time.
const AUDIT_BATCH: u32 = 1000;

/// Purges again and again until the daemon shuts down.
pub(crate) async fn run(state: Arc<AppState>) {
    let interval = state.config.purge_interval;
    if interval.is_zero() {
        return;
    }
    let mut pause = interval.min(FIRST);
    while pause_unless_shut_down(&state, pause).await {
        let purged = tokio::select! {
            purged = purge(&state) => purged,
            () = state.shutdown.cancelled() => return,
        };
        pause = match purged {
            Ok(()) => jittered(interval, Uuid::new_v4().as_u64_pair().0),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the purge failed and is tried again");
                interval.min(RETRY)
            }
        };
    }
}

async fn pause_unless_shut_down(state: &AppState, pause: Duration) -> bool {
    tokio::select! {
        () = sleep(pause) => true,
        () = state.shutdown.cancelled() => false,
    }
}

/// Each of the two is purged also where the other cannot be.
async fn purge(state: &AppState) -> Result<(), ClientError> {
    let messages = purge_messages(state).await;
    let audit = purge_audit(state).await;
    messages.and(audit)
}

async fn purge_messages(state: &AppState) -> Result<(), ClientError> {
    let options = PurgeOptions {
        acknowledged_after: state.config.acknowledged_grace,
        ..PurgeOptions::default()
    };
    let report = state.client.purge(&options).await?;
    tell(state, &report);
    Ok(())
}

/// Removes entries of the audit log that are older than they are kept.
async fn purge_audit(state: &AppState) -> Result<(), ClientError> {
    let kept = state.config.audit_kept;
    let audit = match state.client.records().await {
        Ok(records) if !kept.is_zero() => records.audit,
        Err(error) if error.kind() != ClientErrorKind::Settings => return Err(error),
        _ => return Ok(()),
    };
    loop {
        let purged = audit.purge(kept, AUDIT_BATCH).await?;
        if purged.removed > 0 {
            state.metrics.audit_entries("purged", purged.removed);
            tracing::info!(entries = purged.removed, "purged the audit log");
        }
        if !purged.more {
            return Ok(());
        }
    }
}

fn tell(state: &AppState, report: &PurgeReport) {
    state.metrics.purged(report);
    if report.removed() > 0 {
        tracing::info!(
            expired = report.expired,
            orphaned = report.orphaned,
            failed = report.failed,
            acknowledged = report.acknowledged,
            freed_bytes = report.freed_bytes,
            "purged"
        );
    }
}

/// From nine to eleven tenths of `interval`, so that daemons that share a store and were started
/// together drift apart.
fn jittered(interval: Duration, random: u64) -> Duration {
    let per_mille = u32::try_from(random % 201).unwrap_or_default();
    interval.saturating_mul(900 + per_mille) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_stays_near_the_interval() {
        let hour = Duration::from_secs(3600);
        assert_eq!(jittered(hour, 0), Duration::from_secs(3240));
        assert_eq!(jittered(hour, 100), hour);
        assert_eq!(jittered(hour, 200), Duration::from_secs(3960));
        assert!(jittered(Duration::MAX, u64::MAX) > hour);
    }
}
