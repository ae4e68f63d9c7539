//! Several processes on one store: who lives is left alone, who is killed leaves nothing behind.

use std::{path::Path, process::Command, thread, time::Duration};

use bus_model::MessageStatus;
use bus_store::{Begin, ListQuery, PurgeOptions, Store as _, StoreErrorKind, StoreExt as _};
use bus_store_embedded::EmbeddedStore;
use rstest::rstest;

use crate::{
    child::{CHUNK, Process, payload},
    support::{body, body_files, key, message, noise, publish, read, refused, upload},
};

/// Every status.
fn everything() -> ListQuery {
    ListQuery {
        status: None,
        limit: 1000,
        ..ListQuery::new(key("x").principal)
    }
}

#[tokio::test]
async fn whatever_was_acknowledged_before_a_kill_is_there_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..12_u64 {
        let mut child = Process::start(dir.path(), &format!("publish r{round}"));
        for _ in 0..round % 4 {
            acknowledged.push(child.hear().unwrap());
        }
        // Somewhere in the middle of what comes next; the test holds wherever that is.
        thread::sleep(Duration::from_micros(round * 1_700));
        acknowledged.extend(child.kill());
    }
    let store = EmbeddedStore::open(dir.path()).unwrap();
    for name in &acknowledged {
        assert_eq!(read(&store, name).await.unwrap(), payload(name), "{name}");
    }
    let complete = ListQuery {
        status: Some(MessageStatus::Complete),
        ..everything()
    };
    let visible = store.list(&complete).await.unwrap().records;
    for record in &visible {
        // One that was committed but whose acknowledgement was cut off is whole, too.
        let name = record.transaction_id.as_str();
        assert_eq!(read(&store, name).await.unwrap(), payload(name), "{name}");
    }
    assert!(visible.len() <= acknowledged.len() + 12);
    store.purge_all(&PurgeOptions::default()).await.unwrap();
    nothing_is_left_over(&store, dir.path()).await;
}

/// No pending message, no file without its message.
async fn nothing_is_left_over(store: &EmbeddedStore, dir: &Path) {
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.pending, stats.error), (0, 0));
    assert_eq!(store.deep_check().await.unwrap().issues, []);
    let mut with_file = 0;
    for record in store.list(&everything()).await.unwrap().records {
        with_file += usize::from(record.compressed_size_bytes > Some(64 << 10));
    }
    let files = body_files(dir).len();
    assert!(files >= with_file);
    assert!(files as u64 <= stats.complete);
}

#[rstest]
#[case::row_pending("RowPending", false)]
#[case::file_created("FileCreated", false)]
#[case::first_chunk("ChunkWritten", false)]
#[case::last_chunk("ChunkWritten 6", false)]
#[case::checkpoint_synced("DataSynced", false)]
#[case::checkpoint_named("FolderSynced", false)]
#[case::checkpointed("RowsCheckpointed", false)]
#[case::checkpointed_twice("RowsCheckpointed 2", false)]
#[case::committed("Committed", true)]
#[case::row_deleted("RowDeleted", false)]
#[case::file_removed("FileRemoved", false)]
#[case::trash_cleared("TrashCleared", false)]
#[tokio::test]
async fn a_crash_after_each_step_leaves_all_or_nothing(#[case] step: &str, #[case] there: bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Process::start(dir.path(), &format!("stop-at {step}"));
    while child.hear().is_some() {}
    drop(child);
    let clock = std::sync::Arc::new(bus_store::ManualClock::new(chrono::Utc::now()));
    let options = bus_store_embedded::Options {
        clock: std::sync::Arc::clone(&clock) as _,
        ..Default::default()
    };
    let store = EmbeddedStore::open_with(dir.path(), options).unwrap();
    match read(&store, "one").await {
        Ok(read) => assert!(there && read == noise(6 * CHUNK, 1)),
        Err(error) => {
            assert!(!there, "{error:?}");
            let kind = error.kind();
            use StoreErrorKind::{NotComplete, NotFound};
            assert!(matches!(kind, NotComplete | NotFound), "{error:?}");
        }
    }
    clock.advance(crate::support::LEASE);
    store.purge_all(&PurgeOptions::default()).await.unwrap();
    nothing_is_left_over(&store, dir.path()).await;
    assert_eq!(body_files(dir.path()).len(), usize::from(there));
}

