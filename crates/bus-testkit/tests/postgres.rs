//! Throwaway clusters: each version, where the data is, and what a kill leaves.

#![allow(clippy::unwrap_used, reason = "tests")]

use bus_testkit::{Postgres, Tmpfs};
use rstest::rstest;

async fn count(postgres: &Postgres) -> i64 {
    let client = postgres.connect("postgres").await.unwrap();
    client
        .query_one("select count(*) from kept", &[])
        .await
        .unwrap()
        .get(0)
}

#[rstest]
#[tokio::test]
async fn each_version_runs(#[values(15, 16, 17)] version: u32) {
    let postgres = Postgres::version(version).await.unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    let shown = client
        .query_one("show server_version_num", &[])
        .await
        .unwrap();
    assert!(shown.get::<_, &str>(0).starts_with(&version.to_string()));
}

#[tokio::test]
async fn another_version_is_refused() {
    let error = Postgres::version(9).await.unwrap_err();
    assert!(error.to_string().contains("15, 16, 17"), "{error}");
}

#[rstest]
#[tokio::test]
async fn what_was_committed_outlives_a_kill(#[values(false, true)] durable: bool) {
    let options = Postgres::options();
    let options = if durable { options.durable() } else { options };
    let postgres = options.start().await.unwrap();
    postgres
        .sql(
            "postgres",
            "create table kept (n int); insert into kept values (1)",
        )
        .await
        .unwrap();
    postgres.kill9().await.unwrap();
    assert!(postgres.connect("postgres").await.is_err());
    postgres.start().await.unwrap();
    assert_eq!(count(&postgres).await, 1);
    postgres.stop_immediate().await.unwrap();
    assert!(postgres.stop_immediate().await.is_err(), "it does not run");
    postgres.start().await.unwrap();
    assert_eq!(count(&postgres).await, 1);
}

#[tokio::test]
async fn its_data_may_be_on_a_small_disk() {
    let disk = Tmpfs::mount(160 << 20).unwrap();
    let postgres = Postgres::options()
        .folder(disk.path().join("data"))
        .start()
        .await
        .unwrap();
    postgres
        .sql("postgres", "create table kept (n int, body text); alter table kept alter column body set storage external")
        .await
        .unwrap();
    let fill =
        "insert into kept select n, repeat(md5(n::text), 200) from generate_series(1, 100000) n";
    let error = postgres.sql("postgres", fill).await.unwrap_err();
    assert!(error.to_string().contains("(53100)"), "{error}");
}

#[tokio::test]
async fn an_error_says_what_the_server_said_and_where() {
    let postgres = Postgres::version(15).await.unwrap();
    let error = postgres
        .sql("postgres", "select 1;\nselect nonsense;")
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("nonsense") && text.contains("42703") && text.contains("line 2"),
        "{text}"
    );
}
