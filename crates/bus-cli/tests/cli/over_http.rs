//! The verbs with `--url`, against a real daemon.

use bus_testkit::{json_payload, random_payload, sha256_hex};
use rstest::rstest;

use crate::support::{Place, Ran, Serving, feed, finish};

struct Remote {
    place: Place,
    daemon: Serving,
}

impl Remote {
    fn new() -> Self {
        let place = Place::new();
        let daemon = Serving::start(&place, &[]);
        Self { place, daemon }
    }

    fn run(&self, args: &[&str]) -> Ran {
        finish(self.place.bus(args).args(["--url", &self.daemon.url]))
    }

    fn put(&self, args: &[&str], payload: &[u8]) -> Ran {
        feed(
            self.place
                .bus(["put"])
                .args(args)
                .args(["--url", &self.daemon.url]),
            payload,
        )
    }
}

#[rstest]
#[case(0)]
#[case(1)]
#[case(2_097_153)]
#[case(5_000_000)]
fn a_payload_goes_there_and_back(#[case] bytes: usize) {
    let remote = Remote::new();
    let payload = json_payload(bytes, 5);
    let id = remote.put(&[], &payload).ok().line();
    assert!(remote.run(&["get", &id]).ok().stdout == payload);
    let file = remote.place.file("payload", &payload);
    let id = remote.run(&["put", &file, "--txn", "named"]).ok().line();
    assert_eq!(id, "named");
    remote.run(&["get", "named", "-o", "out"]).ok();
    assert!(remote.place.read("out") == payload);
    // The daemon and the store beside it show the same message.
    assert!(remote.place.run(["get", "named"]).ok().stdout == payload);
}

#[rstest]
#[case("0-0", 0..1)]
#[case("2097151-2097152", 2_097_151..2_097_153)]
#[case("2999999-", 2_999_999..3_000_000)]
#[case("-7", 2_999_993..3_000_000)]
#[case("2999990-9999999", 2_999_990..3_000_000)]
fn a_range_holds_both_its_ends(#[case] range: &str, #[case] expected: std::ops::Range<usize>) {
    let remote = Remote::new();
    let payload = random_payload(3_000_000, 1);
    let id = remote.put(&[], &payload).ok().line();
    assert!(remote.run(&["get", &id, "--range", range]).ok().stdout == payload[expected]);
}

#[test]
fn what_is_said_of_a_message_arrives() {
    let remote = Remote::new();
    let said = [
        "--txn",
        "t",
        "--session",
        "sitzung-ä",
        "--tool",
        "analyse",
        "--provider",
        "local",
        "--priority",
        "bulk",
        "--content-type",
        "text/csv",
        "--metadata",
        r#"{"ort":"Köln"}"#,
        "--ttl-hours",
        "1.5",
    ];
    remote.put(&said, b"a,b").ok();
    let record = remote.run(&["show", "t", "--json"]).ok().json();
    assert_eq!(record["session_id"], "sitzung-ä");
    assert_eq!(record["tool_name"], "analyse");
    assert_eq!(record["provider_name"], "local");
    assert_eq!(record["priority"], "bulk");
    assert_eq!(record["content_type"], "text/csv");
    assert_eq!(record["metadata"]["ort"], "Köln");
    let time = |key: &str| record[key].as_str().unwrap()[11..16].to_owned();
    assert_ne!(time("created_at"), time("expires_at"));
    assert_eq!(
        remote.place.run(["show", "t", "--json"]).ok().json(),
        record
    );
}

