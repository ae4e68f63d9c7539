//! Settings from the environment and `.env`.

use rstest::rstest;

use crate::support::{Place, Serving, finish};

#[rstest]
#[case("MESSAGE_BUS_COMPRESSION", "brotli", "not allowed: none, gzip or zstd")]
#[case("MESSAGE_BUS_MAX_PAYLOAD_MB", "lots", "a whole number")]
#[case("MESSAGE_BUS_TTL_HOURS", "-1", "hours")]
#[case("MESSAGE_BUS_ENABLED", "maybe", "true or false")]
#[case("BUS_THRESHOLD_BYTES", "0", "from 1")]
#[case("BUS_LEASE_SECS", "1e3", "a whole number")]
#[case("BUS_LOG_FORMAT", "xml", "text or json")]
fn a_bad_setting_names_the_variable_the_value_and_what_is_allowed(
    #[case] name: &str,
    #[case] value: &str,
    #[case] allowed: &str,
) {
    let place = Place::new();
    let ran = finish(place.bus(["ls"]).env(name, value));
    ran.fails(2, &format!("{name}={value:?}")).fails(2, allowed);
}

#[rstest]
#[case("BUS_LISTEN", "8079", "an address and a port")]
#[case("BUS_PURGE_SECS", "often", "a whole number of seconds")]
#[case("BUS_AUDIT_DAYS", "for ever", "a whole number of days")]
#[case("WS_MAX_MSG_BYTES", "12", "from 1024 up")]
fn a_bad_setting_of_the_daemon_is_told_before_it_listens(
    #[case] name: &str,
    #[case] value: &str,
    #[case] allowed: &str,
) {
    let place = Place::new();
    let ran = finish(place.bus(["serve"]).env(name, value));
    ran.fails(2, &format!("{name}={value:?}")).fails(2, allowed);
}

#[test]
fn a_file_of_settings_is_read_and_the_environment_wins() {
    let place = Place::new();
    place.file(".env", "MESSAGE_BUS_COMPRESSION=gzip\n");
    place.put(b"x");
    assert_eq!(place.records()[0]["compression_type"], "gzip");
    finish(
        place
            .bus(["put", ".env", "--txn", "t"])
            .env("MESSAGE_BUS_COMPRESSION", "none"),
    )
    .ok();
    assert_eq!(
        place.run(["show", "t", "--json"]).ok().json()["compression_type"],
        "none"
    );
}

#[test]
fn a_flag_wins_over_everything() {
    let place = Place::new();
    place.file(".env", "MESSAGE_BUS_COMPRESSION=gzip\n");
    let record = place
        .run(["put", ".env", "--compression", "none", "--json"])
        .ok()
        .json();
    assert_eq!(record["compression_type"], "none");
    place
        .run(["put", ".env", "--store", "embedded:elsewhere"])
        .ok();
    assert!(place.path().join("elsewhere").is_dir());
    assert_eq!(place.records().len(), 1);
}

#[test]
fn a_broken_file_of_settings_is_told_without_its_content() {
    let place = Place::new();
    place.file(".env", "# fine\nhunter2\n");
    let ran = place.run(["ls"]).fails(2, "line 2 of .env");
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.shown());
}

#[test]
fn the_verbs_work_while_the_bus_is_disabled() {
    let place = Place::new();
    let disabled = |args: &[&str]| finish(place.bus(args).env("MESSAGE_BUS_ENABLED", "false"));
    let file = place.file("f", "x");
    let id = disabled(&["put", &file]).ok().line();
    assert_eq!(disabled(&["get", &id]).ok().stdout, b"x");
}

#[test]
fn a_daemon_that_is_only_wanted_inline_starts_whatever_the_bus_is_told() {
    let place = Place::new();
    place.file("store", "a file where the store would be");
    let mut serve = place.bus(["serve", "--json", "-q", "--listen", "127.0.0.1:0"]);
    serve
        .env("MESSAGE_BUS_ENABLED", "false")
        .env("MESSAGE_BUS_COMPRESSION", "brotli");
    let daemon = Serving::spawn(&mut serve);
    place
        .run(["call", "echo", r#"{"text":"hi"}"#, "--url", &daemon.url])
        .ok();
    let refused = [
        "call",
        "generate",
        r#"{"bytes":3000000}"#,
        "--url",
        &daemon.url,
    ];
    place.run(refused).fails(1, "MESSAGE_BUS_ENABLED=true");
}

#[test]
fn a_daemon_whose_store_cannot_be_used_does_not_start() {
    let place = Place::new();
    place.file("store", "a file where the store would be");
    let ran = place.run(["serve", "--listen", "127.0.0.1:0"]);
    assert!(matches!(ran.code, Some(1..=6)), "{}", ran.shown());
    assert!(
        ran.stdout.is_empty() && ran.stderr.contains("store"),
        "{}",
        ran.shown()
    );
}

#[test]
fn a_daemon_says_where_it_stores_and_that_supabase_is_not_selected() {
    let place = Place::new();
    // Refused for its address, so that it ends.
    let ran = finish(
        place
            .bus(["serve", "--listen", "0.0.0.0:0"])
            .env("MESSAGE_BUS_ENABLE", "true")
            .env("SUPABASE_URL", "https://x.example")
            .env("SUPABASE_KEY", "k"),
    );
    let ran = ran.fails(2, "but not MESSAGE_BUS_ENABLED=true: Supabase is not used");
    assert!(
        ran.shown().contains("storing in the folder "),
        "{}",
        ran.shown()
    );
}

#[test]
fn without_a_home_there_is_a_clear_error() {
    let place = Place::new();
    let mut bus = place.bus(["ls"]);
    bus.env_remove("HOME").env_remove("BUS_STORE_DIR");
    finish(&mut bus).fails(2, "BUS_STORE_DIR");
}

#[test]
fn half_of_supabase_is_told_by_name() {
    let place = Place::new();
    let mut bus = place.bus(["ls"]);
    bus.env("MESSAGE_BUS_ENABLED", "true")
        .env("SUPABASE_URL", "https://x.example");
    finish(&mut bus).fails(2, "SUPABASE_KEY");
}

/// Asked for by name, whatever `MESSAGE_BUS_ENABLED` says.
#[test]
fn supabase_without_its_variables_names_them() {
    let place = Place::new();
    let ls = || {
        let mut bus = place.bus(["ls", "--store", "supabase"]);
        bus.env("MESSAGE_BUS_ENABLED", "false");
        bus
    };
    finish(&mut ls()).fails(2, "SUPABASE_PROJECT_ID) and SUPABASE_KEY are not set");
    finish(ls().env("SUPABASE_KEY", "k"))
        .fails(2, "SUPABASE_URL (or SUPABASE_PROJECT_ID) is not set");
    finish(ls().env("SUPABASE_URL", "http://x.test")).fails(2, "SUPABASE_KEY is not set");
    let mut both = ls();
    both.env("SUPABASE_URL", "http://x.test")
        .env("SUPABASE_KEY", "hush");
    finish(&mut both).fails(2, "SUPABASE_KEY is not allowed");
}

#[test]
fn colours_are_off_where_nobody_sees_them() {
    let place = Place::new();
    let ran = place.run(["get", "unknown"]);
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.shown());
}
