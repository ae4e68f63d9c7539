//! Listing: filters, pages, and what is not a query.

use std::collections::HashSet;

use rstest::rstest;
use serde_json::Value;

use crate::support::{TestDaemon, daemon, expect_problem};

async fn list(daemon: &TestDaemon, query: &str) -> Value {
    let answer = daemon
        .get(&format!("/v1/messages?{query}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{query}");
    answer.json().await.unwrap()
}

fn ids(page: &Value) -> Vec<String> {
    let records = page["records"].as_array().unwrap();
    records
        .iter()
        .map(|record| record["transaction_id"].as_str().unwrap().to_owned())
        .collect()
}

async fn put_as(daemon: &TestDaemon, txn: &str, session: &str, tool: &str) {
    let answer = daemon
        .request("PUT", &format!("/v1/messages/{txn}"))
        .header("Bus-Session", session)
        .header("Bus-Tool", tool)
        .header("Bus-Provider", "somebody")
        .body(txn.to_owned())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
}

#[tokio::test]
async fn nothing_is_an_empty_page() {
    let daemon = daemon().await;
    let page = list(&daemon, "").await;
    assert_eq!(page, serde_json::json!({"records": [], "next": null}));
}

#[tokio::test]
async fn pages_hold_every_message_once() {
    let daemon = daemon().await;
    let wanted: HashSet<String> = (0..25).map(|n| format!("m{n}")).collect();
    for txn in &wanted {
        daemon.put(txn, "data").await;
    }
    let (mut seen, mut query) = (Vec::new(), "limit=10".to_owned());
    loop {
        let page = list(&daemon, &query).await;
        let got = ids(&page);
        assert!((1..=10).contains(&got.len()));
        seen.extend(got);
        match page["next"].as_str() {
            Some(next) => query = format!("limit=10&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 25);
    assert_eq!(seen.into_iter().collect::<HashSet<_>>(), wanted);
}

#[tokio::test]
async fn filters_narrow_a_listing() {
    let daemon = daemon().await;
    put_as(&daemon, "a", "s 1", "read").await;
    put_as(&daemon, "b", "s 1", "write").await;
    put_as(&daemon, "c", "s&2", "read").await;
    for (query, expected) in [
        ("session=s%201", vec!["b", "a"]),
        ("session=s%262", vec!["c"]),
        ("tool=read", vec!["c", "a"]),
        ("session=s+1&tool=write", vec!["b"]),
        ("provider=somebody", vec!["c", "b", "a"]),
        ("provider=nobody", vec![]),
        ("status=pending", vec![]),
        ("status=all", vec!["c", "b", "a"]),
        ("from=2020-01-01T00:00:00Z", vec!["c", "b", "a"]),
        ("before=2020-01-01T00:00:00Z", vec![]),
        (
            "from=2020-01-01T01:00:00%2B01:00&limit=1000",
            vec!["c", "b", "a"],
        ),
    ] {
        let mut got = ids(&list(&daemon, query).await);
        // Several in one millisecond are ordered by their random ids.
        got.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(got, expected, "{query}");
    }
}

#[rstest]
#[case("limit=0")]
#[case("limit=1001")]
#[case("limit=-1")]
#[case("limit=ten")]
#[case("status=done")]
#[case("from=yesterday")]
#[case("before=2020-13-01T00:00:00Z")]
#[case("after=nonsense")]
#[case("sesion=a")]
#[case("session=")]
#[case("session=a&session=b")]
#[tokio::test]
async fn what_is_not_a_query_is_refused(#[case] query: &str) {
    let daemon = daemon().await;
    let answer = daemon
        .get(&format!("/v1/messages?{query}"))
        .send()
        .await
        .unwrap();
    let detail = expect_problem(answer, 400, "BAD_QUERY").await;
    let name = query.split('=').next().unwrap();
    assert!(detail.contains(name), "{detail} does not name {name}");
}
