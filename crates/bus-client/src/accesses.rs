//! Stamps accesses best effort and coalesced: reads never wait for it.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus_model::MessageKey;
use bus_store::Store;

/// How long accesses are gathered before they are stamped together.
const GATHER: Duration = Duration::from_secs(1);

/// The accesses that are not stamped yet.
#[derive(Default)]
pub(crate) struct Accesses(Arc<Mutex<Pending>>);

#[derive(Default)]
struct Pending {
    keys: BTreeSet<MessageKey>,
    scheduled: bool,
}

impl Accesses {
    /// Notes an access, and sees to it that it is stamped within about a second.
    pub(crate) fn note(&self, store: &Arc<dyn Store>, key: MessageKey) {
        let first = {
            let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            pending.keys.insert(key);
            !mem::replace(&mut pending.scheduled, true)
        };
        if first {
            let (store, pending) = (Arc::clone(store), Arc::clone(&self.0));
            tokio::spawn(async move {
                tokio::time::sleep(GATHER).await;
                stamp(&pending, store.as_ref()).await;
            });
        }
    }

    /// Stamps what was noted, now.
    pub(crate) async fn flush(&self, store: &dyn Store) {
        stamp(&self.0, store).await;
    }
}

async fn stamp(pending: &Mutex<Pending>, store: &dyn Store) {
    let keys = {
        let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.scheduled = false;
        mem::take(&mut pending.keys)
    };
    if keys.is_empty() {
        return;
    }
    let keys: Vec<_> = keys.into_iter().collect();
    if let Err(error) = store.touch(&keys).await {
        tracing::debug!(%error, keys = keys.len(), "accesses were not stamped");
    }
}
