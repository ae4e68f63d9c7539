//! What is damaged is said to be; the rest of the store keeps working.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
};

use bus_store::{Store as _, StoreErrorKind, StoreExt as _};
use bus_store_embedded::{EmbeddedStore, StoreIssue};
use rusqlite::Connection;

use crate::support::{Fixture, begin, body, key, message, noise, publish, read, refused};

/// A store with three large messages; the body file of the one named `hurt`.
async fn three() -> (Fixture, std::path::PathBuf) {
    let f = Fixture::new();
    publish(&f.store, "hurt", &body(noise(200_000, 1), 65_536)).await;
    let file = f.body_files().remove(0);
    publish(&f.store, "a", &body(noise(200_000, 2), 65_536)).await;
    publish(&f.store, "b", &body(noise(200_000, 3), 65_536)).await;
    (f, file)
}

/// Verification finds the message named `hurt` and nothing else; the others are read back.
async fn only_that_one_is_hurt(store: &EmbeddedStore, said: &str) {
    let report = store.verify(&key("a").principal).await.unwrap();
    assert_eq!(report.messages, 2);
    let [issue] = &report.issues[..] else {
        panic!("one issue was expected: {report:?}")
    };
    assert_eq!(issue.key, key("hurt"));
    assert_eq!(issue.error.kind(), StoreErrorKind::Damaged);
    let text = issue.error.to_string();
    assert!(text.contains("hurt") && text.contains(said), "{text}");
    assert_eq!(read(store, "a").await.unwrap(), noise(200_000, 2));
    assert_eq!(read(store, "b").await.unwrap(), noise(200_000, 3));
    store.check().await.unwrap();
    // And it can be got rid of.
    store.delete(&key("hurt")).await.unwrap();
    assert_eq!(store.deep_check().await.unwrap().issues, []);
}

#[tokio::test]
async fn a_flipped_bit_is_found_in_its_message() {
    let (f, file) = three().await;
    let mut bytes = fs::read(&file).unwrap();
    bytes[100_000] ^= 4;
    fs::write(&file, bytes).unwrap();
    only_that_one_is_hurt(&f.store, "chunk 1 does not match").await;
}

#[tokio::test]
async fn a_body_without_its_end_is_found() {
    let (f, file) = three().await;
    File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(150_000)
        .unwrap();
    let said = refused(read(&f.store, "hurt").await, StoreErrorKind::Damaged);
    assert!(said.contains("150000 bytes, at least 200000"), "{said}");
    let deep = f.store.deep_check().await.unwrap();
    assert!(
        matches!(&deep.issues[..], [StoreIssue::ShortBody { key: k, .. }] if *k == key("hurt"))
    );
    only_that_one_is_hurt(&f.store, "150000 bytes").await;
}

#[tokio::test]
async fn a_missing_body_is_found() {
    let (f, file) = three().await;
    fs::remove_file(&file).unwrap();
    let deep = f.store.deep_check().await.unwrap();
    assert_eq!(deep.issues, [StoreIssue::MissingBody(key("hurt"))]);
    only_that_one_is_hurt(&f.store, "missing").await;
}

#[tokio::test]
async fn files_that_no_message_has_are_reported_and_bodies_among_them_purged() {
    let (f, file) = three().await;
    let stray = file.with_file_name(format!(
        "01890000-0000-7000-8000-0000000000{}.body",
        file.parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
    ));
    fs::write(&stray, "left by a crash").unwrap();
    let foreign = f.dir.path().join("bodies").join("README");
    fs::write(&foreign, "somebody's").unwrap();
    let mut issues = f.store.deep_check().await.unwrap().issues;
    issues.sort_by_key(ToString::to_string);
    let mut wanted = [stray.clone(), foreign.clone()].map(StoreIssue::UnknownFile);
    wanted.sort_by_key(ToString::to_string);
    assert_eq!(issues, wanted);
    let report = f.store.purge_all(&Default::default()).await.unwrap();
    assert_eq!((report.removed(), report.freed_bytes), (0, 15));
    assert!(!stray.exists());
    assert!(
        foreign.exists(),
        "what is not a body is not bus's to remove"
    );
    assert_eq!(read(&f.store, "hurt").await.unwrap(), noise(200_000, 1));
}

