//! Help, completions and what is refused before anything is done.

use rstest::rstest;
use snapbox::{Data, assert_data_eq};

use crate::support::Place;

#[rstest]
#[case(&["--help"], "help")]
#[case(&["put", "--help"], "help-put")]
#[case(&["get", "--help"], "help-get")]
#[case(&["call", "--help"], "help-call")]
#[case(&["serve", "--help"], "help-serve")]
fn help_says_all_that_there_is(#[case] args: &[&str], #[case] name: &str) {
    let path = format!(
        "{}/tests/cli/snapshots/{name}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    let help = Place::new().run(args).ok().text();
    assert_data_eq!(help, Data::read_from(path.as_ref(), None));
}

#[test]
fn without_a_verb_there_is_help_and_a_usage_error() {
    let ran = Place::new().run::<&str>([]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("Usage: bus"), "{}", ran.shown());
}

#[test]
fn the_version_is_told() {
    let version = Place::new().run(["--version"]).ok().text();
    assert_eq!(version, format!("bus {}\n", env!("CARGO_PKG_VERSION")));
}

#[rstest]
fn every_shell_gets_completions(
    #[values("bash", "zsh", "fish", "elvish", "powershell")] shell: &str,
) {
    let script = Place::new().run(["completions", shell]).ok().text();
    assert!(script.contains("purge"), "{script}");
}

#[rstest]
#[case::unknown_verb(&["steal"], "unrecognized subcommand")]
#[case::unknown_flag(&["ls", "--nope"], "unexpected argument")]
#[case::no_id(&["get"], "<TXN>")]
#[case::bad_id(&["get", "../x"], "transaction id")]
#[case::long_id(&["show", &"x".repeat(129)], "1 to 128 characters")]
#[case::bad_range(&["get", "t", "--range", "5"], "A-B, A- or -N")]
#[case::backward_range(&["get", "t", "--range", "5-4"], "ends before it begins")]
#[case::bad_metadata(&["put", "--metadata", "[1]"], "a JSON object")]
#[case::bad_priority(&["put", "--priority", "high"], "urgent, normal or bulk")]
#[case::bad_ttl(&["put", "--ttl-hours", "0"], "more than 0")]
#[case::bad_digest(&["put", "--sha256", "abc"], "64 hexadecimal digits")]
#[case::bad_compression(&["put", "--compression", "brotli"], "none, gzip or zstd")]
#[case::bad_content_type(&["put", "--content-type", "csv"], "a media type")]
#[case::bad_status(&["ls", "--status", "done"], "complete, pending, error, expired or all")]
#[case::bad_time(&["ls", "--since", "yesterday"], "2026-01-31T12:00:00Z")]
#[case::limit_of_none(&["ls", "--limit", "0"], "0 is not in 1..")]
#[case::bad_store(&["ls", "--store", "sqlite:x"], "embedded:DIR, supabase or memory are expected")]
#[case::bad_url(&["ls", "--url", "ftp://x"], "http://127.0.0.1:8079")]
#[case::two_places(&["ls", "--url", "http://127.0.0.1:1", "--store", "embedded:x"], "cannot be used with")]
#[case::memory(&["put", "--store", "memory"], "a store in memory ends with this command")]
#[case::memory_list(&["ls", "--store", "memory"], "a store in memory ends with this command")]
#[case::purge_by_url(&["purge", "--url", "http://127.0.0.1:1"], "bus purge works on a store")]
#[case::stats_by_url(&["stats", "--url", "http://127.0.0.1:1"], "bus stats works on a store")]
#[case::verify_by_url(&["verify", "--url", "http://127.0.0.1:1"], "bus verify works on a store")]
#[case::call_a_store(&["call", "echo", "--store", "embedded:x"], "bus call talks to a daemon")]
#[case::arguments(&["call", "echo", "{"], "the arguments are not a JSON object")]
#[case::argument_list(&["call", "echo", "[1]"], "the arguments are not a JSON object")]
#[case::request_without_session(&["call", "echo", "--request-id", "r"], "--session <NAME>")]
#[case::serve_a_url(&["serve", "--url", "http://127.0.0.1:1"], "leave --url away")]
#[case::negative_ttl(&["put", "--ttl-hours", "-1"], "more than 0")]
#[case::no_tool(&["call"], "<TOOL>")]
#[case::json_to_stdout(&["get", "t", "--json"], "--json with -o FILE")]
#[case::json_to_stdout_by_name(&["get", "t", "--json", "-o", "-"], "--json with -o FILE")]
#[case::compression_by_url(&["put", "--url", "http://127.0.0.1:1", "--level", "3"], "cannot be used with")]
#[case::bad_origin(&["serve", "--allow-origin", "foo"], "https://tools.example")]
#[case::bad_listen(&["serve", "--listen", "8079"], "invalid socket address")]
fn what_cannot_be_is_refused_with_2(#[case] args: &[&str], #[case] message: &str) {
    let place = Place::new();
    let ran = place.run(args).fails(2, message);
    assert!(ran.stdout.is_empty(), "{}", ran.shown());
    assert!(!place.store().exists(), "nothing was touched");
}
