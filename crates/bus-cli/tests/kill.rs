//! `kill -9` of writers and of the daemon at random moments under load.
//!
//! What was acknowledged reads back whole; nothing that is not whole is visible; nothing is left
//! on the disk after the next purge. `BUS_KILL_ROUNDS` (10) says how often, `BUS_KILL_SEED` makes
//! the moments the same again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    collections::BTreeMap,
    process::{Child, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bus_testkit::{random_payload, sha256_hex, wait_for};

use crate::support::{Place, Ran, Serving};

/// How many programs write at the same time.
const WRITERS: u64 = 3;
/// The longest time from the first byte to the kill.
const LATEST_MS: u64 = 250;

/// SHA-256 of what was tried under each id, and which of it was acknowledged.
#[derive(Default)]
struct Book {
    tried: BTreeMap<String, String>,
    acknowledged: Vec<String>,
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged_and_shows_nothing_that_is_not_whole() {
    let (rounds, seed) = (number("BUS_KILL_ROUNDS").unwrap_or(10), seed());
    eprintln!("BUS_KILL_ROUNDS={rounds} BUS_KILL_SEED={seed}");
    let place = Place::new();
    let mut random = Random(seed);
    let mut book = Book::default();
    for round in 0..rounds {
        if round.is_multiple_of(2) {
            kill_writers(&place, round, &mut random, &mut book);
        } else {
            kill_daemon(&place, round, &mut random, &mut book);
        }
        check_visible(&place, &book);
    }
    eprintln!(
        "{} of {} uploads were acknowledged",
        book.acknowledged.len(),
        book.tried.len()
    );
    for id in &book.acknowledged {
        let payload = place.run(["get", id]).ok().stdout;
        assert_eq!(sha256_hex(&payload), book.tried[id], "{id}");
    }
    place.run(["verify"]).ok();
    check_nothing_leaks(&place);
}

/// Several `bus put` on the store itself, all killed at one moment.
fn kill_writers(place: &Place, round: u64, random: &mut Random, book: &mut Book) {
    let mut writers: Vec<(String, Child)> = Vec::new();
    for writer in 0..WRITERS {
        let (id, file) = sample(place, round, writer, random, book);
        let mut put = place.bus(["put", "-q", "--txn", &id, &file]);
        put.env("BUS_LEASE_SECS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        writers.push((id, put.spawn().unwrap()));
    }
    thread::sleep(Duration::from_millis(random.below(LATEST_MS)));
    for (_, child) in &mut writers {
        // One that has ended already cannot be killed any more.
        let _ = child.kill();
    }
    for (id, child) in writers {
        let ran = Ran::of(child.wait_with_output().unwrap());
        // Printed is acknowledged, whatever became of the program afterwards.
        if ran.line() == id {
            book.acknowledged.push(id);
        } else {
            assert_eq!(ran.code, None, "neither killed nor done: {}", ran.shown());
        }
    }
}

/// Several `bus put --url` and a tool call, and the daemon killed under them.
fn kill_daemon(place: &Place, round: u64, random: &mut Random, book: &mut Book) {
    let mut serve = place.bus(["serve", "--json", "-q", "--listen", "127.0.0.1:0"]);
    let mut daemon = Serving::spawn(serve.env("BUS_LEASE_SECS", "1"));
    let url = daemon.url.clone();
    let samples: Vec<_> = (0..WRITERS)
        .map(|writer| sample(place, round, writer, random, book))
        .collect();
    let acknowledged = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (id, file) in &samples {
            let (url, acknowledged) = (&url, &acknowledged);
            scope.spawn(move || {
                let ran = place.run(["put", "-q", "--txn", id, file, "--url", url]);
                if ran.code == Some(0) {
                    acknowledged.lock().unwrap().push(id.clone());
                } else {
                    assert!(matches!(ran.code, Some(1 | 5)), "{}", ran.shown());
                }
            });
        }
        let call = scope.spawn(|| {
            let arguments = r#"{"bytes":3000000,"kind":"random","seed":1}"#;
            place.run([
                "call",
                "-q",
                "generate",
                arguments,
                "--claim-only",
                "--url",
                &url,
            ])
        });
        thread::sleep(Duration::from_millis(random.below(LATEST_MS)));
        daemon.kill();
        let claimed = call.join().unwrap();
        if claimed.code == Some(0) {
            let claim = claimed.json();
            let id = claim["message_bus_transaction_id"].as_str().unwrap();
            let payload = place.run(["get", id]).ok().stdout;
            assert_eq!(
                payload.len(),
                3_000_000,
                "a claim that was sent can be redeemed"
            );
        }
    });
    book.acknowledged
        .append(&mut acknowledged.into_inner().unwrap());
}

/// A file to store, and its id.
fn sample(
    place: &Place,
    round: u64,
    writer: u64,
    random: &mut Random,
    book: &mut Book,
) -> (String, String) {
    let id = format!("r{round}-w{writer}");
    let bytes = match random.below(4) {
        0 => random.below(60_000),
        1 => random.below(2 << 20),
        _ => random.below(12 << 20),
    };
    let payload = random_payload(usize::try_from(bytes).unwrap(), random.next());
    book.tried.insert(id.clone(), sha256_hex(&payload));
    let file = place.file(&format!("{id}.bin"), payload);
    (id, file)
}

/// Every message that is visible is whole: one of ours has the bytes that were sent. One that was
/// not acknowledged may be among them, where its writer died between commit and answer.
fn check_visible(place: &Place, book: &Book) {
    let listed = place.run(["ls", "--all", "--json"]).ok().json();
    let mut visible = BTreeMap::new();
    for message in listed["messages"].as_array().unwrap() {
        let id = message["transaction_id"].as_str().unwrap().to_owned();
        if let Some(digest) = book.tried.get(&id) {
            assert_eq!(message["checksum"].as_str().unwrap(), digest, "{id}");
        } else {
            assert_eq!(message["tool_name"], "generate", "{message}");
        }
        visible.insert(id, ());
    }
    for id in &book.acknowledged {
        assert!(
            visible.contains_key(id),
            "{id} was acknowledged and is gone"
        );
    }
    let report = place.run(["verify", "--json"]);
    assert_eq!(report.code, Some(0), "{}", report.shown());
    assert_eq!(
        report.json()["messages"].as_u64().unwrap(),
        visible.len() as u64
    );
}

/// Once the leases are over, a purge removes what the dead left; then messages and files agree.
fn check_nothing_leaks(place: &Place) {
    wait_for(
        "the leases of the dead to end",
        Duration::from_secs(30),
        || {
            place.run(["purge"]).ok();
            place
                .records()
                .iter()
                .all(|record| record["status"] == "complete")
                .then_some(())
        },
    )
    .unwrap();
    let ids: Vec<String> = place
        .records()
        .iter()
        .map(|record| record["transaction_id"].as_str().unwrap().to_owned())
        .collect();
    if !ids.is_empty() {
        place
            .run(
                ["rm", "-q"]
                    .into_iter()
                    .chain(ids.iter().map(String::as_str)),
            )
            .ok();
    }
    assert_eq!(
        place.bodies(),
        Vec::<std::path::PathBuf>::new(),
        "files that belong to nothing"
    );
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value:?} is no number")),
    )
}

fn seed() -> u64 {
    number("BUS_KILL_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) ^ now.as_secs()
    })
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
