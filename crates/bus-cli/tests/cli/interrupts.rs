//! Ctrl-C: the work ends cleanly and says so with 130.

use std::{io::Write as _, process::Stdio, time::Duration};

use bus_testkit::{random_payload, wait_for};

use crate::support::{Place, Ran, Serving, signal};

#[test]
fn an_interrupted_put_is_given_up_and_leaves_nothing() {
    let place = Place::new();
    let mut child = place
        .bus(["put"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&random_payload(5 << 20, 1)).unwrap();
    wait_for("the upload", Duration::from_secs(30), || {
        (!place.bodies().is_empty()).then_some(())
    })
    .unwrap();
    signal("-INT", child.id());
    let ran = Ran::of(child.wait_with_output().unwrap());
    ran.fails(130, "interrupted");
    drop(pipe);
    let records = place.records();
    assert_eq!(records[0]["status"], "error", "{records:?}");
    assert!(place.bodies().is_empty());
}

#[test]
fn an_interrupted_get_leaves_no_file() {
    use std::io::Read as _;
    let place = Place::new();
    let id = place.put(&random_payload(20 << 20, 1));
    // A pipe that nobody empties holds it in the middle.
    let mut child = place
        .bus(["get", &id])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut [0; 10]).unwrap();
    signal("-INT", child.id());
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 20 << 20);
    Ran::of(child.wait_with_output().unwrap()).fails(130, "interrupted");
}

#[test]
fn a_daemon_that_is_told_to_stop_exits_0() {
    let place = Place::new();
    assert_eq!(Serving::start(&place, &[]).stop(), Some(0));
}
