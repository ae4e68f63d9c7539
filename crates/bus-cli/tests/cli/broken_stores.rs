//! Full disks, folders without rights, damaged and foreign files.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Stdio,
};

use bus_testkit::{Tmpfs, random_payload, run_as_nobody};
use rstest::rstest;

use crate::support::{Place, Ran, Serving, feed};

#[rstest]
#[case::first_byte(0)]
#[case::in_the_middle(1_500_000)]
#[case::last_chunk(4_999_999)]
fn a_flipped_bit_is_told_and_harms_no_other_message(#[case] offset: usize) {
    let place = Place::new();
    let whole = place.put(b"whole");
    let id = place.put(&random_payload(5_000_000, 1));
    change(&place.bodies()[0], |body| body[offset] ^= 1);

    place
        .run(["get", &id, "-o", "out"])
        .fails(6, &format!("message {id} is damaged"));
    assert!(!place.path().join("out").exists());
    let to_stdout = place.run(["get", &id]).fails(6, "is damaged");
    assert!(
        random_payload(5_000_000, 1).starts_with(&to_stdout.stdout),
        "only checked bytes"
    );
    assert!(to_stdout.stdout.len() < 5_000_000);

    let verified = place.run(["verify"]).fails(6, "1 messages are damaged");
    assert!(verified.text().contains(&id), "{}", verified.shown());
    assert_eq!(place.run(["get", &whole]).ok().stdout, b"whole");
    place.run(["rm", &id]).ok();
    place.run(["verify"]).ok();
}

#[test]
fn a_daemon_never_passes_damage_on_as_a_whole_payload() {
    let place = Place::new();
    let daemon = Serving::start(&place, &[]);
    let id = place.put(&random_payload(20_000_000, 1));
    change(&place.bodies()[0], |body| body[19_000_000] ^= 1);
    let ran = place.run(["get", &id, "-o", "out", "--url", &daemon.url]);
    assert!(matches!(ran.code, Some(5 | 6)), "{}", ran.shown());
    assert!(ran.stderr.contains("damaged"), "{}", ran.shown());
    assert!(!place.path().join("out").exists());
}

#[rstest]
#[case::cut(|body: &mut Vec<u8>| body.truncate(1_000_000))]
#[case::emptied(|body: &mut Vec<u8>| body.clear())]
fn a_body_that_is_too_short_is_damage(#[case] shorten: fn(&mut Vec<u8>)) {
    let place = Place::new();
    let id = place.put(&random_payload(3_000_000, 1));
    change(&place.bodies()[0], shorten);
    place.run(["get", &id, "-o", "out"]).fails(6, &id);
    place.run(["verify"]).fails(6, "damaged");
}

#[test]
fn a_body_that_is_gone_is_damage() {
    let place = Place::new();
    let id = place.put(&random_payload(3_000_000, 1));
    fs::remove_file(&place.bodies()[0]).unwrap();
    place.run(["get", &id, "-o", "out"]).fails(6, &id);
}

#[test]
fn a_store_of_a_newer_bus_is_refused_and_not_touched() {
    let place = Place::new();
    place.put(b"x");
    let index = place.store().join("index.sqlite");
    // SQLite keeps the number of the format in these bytes of the file's head.
    change(&index, |file| {
        file[60..64].copy_from_slice(&99_u32.to_be_bytes());
    });
    let before = fs::read(&index).unwrap();
    for args in [&["ls"][..], &["put", "f"], &["purge"]] {
        place.file("f", "x");
        place
            .run(args)
            .fails(1, "has format 99")
            .fails(1, "upgrade bus");
    }
    assert!(fs::read(&index).unwrap() == before);
}

#[test]
fn an_index_that_is_not_one_is_damage() {
    let place = Place::new();
    place.put(b"x");
    let index = place.store().join("index.sqlite");
    change(&index, |file| file[..100].fill(b'?'));
    place.run(["ls"]).fails(6, "index");
}

#[test]
fn a_full_disk_is_told_and_the_store_goes_on() {
    let place = Place::new();
    let disk = Tmpfs::mount(8 << 20).unwrap();
    let store = format!("embedded:{}", disk.path().join("store").display());
    let put = |bytes: &[u8]| feed(&mut place.bus(["put", "--store", &store]), bytes);
    let before = put(b"small").ok().line();
    put(&random_payload(16 << 20, 1)).fails(1, "no space is left");

    let listed = place.run(["ls", "--json", "--store", &store]).ok().json();
    assert_eq!(listed["messages"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(
        place.run(["get", &before, "--store", &store]).ok().stdout,
        b"small"
    );
    let payload = random_payload(2 << 20, 2);
    let after = put(&payload).ok().line();
    assert!(place.run(["get", &after, "--store", &store]).ok().stdout == payload);
}

#[test]
fn a_full_disk_for_the_result_leaves_no_half_file() {
    let place = Place::new();
    let disk = Tmpfs::mount(1 << 20).unwrap();
    let id = place.put(&random_payload(3 << 20, 1));
    let out = disk.path().join("out");
    place
        .run(["get", &id, "-o", out.to_str().unwrap()])
        .fails(1, "cannot be written");
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_may_not_be_written_is_told() {
    let place = Place::new();
    place.put(b"x");
    let file = place.file("f", "y");
    open_for_all_to_read(place.path());
    let ran = as_nobody(&place, &["put", &file]);
    ran.fails(4, "may not write there");
}

#[test]
fn a_folder_for_the_result_that_may_not_be_written_is_told() {
    let place = Place::new();
    let id = place.put(b"x");
    fs::set_permissions(place.path(), Permissions::from_mode(0o555)).unwrap();
    let out = Place::new();
    fs::set_permissions(out.path(), Permissions::from_mode(0o555)).unwrap();
    let path = out.path().join("out");
    let store = format!("embedded:{}", place.store().display());
    every_file(place.path(), 0o777, 0o666);
    let ran = as_nobody(
        &place,
        &["get", &id, "--store", &store, "-o", path.to_str().unwrap()],
    );
    ran.fails(1, "cannot be written")
        .fails(1, "Permission denied");
}

#[test]
fn a_store_where_a_file_lies_is_refused() {
    let place = Place::new();
    place.file("store", "not a folder");
    let ran = place.run(["ls"]);
    assert_ne!(ran.code, Some(0), "{}", ran.shown());
    assert!(ran.stderr.contains("store"), "{}", ran.shown());
    assert_eq!(place.read("store"), b"not a folder");
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn as_nobody(place: &Place, args: &[&str]) -> Ran {
    let mut nobody = run_as_nobody(&place.bus(args)).unwrap();
    let command = &mut nobody.command;
    Ran::of(command.stdin(Stdio::null()).output().unwrap())
}

fn open_for_all_to_read(folder: &Path) {
    every_file(folder, 0o555, 0o444);
}

fn every_file(path: &Path, folder_mode: u32, file_mode: u32) {
    let is_folder = path.is_dir();
    if is_folder {
        for entry in fs::read_dir(path).unwrap() {
            every_file(&entry.unwrap().path(), folder_mode, file_mode);
        }
    }
    let mode = if is_folder { folder_mode } else { file_mode };
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