#[test]
fn messages_are_listed_page_by_page_and_removed() {
    let remote = Remote::new();
    for n in 0..3 {
        remote
            .put(
                &["--txn", &format!("t{n}"), "--session", &format!("s{n}")],
                b"x",
            )
            .ok();
    }
    let ids = |args: &[&str]| {
        let listed = remote.run(args).ok().json();
        let ids: Vec<String> = listed["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["transaction_id"].as_str().unwrap().to_owned())
            .collect();
        (ids.join(" "), listed["more"].as_bool().unwrap())
    };
    assert_eq!(ids(&["ls", "--json"]), ("t2 t1 t0".to_owned(), false));
    assert_eq!(
        ids(&["ls", "--json", "--limit", "1"]),
        ("t2".to_owned(), true)
    );
    assert_eq!(ids(&["ls", "--json", "--session", "s1"]).0, "t1");
    assert_eq!(
        ids(&[
            "ls",
            "--json",
            "--status",
            "all",
            "--before",
            "2020-01-01T00:00:00Z"
        ])
        .0,
        ""
    );
    remote.run(&["rm", "t1", "t0"]).ok();
    assert_eq!(ids(&["ls", "--json", "--all"]).0, "t2");
}

#[test]
fn the_same_bytes_again_are_fine_and_others_are_a_conflict() {
    let remote = Remote::new();
    remote.put(&["--txn", "t"], b"one").ok();
    let again = remote.put(&["--txn", "t"], b"one").ok();
    assert!(again.stderr.contains("stored before"), "{}", again.shown());
    remote
        .put(&["--txn", "t"], b"two")
        .fails(1, "another digest");
}

#[test]
fn a_payload_must_have_the_digest_that_was_announced() {
    let remote = Remote::new();
    let right = sha256_hex(b"payload");
    remote.put(&["--sha256", &right], b"payload").ok();
    remote
        .put(&["--sha256", &right], b"payloaf")
        .fails(6, "was announced");
    assert_eq!(remote.place.records().len(), 1);
}

#[rstest]
#[case::unknown(&["get", "unknown"], 3, "no message unknown")]
#[case::unknown_record(&["show", "unknown"], 3, "no message unknown")]
#[case::unknown_to_remove(&["rm", "unknown"], 3, "no message unknown")]
#[case::expired(&["get", "old"], 3, "expired")]
#[case::range_beyond(&["get", "t", "--range", "4-"], 2, "4 bytes")]
#[case::dots(&["get", ".."], 2, "neither . nor ..")]
fn a_refusal_has_its_message_and_its_code(
    #[case] args: &[&str],
    #[case] code: i32,
    #[case] message: &str,
) {
    let remote = Remote::new();
    remote.put(&["--txn", "t"], b"four").ok();
    remote
        .put(&["--txn", "old", "--ttl-hours", "0.000003"], b"x")
        .ok();
    std::thread::sleep(std::time::Duration::from_millis(20));
    remote.run(args).fails(code, message);
}

#[test]
fn a_payload_beyond_the_daemons_maximum_is_refused() {
    let place = Place::new();
    let mut serve = place.bus(["serve", "--json", "-q", "--listen", "127.0.0.1:0"]);
    let daemon = Serving::spawn(serve.env("MESSAGE_BUS_MAX_PAYLOAD_MB", "1"));
    let payload = random_payload(3 << 20, 1);
    let file = place.file("big", &payload);
    let url = ["--url", daemon.url.as_str()];
    finish(place.bus(["put", &file]).args(url)).fails(1, "1048576");
    feed(place.bus(["put"]).args(url), &payload).fails(1, "1048576");
    assert!(
        place.run(["ls", "--json"]).ok().json()["messages"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_daemon_on_this_machine_is_reached_past_any_proxy() {
    let remote = Remote::new();
    let mut ls = remote.place.bus(["ls", "--url", &remote.daemon.url]);
    finish(
        ls.env("HTTP_PROXY", "http://127.0.0.1:1")
            .env("http_proxy", "http://127.0.0.1:1"),
    )
    .ok();
}

#[test]
fn an_upload_whose_source_fails_never_becomes_visible() {
    let remote = Remote::new();
    // A folder opens like a file and fails on the first read; a pipe that ends is no failure.
    let ran = remote.run(&["put", "."]);
    ran.fails(1, "is a folder");
    assert!(remote.place.records().is_empty());
}
