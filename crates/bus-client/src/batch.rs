//! Many messages at a time: bounded concurrency, one result per item, in order.

use bus_model::TransactionId;
use futures::{StreamExt as _, stream};

use crate::{ClientError, Fetched, Message, MessageBusClient, Published, Source};

impl MessageBusClient {
    /// Publishes every item; one that fails does not stop the others. The results are in the
    /// items' order. At most [`ClientBuilder::parallelism`](crate::ClientBuilder::parallelism)
    /// items are on their way at a time.
    pub async fn publish_batch(
        &self,
        items: Vec<(Message, Source)>,
    ) -> Vec<Result<Published, ClientError>> {
        let most = self.tuning().parallelism;
        let work = items
            .into_iter()
            .map(|(message, source)| self.publish(message, source));
        stream::iter(work.collect::<Vec<_>>())
            .buffered(most)
            .collect()
            .await
    }

    /// Opens every message for reading; one that fails does not stop the others. The results are
    /// in the ids' order.
    pub async fn fetch_batch(&self, ids: &[TransactionId]) -> Vec<Result<Fetched, ClientError>> {
        let most = self.tuning().parallelism;
        let work = ids.iter().map(|id| self.fetch(id));
        stream::iter(work.collect::<Vec<_>>())
            .buffered(most)
            .collect()
            .await
    }
}
