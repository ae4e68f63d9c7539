//! `bus demo`: the first thing that a newcomer runs.

use crate::support::{Place, finish};

#[test]
fn the_demo_goes_well_and_leaves_nothing_behind() {
    let place = Place::new();
    let temp = place.path().join("tmp");
    std::fs::create_dir(&temp).unwrap();
    let ran = finish(place.bus(["demo", "--json"]).env("TMPDIR", &temp)).ok();
    let report = ran.json();
    assert_eq!(report["ok"], true);
    let rows: Vec<(&str, &str)> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["what"].as_str().unwrap(),
                row["delivery"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(rows[0], ("without bus: 5 MB in one frame", "closed1009"));
    assert_eq!(rows[1], ("500 KB", "inline"));
    assert_eq!(rows[2], ("5 MB", "claim"));
    assert_eq!(rows[3], ("900 KB of quotes", "claim"));
    assert_eq!(rows[4], ("64 MB", "claim"));
    assert!(rows[5].0.contains("sources of bus"), "{rows:?}");
    assert_eq!(rows[6], ("bus disabled: 500 KB", "inline"));
    assert_eq!(rows[7], ("bus disabled: 5 MB", "refused"));
    assert_eq!(
        std::fs::read_dir(&temp).unwrap().count(),
        0,
        "the temporary folder is empty"
    );
    assert!(
        !place.store().exists(),
        "the user's own store was not touched"
    );
}

#[test]
fn the_demo_sends_a_file_of_the_users_and_looks_at_no_settings() {
    let place = Place::new();
    let file = place.file("mine", bus_testkit::random_payload(3_000_000, 1));
    place.file(".env", "not a setting\nMESSAGE_BUS_ENABLED=false\n");
    let mut demo = place.bus(["demo", "--big-mb", "2", "--input", &file]);
    let ran = finish(demo.env("MESSAGE_BUS_COMPRESSION", "nonsense")).ok();
    let text = ran.text();
    assert!(text.contains("mine"), "{text}");
    assert!(
        text.contains("closed 1009") && text.contains("refused"),
        "{text}"
    );
    assert!(text.contains("Every byte matched"), "{text}");
    assert!(!text.contains('\u{1b}'), "plain in a pipe");
}

#[test]
fn a_demo_of_a_file_that_is_not_there_says_so() {
    Place::new()
        .run(["demo", "--input", "missing"])
        .fails(1, "missing cannot be read");
}
