//! What goes in comes out, also for who opens the folder later.

use bus_store::{PurgeOptions, PutOutcome, Store as _, StoreErrorKind, StoreExt as _};
use bus_store_embedded::EmbeddedStore;
use rstest::rstest;

use crate::support::{Fixture, body, key, message, noise, publish, read, refused};

#[rstest]
#[case::nothing(0)]
#[case::one_byte(1)]
#[case::one_chunk(1000)]
#[case::a_chunk_and_a_byte(1001)]
#[case::at_the_inline_border(64 << 10)]
#[case::beyond_the_inline_border((64 << 10) + 1)]
#[case::large(3_000_000)]
#[tokio::test]
async fn a_payload_comes_back_byte_for_byte(#[case] size: usize) {
    let f = Fixture::new();
    let payload = noise(size, 7);
    let whole = body(payload.clone(), 100_000);
    publish(&f.store, "steps", &whole).await;
    let put = message("put", 100_000);
    f.store
        .put(&put, &whole.manifest, &whole.chunks)
        .await
        .unwrap();
    let small_chunks = body(payload.clone(), 1000);
    let put = message("put-small-chunks", 1000);
    f.store
        .put(&put, &small_chunks.manifest, &small_chunks.chunks)
        .await
        .unwrap();
    drop(f.store);
    let store = EmbeddedStore::open(f.dir.path()).unwrap();
    // The fixture's clock stands in the past, so that all is expired by the machine's.
    refused(read(&store, "put").await, StoreErrorKind::Expired);
    let again = bus_store_embedded::Options {
        clock: f.clock,
        ..Default::default()
    };
    let store = EmbeddedStore::open_with(f.dir.path(), again).unwrap();
    for name in ["steps", "put", "put-small-chunks"] {
        assert_eq!(read(&store, name).await.unwrap(), payload, "{name}");
    }
    let verified = store.verify(&key("put").principal).await.unwrap();
    assert_eq!((verified.messages, verified.issues.len()), (3, 0));
}

#[tokio::test]
async fn a_small_message_needs_no_file_and_a_large_one_has_one_until_it_is_deleted() {
    let f = Fixture::new();
    let small = body(noise(2000, 1), 4096);
    f.store
        .put(&message("small", 4096), &small.manifest, &small.chunks)
        .await
        .unwrap();
    assert_eq!(f.body_files().len(), 0);
    publish(&f.store, "large", &body(noise(200_000, 2), 65_536)).await;
    assert_eq!(f.body_files().len(), 1);
    f.store.delete(&key("large")).await.unwrap();
    f.store.delete(&key("small")).await.unwrap();
    assert_eq!(f.body_files().len(), 0);
    refused(read(&f.store, "large").await, StoreErrorKind::NotFound);
    let report = f.store.purge(&PurgeOptions::default()).await.unwrap();
    assert_eq!(report.removed(), 0);
    f.store.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_at_the_same_time_each_get_their_own_answer() {
    let f = Fixture::new();
    let ours = body(noise(500, 1), 4096);
    let theirs = body(noise(500, 2), 4096);
    let puts = (0..60).map(|i| {
        let (name, body) = match i % 3 {
            0 => (format!("own-{i}"), &ours),
            1 => ("shared".to_owned(), &ours),
            _ => ("contested".to_owned(), if i < 30 { &ours } else { &theirs }),
        };
        let store = f.store.clone();
        let body = body.clone();
        tokio::spawn(async move {
            let put = message(&name, 4096);
            (name, store.put(&put, &body.manifest, &body.chunks).await)
        })
    });
    let mut created = Vec::new();
    let mut conflicts = 0;
    for answer in futures::future::join_all(puts).await {
        let (name, outcome) = answer.unwrap();
        match outcome {
            Ok(PutOutcome::Created(_)) => created.push(name),
            Ok(PutOutcome::AlreadyThere(_)) => assert!(!name.starts_with("own")),
            Ok(PutOutcome::Busy { .. }) => panic!("a put in one step holds no key"),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error:?}");
                assert_eq!(name, "contested");
                conflicts += 1;
            }
        }
    }
    assert_eq!((created.len(), conflicts), (22, 10));
    for name in created.iter().filter(|name| *name != "contested") {
        assert_eq!(read(&f.store, name).await.unwrap(), noise(500, 1), "{name}");
    }
}
