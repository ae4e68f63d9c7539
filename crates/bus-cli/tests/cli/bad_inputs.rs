//! Each bad input has its message and its exit code.

use bus_testkit::random_payload;
use rstest::rstest;

use crate::support::{Place, Serving, finish};

#[rstest]
#[case::unknown_id(&["get", "unknown"], 3, "no message unknown")]
#[case::unknown_record(&["show", "unknown"], 3, "no message unknown")]
#[case::unknown_to_remove(&["rm", "unknown"], 3, "no message unknown")]
#[case::missing_file(&["put", "missing"], 1, "missing cannot be read")]
#[case::folder(&["put", "."], 1, "is a folder: pack it first")]
#[case::missing_folder(&["get", "t", "-o", "no/where"], 1, "no/where cannot be written")]
#[case::a_folder_as_file(&["get", "t", "-o", "."], 1, "is a folder: name a file")]
#[case::a_device_as_file(&["get", "t", "-o", "/dev/null"], 1, "not a regular file")]
#[case::range_beyond(&["get", "t", "--range", "4-9"], 2, "range 4-9 lies beyond the payload, which has 4 bytes")]
#[case::no_daemon(&["ls", "--url", "http://127.0.0.1:1"], 5, "no daemon answers at http://127.0.0.1:1")]
#[case::nobody_to_call(&["call", "echo", "--url", "127.0.0.1:1"], 5, "start one with bus serve")]
#[case::exposed(&["serve", "--listen", "0.0.0.0:0"], 2, "set a token (BUS_TOKEN)")]
#[case::missing_root(&["serve", "--listen", "127.0.0.1:0", "--root", "nowhere"], 1, "nowhere")]
#[case::missing_tools(&["serve", "--listen", "127.0.0.1:0", "--tools", "nowhere.toml"], 1, "nowhere.toml")]
fn a_bad_input_has_its_message_and_its_code(
    #[case] args: &[&str],
    #[case] code: i32,
    #[case] message: &str,
) {
    let place = Place::new();
    place.run_with_input(["put", "--txn", "t"], b"four").ok();
    let ran = place.run(args).fails(code, message);
    assert!(ran.stdout.is_empty(), "{}", ran.shown());
}

#[test]
fn a_file_beyond_the_maximum_is_refused_before_it_is_read() {
    let place = Place::new();
    let file = place.file("big", vec![0; (1 << 20) + 1]);
    let ran = finish(
        place
            .bus(["put", &file])
            .env("MESSAGE_BUS_MAX_PAYLOAD_MB", "1"),
    );
    ran.fails(1, "beyond the maximum of 1048576 bytes")
        .fails(1, "MESSAGE_BUS_MAX_PAYLOAD_MB");
    assert!(place.records().is_empty() && place.bodies().is_empty());
}

#[test]
fn a_stream_beyond_the_maximum_is_given_up_and_leaves_nothing_visible() {
    let place = Place::new();
    let mut put = place.bus(["put"]);
    put.env("MESSAGE_BUS_MAX_PAYLOAD_MB", "3");
    crate::support::feed(&mut put, &random_payload(7 << 20, 1))
        .fails(1, "maximum of 3145728 bytes");
    assert!(
        place.run(["ls", "--json"]).ok().json()["messages"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert!(place.bodies().is_empty(), "{:?}", place.bodies());
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let place = Place::new();
    let error = place
        .run(["get", "unknown", "-o", "x", "--json"])
        .json_error();
    assert_eq!(error["exit_code"], 3);
    assert_eq!(error["kind"], "missing");
    assert_eq!(error["message"], "no message unknown");
}

#[rstest]
#[case::none(None, "set BUS_TOKEN")]
#[case::wrong(Some("wrong"), "does not accept this token")]
fn a_daemon_with_a_token_lets_nobody_else_in(#[case] token: Option<&str>, #[case] message: &str) {
    let place = Place::new();
    let daemon = Serving::spawn(
        place
            .bus(["serve", "--json", "-q", "--listen", "127.0.0.1:0"])
            .env("BUS_TOKEN", "right"),
    );
    let run = |args: &[&str], token: Option<&str>| {
        let mut bus = place.bus(args);
        bus.args(["--url", &daemon.url]);
        token.map(|token| bus.env("BUS_TOKEN", token));
        finish(&mut bus)
    };
    run(&["call", "echo", "{}"], token).fails(4, message);
    for args in [&["ls"][..], &["get", "t"], &["rm", "t"], &["put", ".env"]] {
        place.file(".env", "");
        run(args, token).fails(4, "token");
    }
    run(&["ls"], Some("right")).ok();
    run(&["call", "echo", r#"{"text":"hi"}"#], Some("right")).ok();
}

#[test]
fn a_token_is_never_shown() {
    let place = Place::new();
    let daemon = Serving::spawn(
        place
            .bus(["serve", "--json", "-q", "--listen", "127.0.0.1:0"])
            .env("BUS_TOKEN", "right"),
    );
    let ran = place
        .run(["ls", "-vv", "--token", "hunter2", "--url", &daemon.url])
        .fails(4, "token");
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.shown());
}
