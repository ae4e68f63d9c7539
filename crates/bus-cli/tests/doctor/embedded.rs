//! The embedded store: healthy, read-only, damaged, shared, interrupted.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use bus_testkit::run_as_nobody;

use crate::{
    says,
    support::{Place, Ran, Serving, finish, signal},
};

#[test]
fn a_new_place_is_healthy() {
    let place = Place::new();
    let ran = place.run(["doctor", "--json"]).ok();
    let report = ran.json();
    assert_eq!(
        (&report["store"], &report["exit_code"]),
        (&"embedded".into(), &0.into())
    );
    assert_eq!(report["counts"]["failure"], 0);
    for name in [
        "enabled",
        "settings",
        "folder",
        "store opens",
        "structure",
        "round trip 1 B",
        "round trip 1 MiB",
    ] {
        says(&ran, name, "ok", "");
    }
    says(&ran, "round trip 16 MiB", "ok", "identical");
    assert!(place.records().is_empty(), "what it wrote is removed");
    assert!(place.bodies().is_empty());
}

#[test]
fn the_report_as_json_has_this_shape() {
    let ran = Place::new().run(["doctor", "--json", "--quick"]).ok();
    let report = ran.json();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let mut top = keys(&report);
    top.sort();
    assert_eq!(top, ["counts", "exit_code", "lines", "store"]);
    let lines = report["lines"].as_array().unwrap();
    let counted: u64 = ["ok", "warning", "failure", "skipped"]
        .iter()
        .map(|status| report["counts"][status].as_u64().unwrap())
        .sum();
    assert_eq!(counted, lines.len() as u64);
    for line in lines {
        assert!(
            line["name"].is_string() && line["summary"].is_string(),
            "{line:#}"
        );
        for key in keys(line) {
            let known = ["name", "status", "summary", "detail", "advice"];
            assert!(known.contains(&key.as_str()), "{key}");
        }
    }
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
}

#[test]
fn quick_leaves_out_what_takes_time() {
    let ran = Place::new().run(["doctor", "--json", "--quick"]).ok();
    assert_eq!(ran.json()["counts"]["skipped"], 4);
    says(&ran, "round trip 1 B", "skipped", "--quick");
}

#[test]
fn it_counts_what_tools_published() {
    let place = Place::new();
    for tool in ["analyse", "analyse", "embed"] {
        place.run_with_input(["put", "--tool", tool], b"x").ok();
    }
    let ran = place.run(["doctor", "--json", "--quick"]).ok();
    says(&ran, "tools", "ok", "analyse: 2 messages");
    says(&ran, "messages", "ok", "3 complete");
}

#[test]
fn it_tells_who_shares_the_store() {
    let place = Place::new();
    let serving = Serving::start(&place, &[]);
    let ran = place.run(["doctor", "--json", "--quick"]).ok();
    says(
        &ran,
        "shared with",
        "ok",
        &format!("process {} (bus)", serving.pid()),
    );
}

#[test]
fn a_folder_that_may_not_be_written() {
    let place = Place::new();
    place.put(b"x");
    for path in [place.path().to_path_buf(), place.store()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for entry in fs::read_dir(place.store()).unwrap() {
        let path = entry.unwrap().path();
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut nobody = run_as_nobody(&place.bus(["doctor", "--json"])).unwrap();
    let ran = finish(&mut nobody.command);
    assert_eq!(ran.code, Some(4), "{}", ran.shown());
    let line = says(&ran, "store opens", "failure", "BUS_STORE_DIR");
    assert!(
        line["advice"]
            .as_str()
            .unwrap()
            .contains("let this user write"),
        "{line:#}"
    );
    says(&ran, "round trip 1 B", "skipped", "the store does not open");
}

#[test]
fn a_store_that_is_none() {
    let place = Place::new();
    place.file("store", b"a file");
    let ran = place.run(["doctor", "--json"]);
    assert_eq!(ran.code, Some(2), "{}", ran.shown());
    says(&ran, "folder", "failure", "is not a folder");
    says(&ran, "store opens", "failure", "");
}

#[test]
fn a_body_that_belongs_to_nothing() {
    let place = Place::new();
    place.put(&vec![7; 3 << 20]);
    let body = place.bodies().pop().unwrap();
    fs::remove_file(body).unwrap();
    let ran = place.run(["doctor", "--json"]);
    if ran.code == Some(6) {
        says(&ran, "structure", "failure", "bus verify");
    } else {
        // A message that can be named is for bus verify to name.
        says(&ran, "structure", "ok", "bus verify");
    }
}

#[test]
fn a_payload_limit_below_a_trip_is_no_failure() {
    let place = Place::new();
    let ran = finish(
        place
            .bus(["doctor", "--json"])
            .env("MESSAGE_BUS_MAX_PAYLOAD_MB", "2"),
    )
    .ok();
    says(&ran, "round trip 1 MiB", "ok", "identical");
    says(
        &ran,
        "round trip 16 MiB",
        "skipped",
        "MESSAGE_BUS_MAX_PAYLOAD_MB",
    );
}

#[test]
fn every_setting_that_is_wrong_is_told_at_once() {
    let place = Place::new();
    let mut command = place.bus(["doctor", "--json"]);
    command
        .env("MESSAGE_BUS_TTL_HOURS", "-1")
        .env("BUS_LISTEN", "here")
        .env("BUS_AUDIT_DAYS", "for ever")
        .env("WS_MAX_MSG_BYTES", "12")
        .env("BUS_TOKEN", "hush hush");
    let ran = finish(&mut command);
    assert_eq!(ran.code, Some(2), "{}", ran.shown());
    let line = says(&ran, "settings", "failure", "5 are not legal");
    assert!(
        line.to_string().contains("BUS_LISTEN") && !ran.shown().contains("hush"),
        "{line:#}"
    );
    says(&ran, "store", "skipped", "a setting is not legal");
}

#[test]
fn an_interrupted_doctor_leaves_nothing_behind() {
    let place = Place::new();
    let child = place
        .bus(["doctor"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whenever it comes, before, between or after the trips.
    signal("-INT", child.id());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert!(matches!(ran.code, Some(0 | 130) | None), "{}", ran.shown());
    assert!(place.records().is_empty(), "{}", ran.shown());
}
