//! Against a real daemon with a store in memory.

use bus_client::{MessageBusClient, settings::StoreSpec};
use bus_daemon::{Daemon, DaemonConfig, RunningDaemon};
use bus_remote::{
    CallOptions, CallOutcome, DaemonUrl, Listing, RangeRequest, Remote, RemoteConfig,
    RemoteErrorKind,
};
use bus_testkit::sha256_hex;
use serde_json::{Map, Value, json};

async fn start() -> (RunningDaemon, RemoteConfig) {
    let config = DaemonConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        token: Some("secret".into()),
        ..DaemonConfig::default()
    };
    let client = MessageBusClient::builder()
        .store_spec(StoreSpec::Memory)
        .build();
    let daemon = Daemon::builder()
        .config(config)
        .client(client)
        .bind()
        .await
        .unwrap();
    let mut remote = RemoteConfig::new(DaemonUrl::of(daemon.local_addr()));
    remote.token = Some("secret".into());
    (daemon, remote)
}

fn arguments(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[tokio::test]
async fn a_large_result_is_redeemed_whole_and_in_parts() {
    let (_daemon, config) = start().await;
    let remote = Remote::connect(config).await.unwrap();
    let asked = arguments(json!({"bytes": 5_000_000, "kind": "random", "seed": 1}));
    let outcome = remote
        .call("generate", asked, CallOptions::default())
        .await
        .unwrap();
    let CallOutcome::Claim(claim, retrieval) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(claim.payload_size_bytes, 5_000_000);
    assert_eq!(&claim.session_id, remote.session_id());

    let whole = remote
        .redeem(&claim, &retrieval)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(sha256_hex(&whole), retrieval.sha256.to_string());
    let id = &claim.message_bus_transaction_id;
    let range = Some(RangeRequest::FromTo(2_097_150, 2_097_159));
    let part = remote.http().get(id, range).await.unwrap();
    assert_eq!(part.bytes().await.unwrap(), whole[2_097_150..2_097_160]);

    let record = remote.http().record(id).await.unwrap();
    assert_eq!(record.checksum, Some(retrieval.sha256));
    let stamped = remote.http().acknowledge(id).await.unwrap();
    assert_eq!(
        remote.http().record(id).await.unwrap().acknowledged_at,
        Some(stamped)
    );
    assert_eq!(
        remote
            .http()
            .list(&Listing::default())
            .await
            .unwrap()
            .records
            .len(),
        1
    );
    remote.http().delete(id).await.unwrap();
    let gone = remote.redeem(&claim, &retrieval).await.unwrap_err();
    assert_eq!(gone.kind(), RemoteErrorKind::NotFound);
}

#[tokio::test]
async fn tools_and_health_are_told() {
    let (_daemon, config) = start().await;
    let remote = Remote::connect(config).await.unwrap();
    let tools = remote.list_tools().await.unwrap();
    assert!(tools.iter().any(|tool| tool.name.as_str() == "echo"));
    assert_eq!(
        remote.health().await.unwrap().tool_count,
        tools.len() as u64
    );
}

#[tokio::test]
async fn a_small_result_comes_inline() {
    let (_daemon, config) = start().await;
    let remote = Remote::connect(config).await.unwrap();
    let asked = arguments(json!({"bytes": 1000, "kind": "text"}));
    let outcome = remote
        .call("generate", asked, CallOptions::default())
        .await
        .unwrap();
    let CallOutcome::Inline(payload) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(payload.into_payload().unwrap().len(), 1000);
}

#[tokio::test]
async fn a_wrong_token_opens_nothing() {
    let (_daemon, mut config) = start().await;
    config.token = Some("wrong".into());
    let error = Remote::connect(config.clone()).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Unauthorized);
    let http = bus_remote::HttpApi::new(config).unwrap();
    let error = http.list(&Listing::default()).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Unauthorized);
}

#[tokio::test]
async fn many_calls_share_one_session() {
    let (_daemon, config) = start().await;
    let remote = Remote::connect(config).await.unwrap();
    let calls = (0..40_u64).map(|n| {
        let remote = remote.clone();
        async move {
            let asked = arguments(json!({"text": format!("call {n}")}));
            let outcome = remote
                .call("echo", asked, CallOptions::default())
                .await
                .unwrap();
            let CallOutcome::Inline(payload) = outcome else {
                panic!("{outcome:?}")
            };
            let text = String::from_utf8(payload.into_payload().unwrap()).unwrap();
            assert!(text.contains(&format!("call {n}")), "{text}");
        }
    });
    futures::future::join_all(calls).await;
}
