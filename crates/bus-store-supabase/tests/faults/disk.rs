//! A disk that is full, under a real PostgreSQL: its data lies on a small tmpfs.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use bus_client::ClientErrorKind;
use bus_store::{Store, StoreErrorKind as Kind};
use bus_testkit::{Postgres, Project, Server, Tmpfs, random_payload};

use crate::kit::{Body, PATIENT, Rig, begin_new, message, publish, send};

/// Room for PostgreSQL itself, its log and three databases, and then some.
const DISK: u64 = 224 << 20;
/// What is left when it is "full": less than a chunk.
const REST: u64 = 256 << 10;
const CHUNK: usize = 2 << 20;

/// A file that takes what is left of a disk.
struct Filler(PathBuf);

impl Filler {
    fn fill(disk: &Path) -> Self {
        let path = disk.join("filler");
        let mut file = File::create(&path).unwrap();
        let zeros = vec![0; 64 << 10];
        let mut len = 0;
        while let Ok(written) = file.write(&zeros) {
            len += written as u64;
        }
        file.set_len(len - REST).unwrap();
        Self(path)
    }

    fn free(self) {
        std::fs::remove_file(self.0).unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_all_works_once_there_is_space() {
    let disk = Tmpfs::mount(DISK).unwrap();
    let postgres = Postgres::options()
        .folder(disk.path().join("data"))
        .start()
        .await
        .unwrap();
    let rig = Rig::on(
        Project::on(Server::Postrust, postgres).await.unwrap(),
        PATIENT,
    )
    .await;
    let store = rig.store.as_ref();
    let old = Body::of(2, 9);
    let old_key = publish(store, "old", &old).await;
    let body = Body::cut(random_payload(2 * CHUNK, 1).into(), CHUNK);
    let mut new = message("pending");
    new.plan.chunk_size = CHUNK as u64;
    let token = begin_new(store, &new).await.token;
    send(store, &token, &body, 0..1).await;
    // A log segment that has room, so that it is the tables that find none.
    for sql in ["select pg_switch_wal()", "checkpoint"] {
        rig.project.postgres().sql("postgres", sql).await.unwrap();
    }
    let filler = Filler::fill(disk.path());

    let error = rig.failed(
        store.put_chunk(&token, 1, body.chunks[1].clone()).await,
        Kind::Full,
    );
    assert!(!error.is_transient());
    assert!(error.to_string().contains("delete something"), "{error}");
    let mut small = message("small");
    small.plan.chunk_size = CHUNK as u64;
    let one = Body::cut(random_payload(CHUNK, 2).into(), CHUNK);
    rig.failed(
        store.put(&small, &one.manifest, &one.chunks).await,
        Kind::Full,
    );
    let told = publish_by_client(&rig, &one).await.unwrap_err();
    assert_eq!(told.kind(), ClientErrorKind::Full, "{told:?}");
    rig.absent(&new.key, &body).await;
    rig.absent(&small.key, &one).await;
    rig.whole(&old_key, &old).await;

    filler.free();
    send(store, &token, &body, 1..2).await;
    store.commit(&token, &body.manifest).await.unwrap();
    rig.whole(&new.key, &body).await;
    store.put(&small, &one.manifest, &one.chunks).await.unwrap();
    rig.whole(&small.key, &one).await;
    assert!(publish_by_client(&rig, &one).await.unwrap().created);
    rig.works("afterwards").await;
    drop(rig);
    drop(disk);
}

async fn publish_by_client(
    rig: &Rig,
    body: &Body,
) -> Result<bus_client::Published, bus_client::ClientError> {
    let message = bus_client::Message {
        transaction_id: Some("by-client".parse().unwrap()),
        ..bus_client::Message::new("session".parse().unwrap(), "tool".parse().unwrap())
    };
    rig.client().publish(message, body.payload.clone()).await
}