/// Changes the index behind the store's back.
fn tamper(dir: &Path, sql: &str) {
    let conn = Connection::open(dir.join("index.sqlite")).unwrap();
    conn.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_row_that_is_not_legal_hurts_its_message_only() {
    let (f, _) = three().await;
    tamper(
        f.dir.path(),
        "UPDATE messages SET session_id = '' WHERE transaction_id = 'hurt'",
    );
    let said = refused(f.store.record(&key("hurt")).await, StoreErrorKind::Damaged);
    assert!(said.contains("hurt"), "{said}");
    let query = bus_store::ListQuery::new(key("a").principal);
    let page = f.store.list(&query).await.unwrap();
    assert_eq!(page.records.len(), 2);
    let deep = f.store.deep_check().await.unwrap();
    assert!(matches!(&deep.issues[..], [StoreIssue::Rows(text)] if text.contains("hurt")));
    assert_eq!(read(&f.store, "a").await.unwrap(), noise(200_000, 2));
}

#[tokio::test]
async fn chunk_rows_that_were_swapped_are_found() {
    let (f, _) = three().await;
    tamper(
        f.dir.path(),
        "UPDATE chunks SET sha256 = zeroblob(32) WHERE seq = 1 AND message = \
         (SELECT num FROM messages WHERE transaction_id = 'hurt')",
    );
    only_that_one_is_hurt(&f.store, "do not match their digest").await;
}

#[tokio::test]
async fn an_index_with_overwritten_pages_is_damaged_and_nothing_panics() {
    let (f, _) = three().await;
    let path = f.dir.path().to_owned();
    let (dir, clock) = (f.dir, f.clock);
    drop(f.store);
    let index = path.join("index.sqlite");
    let size = fs::metadata(&index).unwrap().len();
    let mut file = File::options().write(true).open(&index).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&noise(usize::try_from(size).unwrap() - 4096, 5))
        .unwrap();
    drop(file);
    let options = bus_store_embedded::Options {
        clock,
        ..Default::default()
    };
    match EmbeddedStore::open_with(&path, options) {
        Err(error) => assert_eq!(error.kind(), StoreErrorKind::Damaged, "{error:?}"),
        Ok(store) => {
            refused(read(&store, "a").await, StoreErrorKind::Damaged);
            refused(
                store.begin(&message("new", 10)).await,
                StoreErrorKind::Damaged,
            );
            let deep = store.deep_check().await.unwrap();
            assert!(
                matches!(deep.issues[..], [StoreIssue::Index(_), ..]),
                "{deep:?}"
            );
        }
    }
    drop(dir);
}

#[test]
fn a_newer_format_is_refused() {
    let f = Fixture::new();
    tamper(f.dir.path(), "PRAGMA user_version = 3");
    let said = refused(
        EmbeddedStore::open(f.dir.path()),
        StoreErrorKind::NewerFormat,
    );
    assert!(
        said.contains("format 3") && said.contains("upgrade"),
        "{said}"
    );
}

#[test]
fn a_foreign_database_is_refused_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    tamper(
        dir.path(),
        "CREATE TABLE theirs (x); PRAGMA application_id = 7",
    );
    let before = fs::read(dir.path().join("index.sqlite")).unwrap();
    let said = refused(EmbeddedStore::open(dir.path()), StoreErrorKind::Damaged);
    assert!(said.contains("not the index of a bus store"), "{said}");
    assert_eq!(fs::read(dir.path().join("index.sqlite")).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let text = "shopping list\n".repeat(500);
    fs::write(dir.path().join("index.sqlite"), &text).unwrap();
    let said = refused(EmbeddedStore::open(dir.path()), StoreErrorKind::Damaged);
    assert!(said.contains("not a SQLite database"), "{said}");
    let after = fs::read_to_string(dir.path().join("index.sqlite")).unwrap();
    assert_eq!(after, text);
}

#[tokio::test]
async fn bodies_whose_index_is_gone_are_not_taken_for_strays() {
    let (f, file) = three().await;
    let dir = f.dir;
    drop(f.store);
    fs::remove_file(dir.path().join("index.sqlite")).unwrap();
    let said = refused(EmbeddedStore::open(dir.path()), StoreErrorKind::Damaged);
    assert!(said.contains("index.sqlite is missing"), "{said}");
    assert!(file.exists());
}

#[tokio::test]
async fn a_reader_that_began_before_a_delete_reads_to_the_end() {
    use futures::StreamExt as _;
    let (f, _) = three().await;
    let opened = f.store.open(&key("hurt")).await.unwrap();
    let owner = key("hurt").principal;
    let mut chunks = f
        .store
        .chunks(&owner, opened.record.id, 0..4)
        .await
        .unwrap();
    let mut got = chunks.next().await.unwrap().unwrap().to_vec();
    f.store.delete(&key("hurt")).await.unwrap();
    while let Some(chunk) = chunks.next().await {
        got.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(got, noise(200_000, 1));
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_store() {
    use std::os::unix::fs::PermissionsExt as _;
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("new/store");
    let store = EmbeddedStore::open(&dir).unwrap();
    begin(&store, &message("m", 10)).await;
    let body = crate::support::body_files(&dir).remove(0);
    for (path, wanted) in [
        (dir.clone(), 0o700),
        (dir.join("bodies"), 0o700),
        (dir.join("index.sqlite"), 0o600),
        (dir.join("index.sqlite-wal"), 0o600),
        (body, 0o600),
    ] {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, wanted, "{}", path.display());
    }
}
