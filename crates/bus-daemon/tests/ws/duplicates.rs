//! Repeating a call: the same call is answered again and never run again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bus_daemon::tools::{ToolError, ToolOutput};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{Client, Setup, code, setup};

/// A daemon whose tool `count` tells how often it has run.
fn counting() -> Setup {
    let runs = AtomicUsize::new(0);
    setup().tool("count", move |_| {
        let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok(ToolOutput::text(run.to_string())) }
    })
}

#[tokio::test]
async fn a_repeated_call_gets_the_stored_result() {
    let daemon = counting().start().await;
    let mut client = Client::open(&daemon).await;
    let first = client
        .result_of("c1", "count", json!({"a": 1, "b": 2}))
        .await;
    assert_eq!(first["text"], "1");
    client
        .send_text(
            r#"{"arguments":{"b":2,"a":1},"name":"count","op":"call_tool","request_id":"c1"}"#,
        )
        .await;
    assert_eq!(
        client.frame().await,
        first,
        "the order of keys does not matter"
    );
}

#[tokio::test]
async fn another_call_under_a_used_id_is_refused() {
    let daemon = counting().start().await;
    let mut client = Client::open(&daemon).await;
    client.result_of("c1", "count", json!({"a": 1})).await;
    for (name, arguments) in [("count", json!({"a": 2})), ("echo", json!({"a": 1}))] {
        let result = client.result_of("c1", name, arguments).await;
        assert_eq!(code(&result), "DUPLICATE");
        assert_eq!(result["error"]["original_request_id"], "c1");
    }
}

#[tokio::test]
async fn different_ids_never_collide() {
    let daemon = counting().start().await;
    let mut client = Client::open(&daemon).await;
    for (id, expected) in [("c1", "1"), ("c2", "2"), ("c3", "3")] {
        let result = client.result_of(id, "count", json!({"same": true})).await;
        assert_eq!(result["text"], expected);
    }
}

#[tokio::test]
async fn sessions_do_not_share_results() {
    let daemon = counting().start().await;
    for expected in ["1", "2"] {
        let mut client = Client::open(&daemon).await;
        let result = client.result_of("c1", "count", json!({})).await;
        assert_eq!(result["text"], expected);
    }
}

#[tokio::test]
async fn a_session_that_comes_back_under_its_name_gets_its_result() {
    let daemon = counting().start().await;
    for _ in 0..2 {
        let mut client = Client::open_as(&daemon, "mine").await;
        let result = client.result_of("c1", "count", json!({})).await;
        assert_eq!(result["text"], "1");
    }
}

#[tokio::test]
async fn a_call_that_is_repeated_while_it_runs_is_not_run_twice() {
    let (go, runs) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (wait, count) = (Arc::clone(&go), Arc::clone(&runs));
    let setup = setup().tool("wait", move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.unwrap().forget();
            Ok(ToolOutput::text("done"))
        }
    });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    client.call("c1", "wait", json!({})).await;
    assert_eq!(client.frame().await["op"], "call_tool_ack");

    client.call("c1", "wait", json!({})).await;
    let note = client.frame().await;
    assert_eq!(note["op"], "progress");
    assert_eq!(note["note"], "duplicate request; still processing");

    client.call("c1", "wait", json!({"other": 1})).await;
    let refused = client.frame().await;
    assert_eq!(code(&refused), "DUPLICATE");

    go.add_permits(1);
    assert_eq!(client.result("c1").await["text"], "done");
    client.send(&json!({"op": "health"})).await;
    assert_eq!(
        client.frame().await["op"],
        "health_res",
        "one result, not two"
    );
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_failure_is_a_result_too() {
    let runs = AtomicUsize::new(0);
    let setup = setup().tool("bad", move |_| {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        async move { Err(ToolError::new(format!("run {run}"))) }
    });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let first = client.result_of("c1", "bad", json!({})).await;
    assert_eq!(client.result_of("c1", "bad", json!({})).await, first);
}

#[tokio::test]
async fn results_are_kept_for_their_time_only() {
    let setup = counting().config(|c| c.limits.results_kept = Duration::from_millis(40));
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    assert_eq!(
        client.result_of("c1", "count", json!({})).await["text"],
        "1"
    );
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(
        client.result_of("c1", "count", json!({})).await["text"],
        "2"
    );
}

#[tokio::test]
async fn a_result_by_claim_is_repeated_as_the_same_claim() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    let arguments = json!({"bytes": 3_000_000});
    let first = client.result_of("c1", "generate", arguments.clone()).await;
    assert_eq!(first["delivery"], "reference");
    assert_eq!(client.result_of("c1", "generate", arguments).await, first);
}
