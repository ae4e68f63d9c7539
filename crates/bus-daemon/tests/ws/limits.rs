//! How many calls may run, and what a client that does not read costs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus_daemon::tools::ToolOutput;
use futures::SinkExt as _;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, PATIENCE, Setup, code, eventually, setup};

/// A daemon whose tool `wait` ends once `go` has a permit for it.
fn waiting(go: &Arc<Semaphore>) -> Setup {
    let go = Arc::clone(go);
    setup().tool("wait", move |_| {
        let go = Arc::clone(&go);
        async move {
            go.acquire().await.unwrap().forget();
            Ok(ToolOutput::text("done"))
        }
    })
}

#[tokio::test]
async fn calls_beyond_the_limit_of_a_session_may_come_back_later() {
    let go = Arc::new(Semaphore::new(0));
    let daemon = waiting(&go)
        .config(|c| c.limits.calls_per_session = 2)
        .start()
        .await;
    let mut client = Client::open(&daemon).await;
    for id in ["a", "b"] {
        client.call(id, "wait", json!({})).await;
        assert_eq!(client.frame().await["op"], "call_tool_ack");
    }
    client.call("c", "wait", json!({})).await;
    let refused = client.frame().await;
    assert_eq!(code(&refused), "OVER_CAPACITY");
    assert_eq!(refused["error"]["retry_after"], 1);

    let mut other = Client::open(&daemon).await;
    let result = other.result_of("x", "echo", json!({"text": "mine"})).await;
    assert_eq!(
        result["text"], "mine",
        "another session has places of its own"
    );

    go.add_permits(3);
    assert_eq!(client.until("call_tool_res").await["text"], "done");
    assert_eq!(client.until("call_tool_res").await["text"], "done");
    let retried = client.result_of("c", "wait", json!({})).await;
    assert_eq!(
        retried["text"], "done",
        "a refused call does not use up its request id"
    );
}

#[tokio::test]
async fn a_limit_without_end_is_a_limit() {
    let no_end = |config: &mut bus_daemon::DaemonConfig| {
        config.limits.calls_per_session = usize::MAX;
        config.limits.calls_total = usize::MAX;
    };
    let daemon = setup().config(no_end).start().await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "echo", json!({"text": "hi"})).await;
    assert_eq!(result["text"], "hi");
}

#[tokio::test]
async fn calls_beyond_the_limit_of_all_sessions_may_come_back_later() {
    let go = Arc::new(Semaphore::new(0));
    let daemon = waiting(&go)
        .config(|c| c.limits.calls_total = 2)
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::open(&daemon).await;
        client.call("a", "wait", json!({})).await;
        assert_eq!(client.frame().await["op"], "call_tool_ack");
        clients.push(client);
    }
    let mut late = Client::open(&daemon).await;
    late.call("a", "echo", json!({"text": "x"})).await;
    let refused = late.frame().await;
    assert_eq!(code(&refused), "OVER_CAPACITY");
    late.send(&json!({"op": "health"})).await;
    assert_eq!(late.frame().await["health"]["global_capacity"], 0);

    go.add_permits(2);
    for client in &mut clients {
        client.result("a").await;
    }
    eventually("the freed places", || daemon.state().calls_in_flight() == 0).await;
    let result = late.result_of("a", "echo", json!({"text": "x"})).await;
    assert_eq!(result["text"], "x");
}

#[tokio::test]
async fn sockets_beyond_the_limit_are_refused_until_one_ends() {
    let daemon = setup().config(|c| c.limits.max_sockets = 1).start().await;
    // One that never says hello takes a place as well.
    let silent = Client::connect(daemon.local_addr()).await;
    let refused = Client::connect_path(daemon.local_addr(), "/ws").await;
    assert!(refused.is_err_and(|error| error.to_string().contains("503")));
    drop(silent);
    let mut tries = 0;
    while Client::connect_path(daemon.local_addr(), "/ws")
        .await
        .is_err()
    {
        tries += 1;
        assert!(tries < 500, "the place never became free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Calls until the daemon has had enough, and never reads.
async fn call_and_never_read(mut client: Client, over: Arc<AtomicBool>) {
    for n in 0_u64.. {
        let frame = json!({
            "op": "call_tool", "request_id": n.to_string(), "name": "generate",
            "arguments": {"bytes": 900_000, "kind": "text"},
        });
        if client
            .socket
            .send(Message::text(frame.to_string()))
            .await
            .is_err()
        {
            break;
        }
    }
    over.store(true, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_harms_nobody_and_is_closed() {
    let setup = setup().config(|c| {
        c.limits.calls_total = 8;
        c.limits.write_stall = Duration::from_secs(2);
        c.limits.results_bytes = 1 << 20;
    });
    let daemon = setup.start().await;
    let before = bus_testkit::rss(std::process::id()).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let rude = Client::open(&daemon).await;
    let rude = tokio::spawn(call_and_never_read(rude, Arc::clone(&over)));

    let mut polite = Client::open(&daemon).await;
    let mut served = 0;
    while !over.load(Ordering::SeqCst) {
        let id = format!("p{served}");
        let result = polite.result_of(&id, "echo", json!({"text": "hi"})).await;
        match code(&result) {
            "" => served += 1,
            "OVER_CAPACITY" => tokio::time::sleep(Duration::from_millis(5)).await,
            other => panic!("{other}"),
        }
    }
    assert!(
        served > 10,
        "the other session was served {served} times only"
    );
    tokio::time::timeout(PATIENCE, rude).await.unwrap().unwrap();
    eventually("the end of the rude session", || {
        daemon.state().sessions() == 1
    })
    .await;
    eventually("the freed places", || daemon.state().calls_in_flight() == 0).await;
    let grown = bus_testkit::rss(std::process::id())
        .unwrap()
        .saturating_sub(before);
    assert!(
        grown < 96 << 20,
        "{grown} bytes for a client that does not read"
    );
}
