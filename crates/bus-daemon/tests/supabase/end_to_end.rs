//! Test case 5 of the original's plan: the bus is enabled, a tool is called, its large answer comes by a transaction id.

use bus_daemon::tools::ToolOutput;
use bus_testkit::{Server, json_payload};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    site::Site,
    support::{Client, claim},
};

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_is_redeemed_by_its_transaction_id(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let site = Site::on(server).await;
    let setup = site.daemon().tool("chat", |context| async move {
        let bytes = context.arguments["bytes"].as_u64().unwrap_or(0);
        let answer = json_payload(usize::try_from(bytes).unwrap_or(0), 9);
        Ok(ToolOutput::text(String::from_utf8(answer).unwrap()))
    });
    let daemon = setup.start().await;
    let mut client = Client::open_as(&daemon, "s-1").await;

    let small = client
        .result_of("1", "chat", json!({"bytes": 500 << 10}))
        .await;
    let inline = small["outputs"][0]["text"].as_str().unwrap();
    assert_eq!(inline.len(), 500 << 10, "below the threshold");
    assert_eq!(site.rows().await, 0);

    let large = client
        .result_of("2", "chat", json!({"bytes": 5 << 20}))
        .await;
    let claim = claim(&large);
    assert_eq!(claim["retrieval_required"], true);
    assert_eq!(claim["session_id"], "s-1");
    assert_eq!(claim["tool_name"], "chat");
    let txn = claim["message_bus_transaction_id"].as_str().unwrap();
    assert_eq!(
        stored(&site, txn).await,
        ("complete".to_owned(), "s-1".to_owned(), "chat".to_owned())
    );

    // Any daemon on the same project can answer for it.
    drop(client);
    drop(daemon);
    let other = site.daemon().start().await;
    let path = format!("/v1/messages/{txn}/payload");
    let payload = site
        .get(&other, &path)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let outputs: Value = serde_json::from_slice(&payload).unwrap();
    let expected = String::from_utf8(json_payload(5 << 20, 9)).unwrap();
    assert_eq!(outputs["outputs"][0]["text"], expected);
}

/// What the project's own table says of a message: status, session, tool.
async fn stored(site: &Site, txn: &str) -> (String, String, String) {
    let database = site.project.connect().await.unwrap();
    let asked =
        "select status, session_id, tool_name from public.message_bus where transaction_id = $1";
    let row = database.query_one(asked, &[&txn]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}
