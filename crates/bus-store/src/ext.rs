//! Conveniences made of the contract alone, for every store.

use async_trait::async_trait;
use bus_model::{Digest, Hasher, MessageKey, Principal};
use futures::StreamExt as _;

use crate::{
    ListQuery, PurgeOptions, PurgeReport, Store, StoreError, StoreErrorKind, types::OpenMessage,
};

/// A damaged message.
#[derive(Debug)]
pub struct VerifyIssue {
    /// Which message.
    pub key: MessageKey,
    /// What is wrong with it.
    pub error: StoreError,
}

/// What a verification found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Messages read in full.
    pub messages: u64,
    /// Stored bytes read.
    pub stored_bytes: u64,
    /// Every damaged message.
    pub issues: Vec<VerifyIssue>,
    /// Damage beside single messages, as [`Store::inspect`] tells it.
    pub structure: Vec<String>,
}

/// Conveniences over every [`Store`].
#[async_trait]
pub trait StoreExt: Store {
    /// Purges batch by batch until nothing is left to purge.
    ///
    /// # Errors
    /// The first error of a batch; batches before it are done.
    async fn purge_all(&self, options: &PurgeOptions) -> Result<PurgeReport, StoreError> {
        let mut total = PurgeReport::default();
        loop {
            let batch = self.purge(options).await?;
            total.absorb(&batch);
            if !batch.more || batch.removed() == 0 {
                return Ok(total);
            }
        }
    }

    /// Inspects the store, then reads every stored chunk of every complete message of `principal` and checks its digest.
    /// A damaged message is reported and does not stop the rest; one that goes away meanwhile is
    /// passed over. Memory is bounded by a page of records and a chunk.
    ///
    /// # Errors
    /// Only where the store as a whole cannot be read.
    async fn verify(&self, principal: &Principal) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport {
            structure: self.inspect().await?,
            ..Default::default()
        };
        let mut query = ListQuery::new(principal.clone());
        loop {
            let page = self.list(&query).await?;
            for record in &page.records {
                let key = record.key();
                match verify_message(self, &key).await {
                    Ok(stored_bytes) => {
                        report.messages += 1;
                        report.stored_bytes += stored_bytes;
                    }
                    Err(error) if is_gone(&error) => {}
                    Err(error) if error.is_transient() => return Err(error),
                    Err(error) => report.issues.push(VerifyIssue { key, error }),
                }
            }
            match page.next {
                Some(cursor) => query.after = Some(cursor),
                None => return Ok(report),
            }
        }
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

/// Deleted, expired or replaced since it was listed.
fn is_gone(error: &StoreError) -> bool {
    matches!(
        error.kind(),
        StoreErrorKind::NotFound | StoreErrorKind::Expired | StoreErrorKind::NotComplete
    )
}

/// Reads one message in full; the stored bytes read.
async fn verify_message<S: Store + ?Sized>(store: &S, key: &MessageKey) -> Result<u64, StoreError> {
    let OpenMessage { record, manifest } = store.open(key).await?;
    let damaged = |what: String| {
        StoreError::new(
            StoreErrorKind::Damaged,
            format!(
                "message {}: {what}; delete it and publish it again",
                key.transaction_id
            ),
        )
    };
    if record.manifest_sha256 != Some(manifest.digest()) {
        return Err(damaged("the manifest does not match its digest".into()));
    }
    let mut chunks = store
        .chunks(&key.principal, record.id, 0..manifest.chunk_count())
        .await?;
    let mut whole = Hasher::new();
    for (seq, entry) in manifest.chunks().iter().enumerate() {
        let bytes = match chunks.next().await {
            Some(bytes) => bytes?,
            None => return Err(damaged(format!("chunk {seq} is missing"))),
        };
        if Digest::of(&bytes) != entry.digest {
            return Err(damaged(format!("chunk {seq} does not match its digest")));
        }
        whole.update(&bytes);
    }
    if whole.finish() != manifest.encoded_digest() {
        return Err(damaged("the body does not match its digest".into()));
    }
    Ok(manifest.encoded_size())
}
