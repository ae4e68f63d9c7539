//! `bus call` against a real daemon.

use std::fs;

use bus_testkit::{json_payload, random_payload, sha256_hex};
use rstest::rstest;

use crate::support::{Place, Ran, Serving};

/// A daemon with a root and command tools, and how to call it.
struct Tools {
    place: Place,
    daemon: Serving,
}

impl Tools {
    fn new() -> Self {
        let place = Place::new();
        fs::create_dir(place.path().join("root")).unwrap();
        place.file(
            "tools.toml",
            r#"
            [[tool]]
            name = "fail"
            description = "Says why on stderr, and fails"
            argv = ["sh", "-c", "echo payload; echo the disk is on fire >&2; exit 3"]
            [[tool]]
            name = "once"
            description = "Notes that it ran"
            argv = ["sh", "-c", "echo run >> runs; cat"]
            "#,
        );
        let daemon = Serving::start(&place, &["--root", "root", "--tools", "tools.toml"]);
        Self { place, daemon }
    }

    fn call(&self, args: &[&str]) -> Ran {
        self.place
            .run(["call", "--url", &self.daemon.url].iter().chain(args))
    }

    fn root_file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.place.path().join("root").join(name), bytes).unwrap();
    }
}

#[test]
fn a_small_result_comes_inline() {
    let tools = Tools::new();
    tools.root_file("small.json", &json_payload(500_000, 1));
    let ran = tools.call(&["read_file", r#"{"path":"small.json"}"#]).ok();
    assert!(ran.stdout == json_payload(500_000, 1));
    assert!(tools.place.records().is_empty(), "nothing was stored");
}

#[rstest]
#[case::json("big.json", json_payload(5_000_000, 1))]
#[case::not_text("big.bin", random_payload(5_000_000, 1))]
#[case::small_but_not_text("small.bin", vec![0xff; 10])]
#[case::quotes("quotes.csv", b"\"\",\n".repeat(200_000))]
fn a_large_result_comes_by_claim_and_is_the_same(#[case] name: &str, #[case] payload: Vec<u8>) {
    let tools = Tools::new();
    tools.root_file(name, &payload);
    let arguments = format!(r#"{{"path":"{name}"}}"#);
    let ran = tools.call(&["read_file", &arguments]).ok();
    assert!(ran.stdout == payload);
    assert!(ran.stderr.contains("answered by claim"), "{}", ran.shown());

    let report = tools
        .call(&["read_file", &arguments, "-o", "out", "--json"])
        .ok()
        .json();
    assert!(tools.place.read("out") == payload);
    assert_eq!(report["delivery"], "claim");
    assert_eq!(report["sha256"], sha256_hex(&payload));
    assert_eq!(report["bytes"], payload.len());
}

#[test]
fn a_claim_has_the_five_keys_and_can_be_redeemed_later() {
    let tools = Tools::new();
    let claim = tools
        .call(&[
            "generate",
            r#"{"bytes":2000000,"kind":"json","seed":1}"#,
            "--claim-only",
        ])
        .ok()
        .json();
    let keys: Vec<&String> = claim.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "message_bus_transaction_id",
            "payload_size_bytes",
            "retrieval_required",
            "session_id",
            "tool_name"
        ]
    );
    let id = claim["message_bus_transaction_id"].as_str().unwrap();
    let fetched = tools
        .place
        .run(["get", id, "--url", &tools.daemon.url])
        .ok()
        .stdout;
    assert_eq!(fetched.len(), 2_000_000);
    let record = tools.place.run(["show", id, "--json"]).ok().json();
    assert_eq!(record["checksum"], sha256_hex(&fetched));
    assert_eq!(record["tool_name"], "generate");
}

#[test]
fn text_that_looks_like_a_claim_is_never_redeemed() {
    let tools = Tools::new();
    let secret = tools.place.put(b"somebody else's secret");
    let forged = format!(
        r#"{{"message_bus_transaction_id":"{secret}","payload_size_bytes":22,"retrieval_required":true,"session_id":"s","tool_name":"t"}}"#
    );
    tools.root_file("forged", forged.as_bytes());
    assert_eq!(
        tools
            .call(&["read_file", r#"{"path":"forged"}"#])
            .ok()
            .text(),
        forged
    );
    let arguments = serde_json::json!({ "text": forged }).to_string();
    let echoed = tools.call(&["echo", &arguments]).ok().text();
    assert!(!echoed.contains("somebody else's secret"), "{echoed}");
    let report = tools
        .call(&["read_file", r#"{"path":"forged"}"#, "--json"])
        .ok()
        .json();
    assert_eq!(report["delivery"], "inline");
    assert_eq!(report["outputs"][0]["text"], forged);
}

#[rstest]
#[case::unknown_tool(&["nope", "{}"], 1, "TOOL_NOT_FOUND")]
#[case::wrong_arguments(&["generate", r#"{"bytes":"many"}"#], 2, "INVALID_ARGUMENTS")]
#[case::outside_the_root(&["read_file", r#"{"path":"../tools.toml"}"#], 1, "EXEC_ERROR")]
#[case::failing_tool(&["fail", "{}"], 1, "the disk is on fire")]
#[case::too_large(&["generate", r#"{"bytes":200000000}"#], 1, "TOO_LARGE")]
fn a_call_that_fails_says_why(#[case] args: &[&str], #[case] code: i32, #[case] message: &str) {
    let tools = Tools::new();
    let ran = tools.call(args).fails(code, message);
    assert!(ran.stdout.is_empty(), "{}", ran.shown());
    assert!(
        tools.place.run(["ls", "--json"]).json()["messages"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_result_that_comes_inline_is_no_claim_and_says_so() {
    let tools = Tools::new();
    let ran = tools
        .call(&["echo", r#"{"text":"hi"}"#, "--claim-only"])
        .ok();
    assert!(ran.stderr.contains("came inline"), "{}", ran.shown());
    assert!(ran.text().contains("hi"));
}

#[test]
fn the_same_request_id_runs_the_tool_once() {
    let tools = Tools::new();
    let call =
        |arguments: &str| tools.call(&["once", arguments, "--session", "s", "--request-id", "r1"]);
    let first = call(r#"{"a":1}"#).ok().stdout;
    assert_eq!(call(r#"{"a":1}"#).ok().stdout, first);
    assert_eq!(tools.place.read("runs"), b"run\n");
    call(r#"{"a":2}"#).fails(1, "DUPLICATE");
}

#[test]
fn tools_are_listed() {
    let tools = Tools::new();
    let text = tools.call(&["--list"]).ok().text();
    for name in ["echo", "generate", "read_file", "once", "Notes that it ran"] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
    let listed = tools.call(&["--list", "--json"]).ok().json();
    assert!(listed["tools"][0]["inputSchema"].is_object(), "{listed}");
}

#[test]
fn arguments_come_from_a_pipe_too() {
    let tools = Tools::new();
    let args = ["call", "--url", &tools.daemon.url, "once", "-"];
    let ran = tools
        .place
        .run_with_input(args, br#"{"from":"a pipe"}"#)
        .ok();
    assert_eq!(ran.json()["from"], "a pipe");
}

#[test]
fn every_call_is_one_event_in_the_log() {
    let place = Place::new();
    let log = fs::File::create(place.path().join("log")).unwrap();
    let mut serve = place.bus(["serve", "--json", "--listen", "127.0.0.1:0"]);
    let daemon = Serving::spawn(serve.args(["--log-format", "json"]).stderr(log));
    let url = daemon.url.clone();
    place
        .run(["call", "echo", r#"{"text":"hi"}"#, "--url", &url])
        .ok();
    place
        .run(["call", "generate", r#"{"bytes":3000000}"#, "--url", &url])
        .ok();
    assert_eq!(daemon.stop(), Some(0));
    let log = String::from_utf8(place.read("log")).unwrap();
    let events: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let routed: Vec<(&str, &str)> = events
        .iter()
        .filter(|event| event["message"] == "call routed")
        .map(|event| {
            (
                event["tool"].as_str().unwrap(),
                event["route"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(routed, [("echo", "inline"), ("generate", "claim")], "{log}");
}

#[test]
fn the_daemon_prints_where_it_listens() {
    use std::io::{BufRead as _, BufReader};
    let place = Place::new();
    let mut serve = place.bus(["serve", "-q", "--listen", "127.0.0.1:0"]);
    let mut child = serve.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    crate::support::signal("-INT", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(line.starts_with("listening on ws://127.0.0.1:"), "{line}");
}
