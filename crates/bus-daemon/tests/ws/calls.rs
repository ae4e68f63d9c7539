//! Calls: the order of frames, errors, time limits and cancellation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bus_daemon::tools::{ToolError, ToolOutput};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{Client, code, eventually, reason, setup};

#[tokio::test]
async fn a_small_call_goes_inline_with_text() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    client.call("c1", "echo", json!({"text": "hi"})).await;
    let ack = json!({
        "op": "call_tool_ack", "request_id": "c1", "accepted": true, "timeout": 180, "name": "echo"
    });
    assert_eq!(client.frame().await, ack);
    let result = json!({
        "op": "call_tool_res", "request_id": "c1",
        "outputs": [{"type": "text", "text": "hi"}], "text": "hi"
    });
    assert_eq!(client.frame().await, result);
}

#[tokio::test]
async fn progress_and_one_acknowledgement_come_before_one_result() {
    let setup = setup()
        .config(|c| c.limits.progress_interval = Duration::from_millis(20))
        .tool("slow", |context| async move {
            context.progress.note("half way");
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(ToolOutput::text("done"))
        });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    client.call("c1", "slow", json!({})).await;
    let mut seen = Vec::new();
    loop {
        let frame = client.frame().await;
        assert_eq!(frame["request_id"], "c1");
        let op = frame["op"].as_str().unwrap().to_owned();
        if op == "progress" {
            assert_eq!(frame["name"], "slow");
            assert!(frame["t"].as_f64().unwrap() > 1.7e9);
            seen.push(frame["note"].as_str().unwrap().to_owned());
        } else {
            seen.push(op.clone());
        }
        if op == "call_tool_res" {
            break;
        }
    }
    let count = |what: &str| seen.iter().filter(|s| *s == what).count();
    assert_eq!(count("call_tool_ack"), 1, "{seen:?}");
    assert_eq!(count("half way"), 1, "{seen:?}");
    assert!(count("running") >= 2, "{seen:?}");
    client.send(&json!({"op": "health"})).await;
    assert_eq!(client.frame().await["op"], "health_res", "one result only");
}

#[tokio::test]
async fn an_unknown_tool_is_named() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    client.call("c1", "nope", json!({})).await;
    let result = client.frame().await;
    assert_eq!(
        (result["op"].as_str(), code(&result)),
        (Some("call_tool_res"), "TOOL_NOT_FOUND")
    );
    assert!(reason(&result).contains("nope"));
}

#[tokio::test]
async fn arguments_that_break_the_schema_are_refused_before_the_start() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    for arguments in [
        json!({}),
        json!({"text": 5}),
        json!({"text": "a", "more": 1}),
    ] {
        client.call("c1", "echo", arguments).await;
        let result = client.frame().await;
        assert_eq!(code(&result), "INVALID_ARGUMENTS", "{result}");
        assert!(reason(&result).contains("inputSchema"), "{result}");
    }
    let result = client.result_of("c1", "echo", json!({"text": "now"})).await;
    assert_eq!(
        result["text"], "now",
        "a refused call does not use up its request id"
    );
}

#[tokio::test]
async fn a_tool_that_fails_says_why() {
    let setup = setup().tool("bad", |_| async {
        Err(ToolError::new("the disk is on fire"))
    });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "bad", json!({})).await;
    assert_eq!(
        (code(&result), reason(&result)),
        ("EXEC_ERROR", "the disk is on fire")
    );
    assert!(result.get("outputs").is_none());
}

#[tokio::test]
async fn a_tool_that_panics_costs_one_call() {
    let setup = setup().tool("bug", |_| async { panic!("a bug") });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "bug", json!({})).await;
    assert_eq!(code(&result), "EXEC_ERROR");
    let result = client
        .result_of("c2", "echo", json!({"text": "still here"}))
        .await;
    assert_eq!(result["text"], "still here");
    assert_eq!(daemon.state().calls_in_flight(), 0);
}

/// Says when it is dropped.
struct Bell(Arc<AtomicBool>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_tool_beyond_its_time_is_stopped() {
    let (stopped, told) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (bell, tell) = (Arc::clone(&stopped), Arc::clone(&told));
    let setup = setup()
        .config(|c| c.limits.call_timeout = Duration::from_millis(50))
        .tool("endless", move |context| {
            let (bell, tell) = (Bell(Arc::clone(&bell)), Arc::clone(&tell));
            tokio::spawn(async move {
                context.cancel.cancelled().await;
                tell.store(true, Ordering::SeqCst);
            });
            async move {
                let _bell = bell;
                std::future::pending().await
            }
        });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    client.call("c1", "endless", json!({})).await;
    assert_eq!(client.frame().await["timeout"], 0.05);
    let result = client.result("c1").await;
    assert_eq!(code(&result), "TIMEOUT");
    assert!(reason(&result).contains("0.05 seconds"));
    assert!(stopped.load(Ordering::SeqCst), "the tool's future is gone");
    eventually("the tool's cancellation", || told.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn a_stream_that_stands_still_is_stopped_too() {
    let setup = setup()
        .config(|c| c.limits.call_timeout = Duration::from_millis(100))
        .tool("stuck", |_| async {
            let (reader, writer) = tokio::io::duplex(10);
            let kind = bus_model::ContentType::text();
            std::mem::forget(writer);
            Ok(ToolOutput::stream(kind, reader))
        });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "stuck", json!({})).await;
    assert_eq!(code(&result), "TIMEOUT");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_calls_along() {
    let (started, stopped) = (
        Arc::new(Semaphore::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (start, bell) = (Arc::clone(&started), Arc::clone(&stopped));
    let setup = setup().tool("endless", move |_| {
        start.add_permits(1);
        let bell = Bell(Arc::clone(&bell));
        async move {
            let _bell = bell;
            std::future::pending().await
        }
    });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    client.call("c1", "endless", json!({})).await;
    started.acquire().await.unwrap().forget();
    assert_eq!(daemon.state().calls_in_flight(), 1);
    drop(client);
    eventually("the end of the call", || stopped.load(Ordering::SeqCst)).await;
    eventually("the freed place", || daemon.state().calls_in_flight() == 0).await;
}

#[tokio::test]
async fn calls_of_one_session_run_side_by_side() {
    let running = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&running);
    let setup = setup().tool("meet", move |_| {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            while count.load(Ordering::SeqCst) < 4 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(ToolOutput::text("met"))
        }
    });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    for id in ["a", "b", "c", "d"] {
        client.call(id, "meet", json!({})).await;
    }
    let mut results = 0;
    while results < 4 {
        if client.frame().await["op"] == "call_tool_res" {
            results += 1;
        }
    }
}

#[tokio::test]
async fn limits_without_end_are_no_problem() {
    let setup = setup().config(|c| {
        let limits = &mut c.limits;
        for time in [
            &mut limits.hello_timeout,
            &mut limits.ping_interval,
            &mut limits.pong_timeout,
            &mut limits.call_timeout,
            &mut limits.progress_interval,
            &mut limits.results_kept,
            &mut limits.write_stall,
        ] {
            *time = Duration::MAX;
        }
        c.purge_interval = Duration::MAX;
    });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "echo", json!({"text": "hi"})).await;
    assert_eq!(result["text"], "hi");
}
