//! Many sessions at once: every call ends in a result, and memory does not creep up.
//!
//! A program of its own, so that its memory is nobody else's.

#[path = "../ws/support.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod support;

use std::time::Duration;

use bus_client::{MessageBusClient, settings::StoreSpec};
use bus_daemon::RunningDaemon;
use serde_json::{Value, json};
use support::{Client, code, setup};

const SESSIONS: usize = 200;
const CALLS: usize = 20;

/// Small, middle and large: of 20 calls, 14 echo, 5 stay inline and 1 goes by claim.
fn arguments(call: usize) -> (&'static str, Value) {
    match call % 20 {
        19 => ("generate", json!({"bytes": 100_000, "seed": call})),
        n if n % 4 == 3 => (
            "generate",
            json!({"bytes": 20_000, "kind": "text", "seed": call}),
        ),
        _ => ("echo", json!({"text": format!("call {call}")})),
    }
}

/// One session: every call is repeated until it is accepted. Gives the number of refusals.
async fn session(daemon: &RunningDaemon, round: usize) -> usize {
    let mut client = Client::open(daemon).await;
    let mut refused = 0;
    for call in 0..CALLS {
        let (name, arguments) = arguments(call);
        let id = format!("{round}-{call}");
        loop {
            let result = client.result_of(&id, name, arguments.clone()).await;
            if code(&result) == "OVER_CAPACITY" {
                let wait = result["error"]["retry_after"].as_f64().unwrap();
                tokio::time::sleep(Duration::from_secs_f64(wait)).await;
                refused += 1;
                continue;
            }
            let by_claim = result["delivery"] == "reference";
            assert_eq!(by_claim, call % 20 == 19, "{result}");
            assert!(result["outputs"][0]["text"].is_string(), "{result}");
            break;
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_many_sessions_ends_in_a_result_and_memory_stays() {
    let folder = tempfile::tempdir().unwrap();
    let client = MessageBusClient::builder()
        .store_spec(StoreSpec::Embedded(folder.path().to_owned()))
        .threshold_bytes(64 << 10)
        .enabled(true)
        .build();
    let setup = setup().client(client).config(|c| {
        c.limits.retry_after = Duration::from_millis(20);
        // Full after the first round, so that the rounds can be compared.
        c.limits.results_bytes = 4 << 20;
    });
    let daemon = setup.start().await;
    let mut memory = Vec::new();
    let mut refused = 0;
    for round in 0..3 {
        let sessions = (0..SESSIONS).map(|_| session(&daemon, round));
        refused += futures::future::join_all(sessions)
            .await
            .into_iter()
            .sum::<usize>();
        memory.push(bus_testkit::rss(std::process::id()).unwrap());
    }
    assert!(
        refused > 0,
        "the limits were never reached, so they were not tried"
    );
    assert!(memory[2] * 10 <= memory[0] * 11, "memory grew: {memory:?}");
    println!("{refused} refusals, memory after each round {memory:?}");
    assert_eq!(daemon.state().calls_in_flight(), 0);
}
