//! One store, several processes at once.

use std::{collections::BTreeSet, thread};

use bus_testkit::random_payload;

use crate::support::{Place, Serving};

#[test]
fn a_daemon_and_several_programs_share_a_store() {
    let place = Place::new();
    let daemon = Serving::start(&place, &[]);
    let payload = |n: u64| random_payload(if n.is_multiple_of(2) { 300 } else { 3_000_000 }, n);
    let ids: BTreeSet<String> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u64)
            .map(|writer| {
                let (place, url) = (&place, daemon.url.as_str());
                scope.spawn(move || {
                    let put = |n: u64| {
                        let id = format!("t{writer}-{n}");
                        let mut args = vec!["put", "--txn", &id];
                        if writer.is_multiple_of(2) {
                            args.extend(["--url", url]);
                        }
                        place.run_with_input(&args, &payload(n)).ok().line()
                    };
                    (0..4).map(put).collect::<Vec<_>>()
                })
            })
            .collect();
        for _ in 0..8 {
            place.run(["ls", "--json"]).ok();
            place.run(["purge"]).ok();
        }
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect()
    });
    assert_eq!(ids.len(), 16);
    let listed = place
        .run(["ls", "--json", "--url", &daemon.url])
        .ok()
        .json();
    let found: BTreeSet<String> = listed["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["transaction_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, ids);
    for id in &ids {
        let n = id.rsplit('-').next().unwrap().parse().unwrap();
        assert!(
            place.run(["get", id, "--url", &daemon.url]).ok().stdout == payload(n),
            "{id}"
        );
    }
    assert_eq!(place.run(["verify", "--json"]).ok().json()["messages"], 16);
}

#[test]
fn the_second_of_two_writers_of_one_id_gets_the_same_or_a_conflict() {
    let place = Place::new();
    let payloads = [random_payload(3_000_000, 1), random_payload(3_000_000, 2)];
    let ran: Vec<_> = thread::scope(|scope| {
        let writers: Vec<_> = payloads
            .iter()
            .map(|payload| scope.spawn(|| place.run_with_input(["put", "--txn", "t"], payload)))
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    });
    let mut codes: Vec<_> = ran.iter().map(|ran| ran.code).collect();
    codes.sort();
    assert_eq!(codes, [Some(0), Some(1)], "{ran:?}");
    let winner = ran.iter().position(|ran| ran.code == Some(0)).unwrap();
    assert!(place.run(["get", "t"]).ok().stdout == payloads[winner]);
}

#[test]
fn two_daemons_cannot_take_one_port() {
    let place = Place::new();
    let daemon = Serving::start(&place, &[]);
    let address = daemon.url.trim_start_matches("http://");
    place
        .run(["serve", "--listen", address])
        .fails(1, "is another daemon running there?");
}
