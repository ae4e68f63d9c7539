//! Many sessions at once: every call ends in a result, and memory does not creep up.
//!
//! A program of its own, so that its memory is nobody else's.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail loudly, as tests do"
)]

#[path = "../ws/support.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod support;

use std::time::Duration;

use bus_client::{MessageBusClient, settings::StoreSpec};
use bus_daemon::RunningDaemon;
use bus_model::TransactionId;
use serde_json::{Value, json};
use support::{Client, claim, code, eventually, redeem, setup};

const SESSIONS: usize = 200;
const CALLS: usize = 20;

/// Small, middle and large: of 20 calls, 14 echo, 5 stay inline and 1 goes by claim.
fn arguments(call: usize) -> (&'static str, Value) {
    match call % 20 {
        19 => (
            "generate",
            json!({"bytes": 100_000, "kind": "random", "seed": call}),
        ),
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
            if by_claim {
                redeem_and_delete(daemon, &result).await;
            }
            break;
        }
    }
    refused
}

/// What is not deleted stays in the store, whose cache grows with it.
async fn redeem_and_delete(daemon: &RunningDaemon, result: &Value) {
    assert_eq!(redeem(daemon, result).await.len(), 100_000);
    let id = claim(result)["message_bus_transaction_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let id = TransactionId::new(id).unwrap();
    daemon.state().client.delete(&id).await.unwrap();
}

/// Threads of the blocking pool come as load needs them and each costs memory of its own; there are
/// few of them here, so that all are there early and what grows later is a leak.
#[test]
fn every_call_of_many_sessions_ends_in_a_result_and_memory_stays() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(rounds());
}

async fn rounds() {
    let folder = tempfile::tempdir().unwrap();
    let client = MessageBusClient::builder()
        .store_spec(StoreSpec::Embedded(folder.path().to_owned()))
        .threshold_bytes(64 << 10)
        .chunk_size(64 << 10)
        .enabled(true)
        .build();
    let setup = setup().client(client).config(|c| {
        c.limits.retry_after = Duration::from_millis(20);
        // Full after the first round, so that the rounds can be compared.
        c.limits.results_bytes = 4 << 20;
    });
    let daemon = setup.start().await;
    // The first round fills what is filled once: arenas of threads, caches, kept results.
    let mut refused = round(&daemon, 0).await;
    let mut memory = Vec::new();
    for number in 1..=3 {
        refused += round(&daemon, number).await;
        memory.push(bus_testkit::rss(std::process::id()).unwrap());
    }
    assert!(
        refused > 0,
        "the limits were never reached, so they were not tried"
    );
    assert!(memory[2] * 10 <= memory[0] * 11, "memory grew: {memory:?}");
    assert_eq!(daemon.state().calls_in_flight(), 0);
}

/// All sessions at once, and the end of each. Gives the number of refusals.
async fn round(daemon: &RunningDaemon, number: usize) -> usize {
    let sessions = (0..SESSIONS).map(|_| session(daemon, number));
    let refused = futures::future::join_all(sessions).await.into_iter().sum();
    eventually("the end of all sessions", || daemon.state().sessions() == 0).await;
    refused
}
