//! The records beside messages: their conformance suite over two handles on one folder, and an
//! index of the format before them.

use std::{fs, path::Path, sync::Arc};

use bus_model::{MessageKey, Principal, TransactionId};
use bus_store::{
    Clock as _, Records, Store as _, StoreExt as _,
    records::{PreferenceName, PreferenceValue, conformance::RecordsHarness},
};
use bus_store_embedded::EmbeddedStore;
use chrono::{DateTime, Utc};

use crate::support::Fixture;

struct Embedded {
    first: Fixture,
    second: EmbeddedStore,
}

impl RecordsHarness for Embedded {
    fn records(&self) -> Records {
        self.first.store.records()
    }

    fn now(&self) -> DateTime<Utc> {
        self.first.clock.now()
    }

    fn second(&self) -> Option<Records> {
        Some(self.second.records())
    }
}

async fn harness() -> Embedded {
    let first = Fixture::new();
    let second = first.other();
    Embedded { first, second }
}

bus_store::records_conformance_suite!(harness);

/// Records are there after the store was opened again.
#[tokio::test]
async fn records_outlive_the_process() {
    let f = Fixture::new();
    let (me, name) = (Principal::default(), PreferenceName::new("n").unwrap());
    let value = PreferenceValue::new("{\"b\": 1.0}").unwrap();
    let set = f.store.records().preferences.set(&me, &name, &value).await;
    set.unwrap();
    let dir = f.dir;
    drop(f.store);
    let records = EmbeddedStore::open(dir.path()).unwrap().records();
    let read = records.preferences.get(&me, &name).await.unwrap();
    assert_eq!(read.value, value);
}

/// A store that the format before wrote: a small message inside the index, one in a file.
fn earlier() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format-1"),
        dir.path(),
    );
    assert_eq!(format(dir.path()), 1);
    dir
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn format(dir: &Path) -> i32 {
    let conn = rusqlite::Connection::open(dir.join("index.sqlite")).unwrap();
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap()
}

async fn messages_are_whole(store: &EmbeddedStore) {
    let report = store.verify(&Principal::default()).await.unwrap();
    assert_eq!((report.messages, report.issues.len()), (2, 0), "{report:?}");
    let id = TransactionId::new("txn_small").unwrap();
    let key = MessageKey::new(Principal::default(), id);
    let record = store.record(&key).await.unwrap();
    assert_eq!(record.payload_size_bytes, 24);
}

/// A store of the earlier format opens, is upgraded in place, and keeps its messages.
#[tokio::test]
async fn a_store_of_the_earlier_format_is_upgraded_in_place() {
    let dir = earlier();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    assert_eq!(format(dir.path()), 2);
    messages_are_whole(&store).await;
    let (me, name) = (Principal::default(), PreferenceName::new("n").unwrap());
    let value = PreferenceValue::new("1").unwrap();
    let prefs = store.records().preferences;
    prefs.set(&me, &name, &value).await.unwrap();
    let again = EmbeddedStore::open(dir.path()).unwrap();
    messages_are_whole(&again).await;
    assert!(again.records().preferences.get(&me, &name).await.is_ok());
    let deep = again.deep_check().await.unwrap();
    assert!(deep.issues.is_empty(), "{deep:?}");
}

/// Several processes that open it at once upgrade it once.
#[tokio::test]
async fn an_upgrade_at_once_is_one_upgrade() {
    let dir = Arc::new(earlier());
    let opens = (0..6).map(|_| {
        let dir = Arc::clone(&dir);
        tokio::task::spawn_blocking(move || EmbeddedStore::open(dir.path()))
    });
    for opened in futures::future::join_all(opens.collect::<Vec<_>>()).await {
        messages_are_whole(&opened.unwrap().unwrap()).await;
    }
    assert_eq!(format(dir.path()), 2);
}
