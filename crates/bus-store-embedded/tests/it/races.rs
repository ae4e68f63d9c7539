//! Calls of one upload that cross: whichever wins, no message is left without its bytes.

use std::{sync::mpsc, time::Duration};

use bus_store::{Begin, Store as _, StoreErrorKind};
use bus_store_embedded::{Options, Step, StepHook};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::{Fixture, LEASE, begin, body, message, noise, read, refused, upload};

/// A call that stands still after a step.
struct Gate {
    reached: UnboundedReceiver<()>,
    go: mpsc::Sender<()>,
}

/// A store whose first call that does `at` stands still right after it.
fn standing_still_after(at: Step) -> (Fixture, Gate) {
    let (told, reached) = unbounded_channel();
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(Some(wait));
    let fixture = Fixture::with(|options| Options {
        on_step: StepHook::new(move |step| {
            let first = (step == at).then(|| wait.lock().take()).flatten();
            if let Some(wait) = first {
                told.send(()).unwrap();
                wait.recv().unwrap();
            }
        }),
        ..options
    });
    (fixture, Gate { reached, go })
}

#[tokio::test]
async fn a_writer_overtaken_before_it_made_its_file_leaves_the_file_of_the_next_one_alone() {
    let (f, mut gate) = standing_still_after(Step::RowPending);
    let store = f.store.clone();
    let late = tokio::spawn(async move { store.begin(&message("m", 100)).await });
    gate.reached.recv().await.unwrap();
    f.clock.advance(LEASE);
    let other = f.other();
    let Begin::Resume(begun, _) = other.begin(&message("m", 100)).await.unwrap() else {
        panic!("the lease is over, and nobody holds a lock")
    };
    gate.go.send(()).unwrap();
    refused(late.await.unwrap(), StoreErrorKind::LeaseLost);
    let whole = body(noise(200, 1), 100);
    upload(&other, &begun.token, &whole.chunks).await;
    other.commit(&begun.token, &whole.manifest).await.unwrap();
    assert_eq!(read(&other, "m").await.unwrap(), noise(200, 1));
}

#[tokio::test]
async fn an_abort_that_crosses_a_commit_never_takes_the_bytes_of_a_complete_message() {
    let (f, mut gate) = standing_still_after(Step::FolderSynced);
    let whole = body(noise(200, 1), 100);
    let begun = begin(&f.store, &message("m", 100)).await;
    upload(&f.store, &begun.token, &whole.chunks).await;
    let (store, token) = (f.store.clone(), begun.token.clone());
    let commit = tokio::spawn(async move { store.commit(&token, &whole.manifest).await });
    gate.reached.recv().await.unwrap();
    // Another process writes the index: the commit waits in front of its transaction.
    let index = Connection::open(f.dir.path().join("index.sqlite")).unwrap();
    index.execute_batch("BEGIN IMMEDIATE").unwrap();
    gate.go.send(()).unwrap();
    // Whoever comes first, the test holds; the pauses only make the dangerous order likely.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let store = f.store.clone();
    let abort = tokio::spawn(async move { store.abort(&begun.token, "dropped").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    index.execute_batch("ROLLBACK").unwrap();

    let (committed, aborted) = (commit.await.unwrap(), abort.await.unwrap());
    assert_ne!(committed.is_ok(), aborted.is_ok(), "exactly one of the two");
    match committed {
        Ok(_) => assert_eq!(read(&f.store, "m").await.unwrap(), noise(200, 1)),
        Err(_) => drop(refused(
            read(&f.store, "m").await,
            StoreErrorKind::NotComplete,
        )),
    }
}
