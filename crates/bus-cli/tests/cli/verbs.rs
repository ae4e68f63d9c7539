//! `ls`, `show`, `rm`, `purge`, `stats`, `verify`, as text and as JSON.

use rstest::rstest;

use crate::support::Place;

#[test]
fn a_record_says_what_its_writer_said() {
    let place = Place::new();
    let said = [
        "put",
        "--txn",
        "t",
        "--session",
        "s 1",
        "--tool",
        "analyse",
        "--provider",
        "local",
        "--priority",
        "urgent",
        "--content-type",
        "text/csv",
        "--metadata",
        r#"{"job":7}"#,
        "--ttl-hours",
        "2",
    ];
    place.run_with_input(said, b"a,b").ok();
    let record = place.run(["show", "t", "--json"]).ok().json();
    assert_eq!(record["transaction_id"], "t");
    assert_eq!(record["session_id"], "s 1");
    assert_eq!(record["tool_name"], "analyse");
    assert_eq!(record["provider_name"], "local");
    assert_eq!(record["priority"], "urgent");
    assert_eq!(record["content_type"], "text/csv");
    assert_eq!(record["metadata"]["job"], 7);
    assert_eq!(record["status"], "complete");
    assert_eq!(record["payload_size_bytes"], 3);
    assert_eq!(record["payload"], serde_json::Value::Null);
    let text = place.run(["show", "t"]).ok().text();
    for part in ["s 1", "analyse", "text/csv", r#"{"job":7}"#, "urgent"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn put_answers_with_the_record_as_json() {
    let place = Place::new();
    let record = place.run_with_input(["put", "--json"], b"x").ok().json();
    assert!(
        record["transaction_id"]
            .as_str()
            .unwrap()
            .starts_with("txn_")
    );
    assert_eq!(record["payload_size_bytes"], 1);
}

#[test]
fn a_listing_is_newest_first_and_says_whether_there_is_more() {
    let place = Place::new();
    for n in 0..5 {
        place
            .run_with_input(["put", "--txn", &format!("t{n}")], b"x")
            .ok();
    }
    let ids = |args: &[&str]| {
        let listed = place.run(args).ok().json();
        let ids: Vec<String> = listed["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["transaction_id"].as_str().unwrap().to_owned())
            .collect();
        (ids.join(" "), listed["more"].as_bool().unwrap())
    };
    assert_eq!(ids(&["ls", "--json"]), ("t4 t3 t2 t1 t0".to_owned(), false));
    assert_eq!(
        ids(&["ls", "--json", "--limit", "2"]),
        ("t4 t3".to_owned(), true)
    );
    assert_eq!(ids(&["ls", "--json", "--all"]).0.len(), 14);
    let text = place.run(["ls", "--limit", "2"]).ok();
    assert_eq!(text.text().lines().count(), 3);
    assert!(text.stderr.contains("--all"), "{}", text.shown());
}

#[rstest]
#[case(&["--session", "a"], "t1")]
#[case(&["--tool", "y"], "t2")]
#[case(&["--provider", "p"], "t2")]
#[case(&["--status", "all"], "t2 t1")]
#[case(&["--status", "pending"], "")]
#[case(&["--since", "2020-01-01T00:00:00Z"], "t2 t1")]
#[case(&["--before", "2020-01-01T00:00:00Z"], "")]
#[case(&["--session", "a", "--tool", "y"], "")]
fn a_listing_is_filtered(#[case] filter: &[&str], #[case] expected: &str) {
    let place = Place::new();
    place
        .run_with_input(
            ["put", "--txn", "t1", "--session", "a", "--tool", "x"],
            b"1",
        )
        .ok();
    place
        .run_with_input(
            [
                "put",
                "--txn",
                "t2",
                "--session",
                "b",
                "--tool",
                "y",
                "--provider",
                "p",
            ],
            b"2",
        )
        .ok();
    let listed = place.run(["ls", "--json"].iter().chain(filter)).ok().json();
    let ids: Vec<&str> = listed["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["transaction_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.join(" "), expected);
}

#[test]
fn an_empty_store_lists_nothing_and_says_so() {
    let place = Place::new();
    let ran = place.run(["ls"]).ok();
    assert_eq!(
        (ran.text().as_str(), ran.stderr.as_str()),
        ("", "no messages\n")
    );
    assert_eq!(place.run(["ls", "-q"]).ok().stderr, "");
}

#[test]
fn removing_frees_the_space_and_a_missing_one_keeps_no_other() {
    let place = Place::new();
    let id = place.put(&vec![7; 200_000]);
    let other = place.put(&bus_testkit::random_payload(200_000, 9));
    assert!(!place.bodies().is_empty());
    place
        .run(["rm", &id, "unknown", &other])
        .fails(3, "unknown");
    assert_eq!(place.records().len(), 0);
    assert_eq!(place.bodies().len(), 0);
}

#[test]
fn rm_says_what_it_removed_as_json() {
    let place = Place::new();
    let id = place.put(b"x");
    let ran = place.run(["rm", "--json", &id, "unknown"]);
    assert_eq!(ran.json(), serde_json::json!({"removed": [id]}));
    assert_eq!(ran.json_error()["exit_code"], 3);
}

#[test]
fn an_expired_message_is_not_served_and_not_listed_as_complete() {
    let place = Place::new();
    // A hundredth of a second: over by the time that the next program has started.
    place
        .run_with_input(["put", "--txn", "t", "--ttl-hours", "0.000003"], b"x")
        .ok();
    std::thread::sleep(std::time::Duration::from_millis(20));
    place.run(["get", "t"]).fails(3, "expired");
    assert!(
        place.run(["ls", "--json"]).ok().json()["messages"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(place.records()[0]["status"], "expired");
    assert_eq!(place.run(["stats", "--json"]).ok().json()["expired"], 1);
}

#[test]
fn purge_reports_what_it_removed() {
    let place = Place::new();
    place.put(b"x");
    let report = place.run(["purge", "--json"]).ok().json();
    assert_eq!(report["expired"], 0);
    assert_eq!(report["freed_bytes"], 0);
    assert!(place.run(["purge"]).ok().text().starts_with("removed 0"));
    assert_eq!(place.records().len(), 1);
}

#[test]
fn stats_count_messages_and_bytes() {
    let place = Place::new();
    place.put(&vec![0; 1_000_000]);
    place.put(b"x");
    let stats = place.run(["stats", "--json"]).ok().json();
    assert_eq!(stats["complete"], 2);
    assert_eq!(stats["payload_bytes"], 1_000_001);
    assert!(stats["stored_bytes"].as_u64().unwrap() < 10_000);
    assert!(place.run(["stats"]).ok().text().contains("complete"));
}

#[test]
fn verify_reads_everything_and_finds_it_whole() {
    let place = Place::new();
    place.put(&bus_testkit::random_payload(300_000, 1));
    let report = place.run(["verify", "--json"]).ok().json();
    assert_eq!(report["messages"], 1);
    assert_eq!(report["damaged"], serde_json::json!([]));
}

#[test]
fn get_to_a_file_reports_the_record_as_json() {
    let place = Place::new();
    let id = place.put(b"four");
    let report = place.run(["get", &id, "-o", "out", "--json"]).ok().json();
    assert_eq!(report["bytes"], 4);
    assert_eq!(report["record"]["transaction_id"], id);
}
