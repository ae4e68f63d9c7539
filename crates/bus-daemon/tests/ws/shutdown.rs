//! Starting and ending a daemon.

use std::{sync::Arc, time::Duration};

use bus_daemon::{Daemon, DaemonConfig, DaemonError, tools::ToolOutput};
use rstest::rstest;
use serde_json::json;
use tokio::{net::TcpStream, sync::Semaphore};

use crate::support::{Client, Heard, bus, code, eventually, reason, setup};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_idle_session_is_closed_with_1001() {
    let daemon = setup().start().await;
    let address = daemon.local_addr();
    let mut client = Client::open(&daemon).await;
    let (code, ()) = tokio::join!(client.closed(), daemon.shutdown(LONG));
    assert_eq!(code, Some(1001));
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn a_call_in_flight_finishes_within_the_grace_and_no_other_starts() {
    let go = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&go);
    let setup = setup().tool("wait", move |_| {
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.unwrap().forget();
            Ok(ToolOutput::text("finished"))
        }
    });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    client.call("c1", "wait", json!({})).await;
    assert_eq!(client.frame().await["op"], "call_tool_ack");

    let shutdown = daemon.state().shutdown.clone();
    let ending = tokio::spawn(daemon.shutdown(LONG));
    shutdown.cancelled().await;
    client.call("c2", "echo", json!({"text": "late"})).await;
    let refused = client.result("c2").await;
    assert_eq!(code(&refused), "OVER_CAPACITY");
    assert!(reason(&refused).contains("shutting down"), "{refused}");

    go.add_permits(1);
    assert_eq!(client.result("c1").await["text"], "finished");
    assert_eq!(client.hear().await, Heard::Closed(Some(1001)));
    ending.await.unwrap();
}

#[tokio::test]
async fn a_call_that_does_not_finish_within_the_grace_is_reported() {
    let setup = setup().tool("endless", |_| std::future::pending());
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    client.call("c1", "endless", json!({})).await;
    assert_eq!(client.frame().await["op"], "call_tool_ack");
    let ending = tokio::spawn(daemon.shutdown(Duration::from_millis(50)));
    let result = client.result("c1").await;
    assert_eq!(code(&result), "REPLY_LOST");
    assert_eq!(client.hear().await, Heard::Closed(Some(1001)));
    ending.await.unwrap();
}

#[tokio::test]
async fn a_connection_without_a_hello_does_not_hold_up_the_end() {
    let daemon = setup().start().await;
    let mut silent = Client::connect(daemon.local_addr()).await;
    eventually("the session", || daemon.state().sessions() == 1).await;
    let (code, ()) = tokio::join!(silent.closed(), daemon.shutdown(LONG));
    assert_eq!(code, Some(1001));
}

#[tokio::test]
async fn a_daemon_runs_until_its_signal() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(daemon.run_until(async {
        let _ = stopped.await;
    }));
    client.send(&json!({"op": "health"})).await;
    assert_eq!(client.frame().await["op"], "health_res");
    stop.send(()).unwrap();
    assert_eq!(client.closed().await, Some(1001));
    running.await.unwrap();
}

#[tokio::test]
async fn a_dropped_daemon_lets_go_of_its_address() {
    let daemon = setup().start().await;
    let address = daemon.local_addr();
    drop(daemon);
    let mut free = false;
    for _ in 0..500 {
        free = free || TcpStream::connect(address).await.is_err();
        tokio::time::sleep(Duration::from_millis(5)).await;
        if free {
            break;
        }
    }
    assert!(free);
}

async fn refused(config: DaemonConfig) -> DaemonError {
    let bound = Daemon::builder()
        .config(config)
        .client(bus().build())
        .bind()
        .await;
    bound.expect_err("the daemon started")
}

#[rstest]
#[case("0.0.0.0:0")]
#[case("[::]:0")]
#[case("192.0.2.1:8079")]
#[tokio::test]
async fn without_a_token_only_loopback_is_listened_on(#[case] address: &str) {
    let config = DaemonConfig {
        listen: address.parse().unwrap(),
        ..DaemonConfig::default()
    };
    let error = refused(config).await;
    assert!(matches!(error, DaemonError::TokenNeeded { .. }), "{error}");
    assert!(error.to_string().contains("BUS_TOKEN"), "{error}");
}

#[tokio::test]
async fn with_a_token_every_address_may_be_listened_on() {
    let setup = setup().config(|c| {
        c.listen = "0.0.0.0:0".parse().unwrap();
        c.token = Some("t".into());
    });
    let daemon = setup.start().await;
    assert!(daemon.local_addr().ip().is_unspecified());
}

#[tokio::test]
async fn an_empty_token_is_refused() {
    let config = DaemonConfig {
        token: Some("".into()),
        ..DaemonConfig::default()
    };
    assert!(matches!(refused(config).await, DaemonError::EmptyToken));
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let daemon = setup().start().await;
    let config = DaemonConfig {
        listen: daemon.local_addr(),
        ..DaemonConfig::default()
    };
    let error = refused(config).await;
    assert!(
        error.to_string().contains(&daemon.local_addr().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_daemon_without_a_client_is_refused() {
    let bound = Daemon::builder().bind().await;
    assert!(matches!(bound, Err(DaemonError::NoClient)));
}
