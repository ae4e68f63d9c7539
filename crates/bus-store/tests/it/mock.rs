//! `MockStore` plays the faults that a real store cannot be made to show.

use std::{error::Error as _, io, sync::Arc, time::Duration};

use bus_model::{MessageKey, Principal, TransactionId};
use bus_store::{
    MockStore, PurgeOptions, PurgeReport, Store, StoreError, StoreErrorKind, StoreExt,
};

fn key() -> MessageKey {
    MessageKey::new(Principal::default(), TransactionId::mint())
}

#[tokio::test]
async fn a_mock_says_what_it_is_told() {
    let mut mock = MockStore::new();
    mock.expect_open().times(1).returning(|_| {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let error = StoreError::new(StoreErrorKind::Unavailable, "the store cannot be reached");
        Err(error
            .with_source(reset)
            .with_retry_after(Duration::from_secs(3)))
    });
    let store: Arc<dyn Store> = Arc::new(mock);
    let error = store.open(&key()).await.expect_err("the store is down");
    assert!(error.is_transient());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    assert_eq!(error.to_string(), "the store cannot be reached");
    assert!(error.source().is_some());
}

/// A store that says `more` and removes nothing does not keep `purge_all` busy for ever.
#[tokio::test]
async fn purge_all_ends_where_nothing_is_removed() {
    let mut mock = MockStore::new();
    mock.expect_purge().times(1).returning(|_| {
        Ok(PurgeReport {
            more: true,
            ..PurgeReport::default()
        })
    });
    let report = mock
        .purge_all(&PurgeOptions::default())
        .await
        .expect("purge");
    assert_eq!(report.removed(), 0);
}
