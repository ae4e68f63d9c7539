//! What went in comes out, byte for byte.

use bus_testkit::{json_payload, random_payload, sha256_hex};
use rstest::rstest;

use crate::support::{Place, Ran};

#[rstest]
#[case::empty(0)]
#[case::one_byte(1)]
#[case::inside_the_index(65_536)]
#[case::in_a_file(65_537)]
#[case::one_chunk(2 << 20)]
#[case::one_byte_more((2 << 20) + 1)]
#[case::five_megabytes(5_000_000)]
fn a_file_comes_back_byte_for_byte(
    #[case] bytes: usize,
    #[values("zstd", "gzip", "none")] compression: &str,
) {
    let place = Place::new();
    let payload = json_payload(bytes, 7);
    let file = place.file("payload", &payload);
    let id = place
        .run(["put", &file, "--compression", compression])
        .ok()
        .line();
    assert!(place.run(["get", &id]).ok().stdout == payload);
}

#[test]
fn bytes_that_do_not_compress_come_back() {
    let place = Place::new();
    let payload = random_payload(5_000_000, 3);
    let id = place.put(&payload);
    assert!(place.run(["get", &id]).ok().stdout == payload);
}

#[rstest]
#[case::nothing_named(&["put"])]
#[case::dash(&["put", "-"])]
fn stdin_is_stored(#[case] args: &[&str]) {
    let place = Place::new();
    let id = place.run_with_input(args, b"from a pipe").ok().line();
    assert_eq!(place.run(["get", &id]).ok().stdout, b"from a pipe");
}

#[test]
fn only_the_id_goes_to_stdout_so_that_a_script_can_use_it() {
    let place = Place::new();
    let ran = place.run_with_input(["put", "--txn", "job-7"], b"x").ok();
    assert_eq!(ran.text(), "job-7\n");
    assert!(ran.stderr.contains("stored 1 B"), "{}", ran.shown());
}

#[test]
fn the_same_bytes_under_the_same_id_are_fine_and_others_are_a_conflict() {
    let place = Place::new();
    place.run_with_input(["put", "--txn", "t"], b"one").ok();
    let again = place.run_with_input(["put", "--txn", "t"], b"one").ok();
    assert!(again.stderr.contains("stored before"), "{}", again.shown());
    place
        .run_with_input(["put", "--txn", "t"], b"two")
        .fails(1, "taken by a message with another digest");
    assert_eq!(place.run(["get", "t"]).ok().stdout, b"one");
}

#[test]
fn a_file_that_is_there_is_replaced_and_nothing_else_is_left() {
    let place = Place::new();
    let id = place.put(b"new");
    place.file("out", "old and longer");
    let ran = place.run(["get", &id, "-o", "out"]).ok();
    assert_eq!(place.read("out"), b"new");
    assert!(
        ran.stdout.is_empty() && ran.stderr.contains("verified"),
        "{}",
        ran.shown()
    );
    assert_eq!(files_in(&place), ["out", "store"]);
}

#[test]
fn a_result_gets_the_rights_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let id = place.put(b"x");
    place.run(["get", &id, "-o", "out"]).ok();
    place.file("any", "x");
    let mode = |name: &str| {
        let path = place.path().join(name);
        std::fs::metadata(path).unwrap().permissions().mode()
    };
    assert_eq!(mode("out"), mode("any"));
}

#[test]
fn a_link_is_followed_and_the_rights_of_its_file_are_kept() {
    use std::{fs, os::unix::fs as unix, os::unix::fs::PermissionsExt as _};
    let place = Place::new();
    let id = place.put(b"new");
    let file = place.path().join(place.file("file", "old"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    unix::symlink("file", place.path().join("link")).unwrap();
    unix::symlink("link", place.path().join("link-to-it")).unwrap();
    place.run(["get", &id, "-o", "link-to-it"]).ok();
    assert_eq!(place.read("file"), b"new");
    assert_eq!(
        files_in(&place),
        ["file", "link", "link-to-it", "store"],
        "no link was replaced"
    );
    assert!(place.path().join("link").is_symlink());
    assert!(place.path().join("link-to-it").is_symlink());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_link_to_stdout_is_not_replaced() {
    let place = Place::new();
    let id = place.put(b"new");
    std::os::unix::fs::symlink("/dev/stdout", place.path().join("link")).unwrap();
    for name in ["link", "/dev/stdout", "/proc/self/fd/1"] {
        place
            .run(["get", &id, "-o", name])
            .fails(1, "leave -o away");
    }
    assert!(place.path().join("link").is_symlink());
}

#[test]
fn a_read_that_fails_leaves_the_old_file_as_it_was() {
    let place = Place::new();
    place.file("out", "old");
    place
        .run(["get", "unknown", "-o", "out"])
        .fails(3, "unknown");
    assert_eq!(place.read("out"), b"old");
}

#[rstest]
#[case("0-0", 0..1)]
#[case("0-99", 0..100)]
#[case("2097151-2097152", 2_097_151..2_097_153)]
#[case("4999999-4999999", 4_999_999..5_000_000)]
#[case("4999990-99999999", 4_999_990..5_000_000)]
#[case("4999999-", 4_999_999..5_000_000)]
#[case("-7", 4_999_993..5_000_000)]
#[case("0-", 0..5_000_000)]
fn a_range_holds_both_its_ends(#[case] range: &str, #[case] expected: std::ops::Range<usize>) {
    let place = Place::new();
    let payload = random_payload(5_000_000, 1);
    let id = place.put(&payload);
    assert!(place.run(["get", &id, "--range", range]).ok().stdout == payload[expected]);
}

#[test]
fn a_payload_must_have_the_digest_that_was_announced() {
    let place = Place::new();
    let right = sha256_hex(b"payload");
    place
        .run_with_input(["put", "--sha256", &right], b"payload")
        .ok();
    place
        .run_with_input(["put", "--sha256", &right], b"payloaf")
        .fails(6, "was announced");
    assert_eq!(place.records().len(), 1);
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    use std::{io::Read as _, process::Stdio};
    let place = Place::new();
    let id = place.put(&random_payload(5_000_000, 2));
    let mut child = place
        .bus(["get", &id])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ten = [0; 10];
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut ten).unwrap();
    drop(pipe);
    let ran = Ran::of(child.wait_with_output().unwrap()).ok();
    assert_eq!(ran.stderr, "");
}

fn files_in(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
