//! Fetching: exact bytes, or an error that says why.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod common;

use std::time::Duration;

use bus_client::{ClientErrorKind, MessageBusClient};
use bus_model::{CompressionType, Principal};
use bus_store::PurgeOptions;
use bytes::Bytes;
use common::{Bus, bus, bus_with, message_as, payload};
use futures::TryStreamExt as _;
use rstest::rstest;

async fn with_message(size: usize) -> Bus {
    let bus = bus();
    bus.client
        .publish(message_as("t1"), payload(size))
        .await
        .unwrap();
    bus
}

async fn range_of(client: &MessageBusClient, from: u64, to: u64) -> Bytes {
    let fetched = client.fetch(&"t1".parse().unwrap()).await.unwrap();
    let parts: Vec<Bytes> = fetched
        .range(from..to)
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    parts.concat().into()
}

#[rstest]
#[tokio::test]
async fn a_range_is_exactly_those_bytes(
    #[values((0, 0), (0, 1), (999, 1001), (1000, 2000), (0, 4500), (4499, 4500), (4500, 4500), (3000, 9999))]
    range: (u64, u64),
) {
    let bus = with_message(4500).await;
    let (from, to) = range;
    let expected = payload(4500).slice(from as usize..to.min(4500) as usize);
    assert_eq!(range_of(&bus.client, from, to).await, expected);
}

#[tokio::test]
async fn a_range_beyond_the_end_is_refused() {
    let bus = with_message(10).await;
    let fetched = bus.client.fetch(&"t1".parse().unwrap()).await.unwrap();
    let error = fetched.range(11..12).unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_file_is_written_whole_and_replaces_what_was_there() {
    let bus = with_message(4500).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    std::fs::write(&path, "old").unwrap();
    let fetched = bus.client.fetch(&"t1".parse().unwrap()).await.unwrap();
    fetched.to_file(&path).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), payload(4500));
    let error = fetched
        .to_file(&dir.path().join("none/out"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Source);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "a temporary file is left"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_is_followed_and_the_rights_of_its_file_are_kept() {
    use std::{fs, os::unix::fs as unix, os::unix::fs::PermissionsExt as _};
    let bus = with_message(4500).await;
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    unix::symlink("file", &link).unwrap();
    let fetched = bus.client.fetch(&"t1".parse().unwrap()).await.unwrap();
    fetched.to_file(&link).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&file).unwrap(), payload(4500));
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_record_carries_the_payload_when_asked_to() {
    let bus = with_message(4500).await;
    let fetched = bus.client.fetch(&"t1".parse().unwrap()).await.unwrap();
    assert_eq!(
        fetched.into_record().await.unwrap().payload,
        Some(payload(4500))
    );
}

#[rstest]
#[tokio::test]
async fn the_stored_chunks_are_handed_out_as_they_are(
    #[values(CompressionType::None, CompressionType::Gzip, CompressionType::Zstd)]
    compression: CompressionType,
) {
    let bus = bus_with(compression);
    bus.client
        .publish(message_as("t1"), payload(4500))
        .await
        .unwrap();
    let fetched = bus.client.fetch(&"t1".parse().unwrap()).await.unwrap();
    let stored: Vec<Bytes> = fetched.stored().try_collect().await.unwrap();
    assert_eq!(stored.len(), 5);
    let digest = bus_model::Digest::of(&stored.concat());
    assert_eq!(Some(digest), fetched.record().encoded_sha256);
}

#[tokio::test]
async fn an_expired_message_is_not_served_but_a_read_that_began_may_finish() {
    let bus = with_message(4500).await;
    let id = "t1".parse().unwrap();
    let began = bus.client.fetch(&id).await.unwrap();
    bus.clock.advance(Duration::from_secs(48 * 3600));
    let error = bus.client.fetch(&id).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Expired);
    assert_eq!(began.bytes().await.unwrap(), payload(4500));
    bus.clock.advance(Duration::from_secs(601));
    assert_eq!(
        bus.client
            .purge(&PurgeOptions::default())
            .await
            .unwrap()
            .expired,
        1
    );
    let error = bus.client.fetch(&id).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NotFound);
}

#[tokio::test]
async fn principals_do_not_see_each_other() {
    let bus = with_message(10).await;
    let id = "t1".parse().unwrap();
    let other = bus.client.with_principal(Principal::new("other").unwrap());
    for error in [
        other.fetch(&id).await.unwrap_err(),
        other.record(&id).await.unwrap_err(),
        other.delete(&id).await.unwrap_err(),
        other.acknowledge(&id).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ClientErrorKind::NotFound);
    }
    other.publish(message_as("t1"), payload(3)).await.unwrap();
    assert_eq!(range_of(&bus.client, 0, 10).await, payload(10));
}

#[tokio::test]
async fn a_read_is_stamped_and_an_acknowledgement_kept() {
    let bus = with_message(10).await;
    let id = "t1".parse().unwrap();
    let before = bus.client.record(&id).await.unwrap();
    bus.clock.advance(Duration::from_secs(5));
    bus.client.fetch(&id).await.unwrap();
    bus.client.flush().await;
    let after = bus.client.record(&id).await.unwrap();
    assert_eq!((after.accessed_at - before.accessed_at).num_seconds(), 5);
    let first = bus.client.acknowledge(&id).await.unwrap();
    bus.clock.advance(Duration::from_secs(5));
    assert_eq!(bus.client.acknowledge(&id).await.unwrap(), first);
}
