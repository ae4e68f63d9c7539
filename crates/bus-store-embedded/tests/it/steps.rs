//! The order in which things become durable.

use std::sync::Arc;

use bus_store::{Begin, PurgeOptions, Store as _};
use bus_store_embedded::{Options, Step, StepHook};
use parking_lot::Mutex;

use crate::support::{Fixture, LEASE, begin, body, key, message, noise, publish, upload};

type Seen = Arc<Mutex<Vec<Step>>>;

fn watched(checkpoint_bytes: u64) -> (Fixture, Seen) {
    let seen = Seen::default();
    let told = Arc::clone(&seen);
    let fixture = Fixture::with(|options| Options {
        checkpoint_bytes,
        on_step: StepHook::new(move |step| told.lock().push(step)),
        ..options
    });
    (fixture, seen)
}

fn take(seen: &Seen) -> Vec<Step> {
    std::mem::take(&mut *seen.lock())
}

#[tokio::test]
async fn the_row_is_durable_before_the_file_and_the_bytes_before_the_commit() {
    use Step::{ChunkWritten, Committed, DataSynced, FileCreated, FolderSynced, RowPending};
    let (f, seen) = watched(u64::MAX);
    publish(&f.store, "m", &body(noise(200, 1), 100)).await;
    let order = [
        RowPending,
        FileCreated,
        ChunkWritten,
        ChunkWritten,
        DataSynced,
        FolderSynced,
        Committed,
    ];
    assert_eq!(take(&seen), order);
}

#[tokio::test]
async fn the_bytes_of_a_checkpoint_are_durable_before_its_rows() {
    use Step::{
        ChunkWritten, Committed, DataSynced, FileCreated, FolderSynced, RowPending,
        RowsCheckpointed,
    };
    let (f, seen) = watched(200);
    publish(&f.store, "m", &body(noise(350, 1), 100)).await;
    let order = [
        RowPending,
        FileCreated,
        ChunkWritten,
        ChunkWritten,
        DataSynced,
        FolderSynced,
        RowsCheckpointed,
        ChunkWritten,
        ChunkWritten,
        DataSynced,
        Committed,
    ];
    assert_eq!(take(&seen), order);
}

#[tokio::test]
async fn a_small_message_is_one_step() {
    let (f, seen) = watched(u64::MAX);
    let small = body(noise(200, 1), 100);
    f.store
        .put(&message("m", 100), &small.manifest, &small.chunks)
        .await
        .unwrap();
    assert_eq!(take(&seen), [Step::Committed]);
}

#[tokio::test]
async fn a_file_goes_after_its_row_and_before_the_note_of_it() {
    use Step::{FileRemoved, RowDeleted, TrashCleared};
    let (f, seen) = watched(u64::MAX);
    let gone = [RowDeleted, FileRemoved, TrashCleared];
    let whole = body(noise(200, 1), 100);
    publish(&f.store, "deleted", &whole).await;
    take(&seen);
    f.store.delete(&key("deleted")).await.unwrap();
    assert_eq!(take(&seen), gone);

    let begun = begin(&f.store, &message("aborted", 100)).await;
    take(&seen);
    f.store.abort(&begun.token, "why not").await.unwrap();
    assert_eq!(take(&seen), gone);

    begin(&f.store, &message("orphaned", 100)).await;
    take(&seen);
    f.clock.advance(LEASE);
    f.store.purge(&PurgeOptions::default()).await.unwrap();
    assert_eq!(take(&seen), gone);
}

#[tokio::test]
async fn a_resumed_upload_syncs_what_the_writer_before_left_unsynced() {
    let (f, seen) = watched(u64::MAX);
    let whole = body(noise(200, 1), 100);
    let begun = begin(&f.store, &message("m", 100)).await;
    upload(&f.store, &begun.token, &whole.chunks).await;
    f.clock.advance(LEASE);
    take(&seen);
    let Begin::Resume(next, durable) = f.store.begin(&message("m", 100)).await.unwrap() else {
        panic!("the upload can be resumed")
    };
    assert_eq!(durable.len(), 2);
    f.store.commit(&next.token, &whole.manifest).await.unwrap();
    let order = [
        Step::RowPending,
        Step::DataSynced,
        Step::FolderSynced,
        Step::Committed,
    ];
    assert_eq!(take(&seen), order);
}
