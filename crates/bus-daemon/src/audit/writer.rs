//! The task that writes: batches out of the queue, each until it is written or hopeless.

use std::{sync::Arc, time::Duration};

use bus_client::{ClientError, ClientErrorKind};
use bus_store::records::AuditEntry;
use tokio::{
    sync::mpsc::Receiver,
    time::{sleep, timeout},
};

use crate::{delivery::chain, state::AppState};

/// Most entries of one write.
const BATCH: usize = 200;
/// How long the first entry of a batch waits for more.
const WINDOW: Duration = Duration::from_millis(250);
/// The pause after a write that failed, doubled up to the longest.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Writes until the queue is closed and empty.
pub(crate) async fn write(state: Arc<AppState>, mut queue: Receiver<AuditEntry>) {
    let mut batch = Vec::new();
    let mut troubled = false;
    loop {
        gather(&mut queue, &mut batch).await;
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        match written(&state, &batch, &mut troubled).await {
            Ok(()) => state.audit.written(&state.metrics, count),
            Err(error) if error.kind() == ClientErrorKind::Settings => {
                tracing::warn!(error = %chain(&error), "no audit log is written");
                return;
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "audit entries were not taken");
                state.audit.lost(&state.metrics, count);
            }
        }
        batch.clear();
    }
}

/// Waits for an entry, and a moment more for others.
async fn gather(queue: &mut Receiver<AuditEntry>, batch: &mut Vec<AuditEntry>) {
    queue.recv_many(batch, BATCH).await;
    let more = async {
        while batch.len() < BATCH && queue.recv_many(batch, BATCH - batch.len()).await > 0 {}
    };
    // What has come when the time is over is in the batch.
    let _ = timeout(WINDOW, more).await;
}

/// Appends a batch, again and again while another try may help: the ids make that harmless. Once
/// the queue is closed there is one more try.
///
/// The log is told when trouble begins, and why, and when it is over.
async fn written(
    state: &AppState,
    batch: &[AuditEntry],
    troubled: &mut bool,
) -> Result<(), ClientError> {
    let mut pause = PAUSE;
    loop {
        let last = state.audit.closing.is_cancelled();
        let error = match append(state, batch).await {
            Ok(()) => {
                if std::mem::take(troubled) {
                    tracing::info!("the audit log is written again");
                }
                return Ok(());
            }
            Err(error) if last || is_hopeless(&error) => return Err(error),
            Err(error) => error,
        };
        if !std::mem::replace(troubled, true) {
            tracing::warn!(error = %chain(&error), "the audit log is not written for now, calls go on");
        }
        tokio::select! {
            () = sleep(error.retry_after().unwrap_or_default().max(pause).min(LONGEST_PAUSE)) => {}
            () = state.audit.closing.cancelled() => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn append(state: &AppState, batch: &[AuditEntry]) -> Result<(), ClientError> {
    let audit = state.client.records().await?.audit;
    state.metrics.timed("audit", audit.append(batch)).await?;
    Ok(())
}

/// Whether the same batch would be refused again.
fn is_hopeless(error: &ClientError) -> bool {
    matches!(
        error.kind(),
        ClientErrorKind::Settings
            | ClientErrorKind::InvalidInput
            | ClientErrorKind::TooLarge
            | ClientErrorKind::NewerFormat
    )
}
