//! `from_env` is lazy: a bad setting is an error on use, and the router sends inline.
//!
//! The environment belongs to the whole process, so each case runs this program again.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::process::Command;

use bus_client::{ClientErrorKind, Message, MessageBusClient, Route};

const CASE: &str = "BUS_TEST_CASE";

fn run_case(test: &str, variables: &[(&str, &str)], dotenv: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), dotenv).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env_clear()
        .env(CASE, "1")
        .env("HOME", dir.path())
        .envs(variables.iter().copied())
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

fn is_case() -> bool {
    std::env::var_os(CASE).is_some()
}

fn message() -> Message {
    Message::new("s".parse().unwrap(), "t".parse().unwrap())
}

#[tokio::test]
async fn unset_means_disabled() {
    if !is_case() {
        return run_case("unset_means_disabled", &[], "# nothing\n");
    }
    let client = MessageBusClient::from_env();
    assert_eq!(
        client.route(5_000_000),
        Route::TooLarge { limit: 1_048_576 }
    );
    let error = client
        .publish(message(), bytes::Bytes::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Disabled);
}

#[cfg(feature = "embedded")]
#[tokio::test]
async fn enabled_by_dotenv_uses_the_embedded_store() {
    if !is_case() {
        let dotenv = "MESSAGE_BUS_ENABLED=true\nBUS_THRESHOLD_BYTES=10\n";
        return run_case("enabled_by_dotenv_uses_the_embedded_store", &[], dotenv);
    }
    let client = MessageBusClient::from_env();
    assert!(client.should_use_message_bus(11));
    let published = client
        .publish(message(), bytes::Bytes::from("x"))
        .await
        .unwrap();
    let id = published.record.transaction_id;
    assert_eq!(
        MessageBusClient::from_env()
            .fetch(&id)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap(),
        "x"
    );
    assert!(std::path::Path::new(".local/share/bus").is_dir());
}

#[tokio::test]
async fn the_environment_wins_over_dotenv() {
    if !is_case() {
        let variables = [("MESSAGE_BUS_ENABLED", "false")];
        return run_case(
            "the_environment_wins_over_dotenv",
            &variables,
            "MESSAGE_BUS_ENABLED=true",
        );
    }
    assert!(!MessageBusClient::from_env().is_enabled());
}

#[tokio::test]
async fn a_bad_setting_surfaces_on_use_and_the_router_sends_inline() {
    if !is_case() {
        let variables = [
            ("MESSAGE_BUS_ENABLED", "true"),
            ("MESSAGE_BUS_TTL_HOURS", "never"),
        ];
        let test = "a_bad_setting_surfaces_on_use_and_the_router_sends_inline";
        return run_case(test, &variables, "");
    }
    let client = MessageBusClient::from_env();
    assert_eq!(client.route(500_000), Route::Inline);
    assert!(!client.should_use_message_bus(5_000_000));
    for error in [
        client
            .publish(message(), bytes::Bytes::new())
            .await
            .map(drop)
            .unwrap_err(),
        client
            .fetch(&"t".parse().unwrap())
            .await
            .map(drop)
            .unwrap_err(),
        client.settings().map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ClientErrorKind::Settings);
        assert!(
            error
                .to_string()
                .contains("MESSAGE_BUS_TTL_HOURS=\"never\""),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_malformed_dotenv_is_an_error_that_shows_no_secret() {
    if !is_case() {
        let test = "a_malformed_dotenv_is_an_error_that_shows_no_secret";
        return run_case(test, &[], "A=1\nsb_secret_key\n");
    }
    let error = MessageBusClient::from_env().stats().await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Settings);
    assert!(error.to_string().contains("line 2 of .env"), "{error}");
    assert!(!format!("{error:?}").contains("sb_secret"), "{error:?}");
}
