//! A disk that is full, and one that may not be written. Real ones, so the tests need root.

use std::process::Command;

use bus_store::{PurgeOptions, Store as _, StoreError, StoreErrorKind, StoreExt as _};
use bus_store_embedded::EmbeddedStore;
use bus_testkit::Tmpfs;

use crate::support::{
    begin, body, body_files, key, message, noise, publish, read, refused, upload,
};

const CHUNK: usize = 64 << 10;

fn disk(bytes: u64) -> Tmpfs {
    Tmpfs::mount(bytes).unwrap()
}

/// Uploads until the disk is full; the error.
async fn fill(store: &EmbeddedStore, name: &str) -> (bus_store::UploadToken, StoreError) {
    let begun = begin(store, &message(name, CHUNK as u64)).await;
    let whole = body(noise(64 * CHUNK, 9), CHUNK);
    for (seq, chunk) in (0..).zip(whole.chunks) {
        if let Err(error) = store.put_chunk(&begun.token, seq, chunk).await {
            return (begun.token, error);
        }
    }
    panic!("the disk never got full");
}

#[tokio::test]
async fn a_full_disk_is_an_error_of_that_kind_and_an_abort_frees_the_space() {
    let disk = disk(3 << 20);
    let store = EmbeddedStore::open(disk.path()).unwrap();
    let kept = noise(200_000, 1);
    publish(&store, "kept", &body(kept.clone(), CHUNK)).await;
    let (token, error) = fill(&store, "too-much").await;
    assert_eq!(error.kind(), StoreErrorKind::Full, "{error:?}");
    assert!(error.to_string().contains("no space is left"), "{error}");
    assert!(!error.is_transient());
    assert_eq!(read(&store, "kept").await.unwrap(), kept);
    store.abort(&token, "no space").await.unwrap();
    assert_eq!(body_files(disk.path()).len(), 1);
    publish(&store, "next", &body(kept.clone(), CHUNK)).await;
    assert_eq!(read(&store, "next").await.unwrap(), kept);
    assert_eq!(store.deep_check().await.unwrap().issues, []);
}

#[tokio::test]
async fn a_full_disk_can_be_emptied_by_the_store_itself() {
    let disk = disk(3 << 20);
    let store = EmbeddedStore::open(disk.path()).unwrap();
    let kept = noise(200_000, 1);
    publish(&store, "kept", &body(kept.clone(), CHUNK)).await;
    publish(&store, "goes", &body(kept.clone(), CHUNK)).await;
    let (_, error) = fill(&store, "too-much").await;
    assert_eq!(error.kind(), StoreErrorKind::Full, "{error:?}");
    // To the last byte, so that not even the log of a deletion fits.
    let filler = disk.path().join("filler");
    let filled = std::fs::write(filler, vec![1; 4 << 20]).unwrap_err();
    assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
    let mut refusal = None;
    for i in 0..500 {
        let small = body(noise(30_000, i), CHUNK);
        let name = format!("small-{i}");
        let put = message(&name, CHUNK as u64);
        if let Err(error) = store.put(&put, &small.manifest, &small.chunks).await {
            refusal = Some(error);
            break;
        }
    }
    let refusal = refusal.expect("a full disk takes no more");
    assert_eq!(refusal.kind(), StoreErrorKind::Full, "{refusal:?}");
    refused(store.check().await, StoreErrorKind::Full);
    assert_eq!(read(&store, "goes").await.unwrap(), kept);

    store.delete(&key("goes")).await.unwrap();
    store.purge_all(&PurgeOptions::default()).await.unwrap();
    publish(&store, "next", &body(kept.clone(), CHUNK)).await;
    for name in ["kept", "next"] {
        assert_eq!(read(&store, name).await.unwrap(), kept, "{name}");
    }
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_store_cannot_be_opened_on_a_full_disk() {
    let disk = disk(64 << 10);
    let _ = std::fs::write(disk.path().join("filler"), vec![1; 128 << 10]);
    refused(
        EmbeddedStore::open(disk.path().join("store")),
        StoreErrorKind::Full,
    );
}

fn remount(disk: &Tmpfs, how: &str) {
    let status = Command::new("mount")
        .args(["-o", &format!("remount,{how}")])
        .arg(disk.path())
        .status()
        .unwrap();
    assert!(status.success(), "mount -o remount,{how} takes root");
}

#[tokio::test]
async fn a_store_that_may_not_be_written_can_be_read() {
    let disk = disk(4 << 20);
    let payload = noise(200_000, 1);
    let whole = body(payload.clone(), CHUNK);
    let store = EmbeddedStore::open(disk.path()).unwrap();
    publish(&store, "large", &whole).await;
    let small = body(noise(100, 2), CHUNK);
    store
        .put(
            &message("small", CHUNK as u64),
            &small.manifest,
            &small.chunks,
        )
        .await
        .unwrap();
    drop(store);
    remount(&disk, "ro");
    let store = EmbeddedStore::open(disk.path()).unwrap();
    assert_eq!(read(&store, "large").await.unwrap(), payload);
    assert_eq!(read(&store, "small").await.unwrap(), noise(100, 2));
    assert_eq!(store.verify(&key("x").principal).await.unwrap().messages, 2);
    assert_eq!(store.stats().await.unwrap().complete, 2);
    assert_eq!(store.deep_check().await.unwrap().issues, []);
    store.touch(&[key("large")]).await.unwrap();
    let denied = StoreErrorKind::Denied;
    let said = refused(store.begin(&message("new", 100)).await, denied);
    assert!(said.contains("reading only"), "{said}");
    refused(store.delete(&key("large")).await, denied);
    refused(store.purge(&PurgeOptions::default()).await, denied);
    refused(store.check().await, denied);
    drop(store);
    remount(&disk, "rw");
    EmbeddedStore::open(disk.path())
        .unwrap()
        .check()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_store_left_by_a_crash_on_a_disk_that_may_not_be_written_can_be_read() {
    let disk = disk(4 << 20);
    let store = EmbeddedStore::open(disk.path().join("store")).unwrap();
    let payload = noise(200_000, 1);
    publish(&store, "m", &body(payload.clone(), CHUNK)).await;
    let left = begin(&store, &message("left", CHUNK as u64)).await;
    upload(&store, &left.token, &body(noise(100, 3), CHUNK).chunks).await;
    // What a crash leaves: the log is not folded back.
    let copied = Command::new("cp")
        .args(["-r", "store", "crashed"])
        .current_dir(disk.path())
        .status()
        .unwrap();
    assert!(copied.success());
    drop(store);
    remount(&disk, "ro");
    let crashed = EmbeddedStore::open(disk.path().join("crashed")).unwrap();
    assert_eq!(read(&crashed, "m").await.unwrap(), payload);
    refused(read(&crashed, "left").await, StoreErrorKind::NotComplete);
    drop(crashed);
    remount(&disk, "rw");
}

#[test]
fn where_nothing_may_be_written_there_is_no_new_store() {
    let disk = disk(64 << 10);
    remount(&disk, "ro");
    let said = refused(EmbeddedStore::open(disk.path()), StoreErrorKind::Denied);
    assert!(said.contains("may not write"), "{said}");
    remount(&disk, "rw");
}