#[tokio::test]
async fn a_killed_upload_is_resumed_from_its_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Process::start(dir.path(), "hold");
    assert_eq!(child.hear().unwrap(), "holding");
    child.kill();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    let whole = body(noise(6 * CHUNK, 1), CHUNK);
    let held = message("held", CHUNK as u64);
    let Begin::Resume(upload_, durable) = store.begin(&held).await.unwrap() else {
        panic!("the upload can be resumed")
    };
    // Two chunks were checkpointed, the third was not.
    let kept: Vec<u32> = durable.iter().map(|chunk| chunk.seq).collect();
    assert_eq!(kept, [0, 1]);
    assert_eq!(durable[1].digest, whole.chunks[1].digest);
    for seq in 2..6_u32 {
        let chunk = whole.chunks[seq as usize].clone();
        store.put_chunk(&upload_.token, seq, chunk).await.unwrap();
    }
    store.commit(&upload_.token, &whole.manifest).await.unwrap();
    assert_eq!(read(&store, "held").await.unwrap(), noise(6 * CHUNK, 1));
    // What was written after the checkpoint takes no space.
    let size = body_files(dir.path())[0].metadata().unwrap().len();
    assert_eq!(size, 6 * CHUNK as u64);
}

#[tokio::test]
async fn a_damaged_chunk_of_a_killed_upload_is_not_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Process::start(dir.path(), "hold");
    assert_eq!(child.hear().unwrap(), "holding");
    child.kill();
    let file = body_files(dir.path()).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    let begun = store.begin(&message("held", CHUNK as u64)).await.unwrap();
    let Begin::Resume(begun, durable) = begun else {
        panic!("the upload can be resumed, not {begun:?}")
    };
    assert_eq!(durable.iter().map(|c| c.seq).collect::<Vec<_>>(), [1]);
    let whole = body(noise(6 * CHUNK, 1), CHUNK);
    upload(&store, &begun.token, &whole.chunks).await;
    store.commit(&begun.token, &whole.manifest).await.unwrap();
    assert_eq!(read(&store, "held").await.unwrap(), noise(6 * CHUNK, 1));
}

#[tokio::test]
async fn a_live_writer_of_another_process_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Process::start(dir.path(), "hold");
    assert_eq!(child.hear().unwrap(), "holding");
    // Its lease is long over: only its lock says that it lives.
    let store = EmbeddedStore::open(dir.path()).unwrap();
    store.purge_all(&PurgeOptions::default()).await.unwrap();
    let answer = store.begin(&message("held", CHUNK as u64)).await.unwrap();
    assert!(matches!(answer, Begin::Busy { .. }), "{answer:?}");
    child.tell("commit");
    assert_eq!(child.hear().unwrap(), "committed");
    assert_eq!(read(&store, "held").await.unwrap(), noise(6 * CHUNK, 1));
}

#[tokio::test]
async fn a_stopped_writer_is_left_alone_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Process::start(dir.path(), "hold");
    assert_eq!(child.hear().unwrap(), "holding");
    signal(&child, "-STOP");
    let store = EmbeddedStore::open(dir.path()).unwrap();
    store.purge_all(&PurgeOptions::default()).await.unwrap();
    assert_eq!(store.stats().await.unwrap().pending, 1);
    signal(&child, "-CONT");
    child.tell("commit");
    assert_eq!(child.hear().unwrap(), "committed");
    assert_eq!(read(&store, "held").await.unwrap(), noise(6 * CHUNK, 1));
}

fn signal(child: &Process, signal: &str) {
    let status = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[tokio::test]
async fn a_writer_whose_message_another_process_deletes_learns_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Process::start(dir.path(), "hold");
    assert_eq!(child.hear().unwrap(), "holding");
    let store = EmbeddedStore::open(dir.path()).unwrap();
    store.delete(&key("held")).await.unwrap();
    assert_eq!(body_files(dir.path()).len(), 0);
    child.tell("commit");
    // It panics on the refusal, and so ends.
    assert_eq!(child.hear(), None);
    refused(read(&store, "held").await, StoreErrorKind::NotFound);
}

#[tokio::test]
async fn two_processes_write_and_read_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    let mut child = Process::start(dir.path(), "publish-leased theirs");
    for i in 0..30 {
        let ours = format!("ours-{i}");
        publish(&store, &ours, &body(payload(&ours), CHUNK)).await;
        let theirs = child.hear().unwrap();
        assert_eq!(read(&store, &theirs).await.unwrap(), payload(&theirs));
        assert_eq!(read(&store, &ours).await.unwrap(), payload(&ours));
        store.purge(&PurgeOptions::default()).await.unwrap();
    }
}

#[tokio::test]
async fn many_may_open_a_new_store_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let children: Vec<Process> = (0..4)
        .map(|i| Process::start(dir.path(), &format!("publish p{i}")))
        .collect();
    for mut child in children {
        let name = child.hear().expect("each of them publishes");
        let store = EmbeddedStore::open(dir.path()).unwrap();
        assert_eq!(read(&store, &name).await.unwrap(), payload(&name));
    }
}
