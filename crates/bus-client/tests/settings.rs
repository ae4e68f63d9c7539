//! Settings: the variables of the original and ours, and what a bad one does.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use bus_client::{
    ClientErrorKind, Message, MessageBusClient, Route,
    settings::{Settings, SettingsError, StoreSpec, SupabaseSettings},
};
use bus_model::{ByteSize, CompressionType, Ttl};
use rstest::rstest;

fn settings(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let map: BTreeMap<_, _> = variables.iter().copied().collect();
    Settings::from_lookup(|name| map.get(name).map(ToString::to_string))
}

#[test]
fn nothing_set_gives_the_documented_defaults() {
    let s = settings(&[("HOME", "/home/x")]).unwrap();
    assert_eq!(s.enabled, None);
    assert_eq!(s.ttl, Ttl::from_hours(48.0).unwrap());
    assert_eq!(s.max_payload, ByteSize::mib(100));
    assert_eq!(s.compression, CompressionType::Zstd);
    assert!(s.checksum && s.breaker.enabled && s.fallback_to_websocket);
    assert_eq!(
        (s.breaker.threshold, s.breaker.timeout),
        (5, Duration::from_secs(60))
    );
    assert_eq!(s.threshold_bytes, 1_048_576);
    let dir = PathBuf::from("/home/x/.local/share/bus");
    assert_eq!(s.store_spec(), Ok(StoreSpec::Embedded(dir)));
}

#[test]
fn the_env_file_of_the_original_is_understood() {
    let s = settings(&[
        ("MESSAGE_BUS_ENABLED", "false"),
        ("MESSAGE_BUS_TTL_HOURS", "24"),
        ("MESSAGE_BUS_MAX_PAYLOAD_MB", "10"),
        ("MESSAGE_BUS_COMPRESSION", "gzip"),
        ("MESSAGE_BUS_CHECKSUM_ENABLED", "false"),
        ("SUPABASE_URL", "https://rvqxqxqxqxqxqxqx.supabase.co"),
        ("SUPABASE_KEY", "not-a-real-key"),
        ("SUPABASE_PROJECT_ID", "rvqxqxqxqxqxqxqx"),
        ("CIRCUIT_BREAKER_ENABLED", "false"),
        ("CIRCUIT_BREAKER_THRESHOLD", "7"),
        ("CIRCUIT_BREAKER_TIMEOUT_SECS", "30"),
        ("FALLBACK_TO_WEBSOCKET", "false"),
        ("XDG_DATA_HOME", "/data"),
    ])
    .unwrap();
    assert_eq!(s.enabled, Some(false));
    assert_eq!(s.ttl, Ttl::from_hours(24.0).unwrap());
    assert_eq!(s.max_payload.get(), 10 << 20);
    assert_eq!(s.compression, CompressionType::Gzip);
    assert!(!s.checksum && !s.breaker.enabled && !s.fallback_to_websocket);
    assert_eq!(
        (s.breaker.threshold, s.breaker.timeout),
        (7, Duration::from_secs(30))
    );
    assert_eq!(s.store_spec(), Ok(StoreSpec::Embedded("/data/bus".into())));
    assert!(!format!("{s:?}").contains("not-a-real-key"));
}

#[rstest]
#[case("MESSAGE_BUS_ENABLED", "maybe", "true or false")]
#[case("MESSAGE_BUS_TTL_HOURS", "0", "at most 87600 hours")]
#[case("MESSAGE_BUS_TTL_HOURS", "soon", "at most 87600 hours")]
#[case("MESSAGE_BUS_TTL_HOURS", "NaN", "at most 87600 hours")]
#[case("MESSAGE_BUS_MAX_PAYLOAD_MB", "-1", "whole number from 1")]
#[case("MESSAGE_BUS_MAX_PAYLOAD_MB", "1.5", "whole number from 1")]
#[case("MESSAGE_BUS_COMPRESSION", "lz4", "none, gzip or zstd")]
#[case("MESSAGE_BUS_CHECKSUM_ENABLED", "2", "true or false")]
#[case("CIRCUIT_BREAKER_ENABLED", "x", "true or false")]
#[case("CIRCUIT_BREAKER_THRESHOLD", "0", "whole number from 1")]
#[case("CIRCUIT_BREAKER_TIMEOUT_SECS", "1e3", "whole number from 1")]
#[case("FALLBACK_TO_WEBSOCKET", "?", "true or false")]
#[case("BUS_THRESHOLD_BYTES", "1MB", "whole number from 1")]
#[case("BUS_LEASE_SECS", "0", "whole number from 1")]
fn a_bad_value_is_named_with_what_is_allowed(
    #[case] name: &str,
    #[case] value: &str,
    #[case] allowed: &str,
) {
    let message = settings(&[(name, value)]).unwrap_err().to_string();
    assert!(
        message.contains(&format!("{name}=\"{value}\"")),
        "{message}"
    );
    assert!(message.contains(allowed), "{message}");
}

#[rstest]
#[case(&[("SUPABASE_URL", "https://x.supabase.co")], "SUPABASE_KEY is not set")]
#[case(&[("SUPABASE_PROJECT_ID", "x")], "SUPABASE_KEY is not set, but SUPABASE_PROJECT_ID is")]
#[case(&[("SUPABASE_KEY", "k")], "SUPABASE_URL is not set")]
#[case(&[("SUPABASE_URL", "ftp://x"), ("SUPABASE_KEY", "k")], "http or https")]
fn half_a_supabase_is_an_error_once_the_bus_is_enabled(
    #[case] variables: &[(&str, &str)],
    #[case] expected: &str,
) {
    assert!(settings(variables).is_ok(), "not enabled, not looked at");
    let enabled = [variables, &[("MESSAGE_BUS_ENABLED", "true")]].concat();
    let message = settings(&enabled).unwrap_err().to_string();
    assert!(message.contains(expected), "{message}");
}

/// The two in each other's place: an easy mistake, and the key must not be told by it.
#[rstest]
#[case("sb_secret_hush")]
#[case("eyJhbGciOiJIUzI1NiJ9.e30.hush")]
fn a_key_where_the_address_should_be_is_not_shown(#[case] key: &str) {
    let swapped = [
        ("SUPABASE_URL", key),
        ("SUPABASE_KEY", "https://x.test"),
        ("MESSAGE_BUS_ENABLED", "true"),
    ];
    let error = settings(&swapped).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("SUPABASE_URL") && !shown.contains("hush"),
        "{shown}"
    );
}

#[test]
fn a_password_in_an_address_is_not_in_debug() {
    let settings = SupabaseSettings {
        url: "https://me:hush@x.test".to_owned(),
        key: "k".into(),
        token: None,
    };
    let shown = format!("{settings:?}");
    assert!(
        shown.contains("x.test") && !shown.contains("hush"),
        "{shown}"
    );
}

/// Only `MESSAGE_BUS_ENABLED=true` selects the project by itself; asked for by name it always is.
#[test]
fn an_enabled_bus_with_address_and_key_uses_supabase() {
    let project = [
        ("SUPABASE_PROJECT_ID", "abc"),
        ("SUPABASE_KEY", "sb_secret_hush"),
        ("BUS_SUPABASE_TOKEN", "a-token"),
        ("HOME", "/home/x"),
    ];
    let enabled = [&project[..], &[("MESSAGE_BUS_ENABLED", "true")]].concat();
    let spec = settings(&enabled).unwrap().store_spec().unwrap();
    let StoreSpec::Supabase(chosen) = &spec else {
        panic!("not {spec:?}");
    };
    assert_eq!(chosen.url, "https://abc.supabase.co");
    let shown = format!("{spec:?}");
    assert!(
        !shown.contains("hush") && !shown.contains("a-token"),
        "{shown}"
    );
    let unset = settings(&project).unwrap();
    assert!(matches!(unset.store_spec(), Ok(StoreSpec::Embedded(_))));
    assert_eq!(unset.supabase_spec(), Ok(spec));
    let none = settings(&[("SUPABASE_KEY", "k")]).unwrap();
    assert_eq!(none.supabase_spec(), Err(SettingsError::NoSupabase));
}

/// Each mistake is told by the variable that it is in, and never with the secret.
#[rstest]
#[case("ftp//x", "sb_secret_hush", None, "SUPABASE_URL is not allowed")]
#[case("sb_secret_hush", "x", None, "SUPABASE_URL is not allowed")]
#[case(
    "https://u:hush@x.test",
    "sb_secret_hush",
    None,
    "SUPABASE_URL is not allowed"
)]
#[case("https://x.test", "hush", None, "SUPABASE_KEY is not allowed")]
#[case(
    "https://x.test",
    "sb_secret_hush",
    Some("hush"),
    "BUS_SUPABASE_TOKEN is not allowed"
)]
#[tokio::test]
async fn a_project_that_cannot_be_is_a_settings_error(
    #[case] url: &str,
    #[case] key: &str,
    #[case] token: Option<&str>,
    #[case] expected: &str,
) {
    let spec = StoreSpec::Supabase(SupabaseSettings {
        url: url.to_owned(),
        key: key.into(),
        token: token.map(Into::into),
    });
    let client = MessageBusClient::builder().store_spec(spec).build();
    let error = client.store().await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Settings);
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains(expected) && !shown.contains("hush"),
        "{shown}"
    );
}

#[test]
fn an_empty_value_counts_as_not_set() {
    let s = settings(&[("MESSAGE_BUS_ENABLED", ""), ("MESSAGE_BUS_TTL_HOURS", " ")]).unwrap();
    assert_eq!((s.enabled, s.ttl), (None, Ttl::default()));
    assert_eq!(s.store_spec(), Err(SettingsError::NoStoreFolder));
}

#[tokio::test]
async fn a_disabled_bus_routes_inline_and_publishes_nothing() {
    let client = MessageBusClient::builder()
        .store(Arc::new(bus_store::MemoryStore::new()))
        .enabled(false)
        .build();
    assert!(!client.is_enabled());
    assert!(!client.should_use_message_bus(5_000_000));
    assert_eq!(client.route(500_000), Route::Inline);
    assert_eq!(
        client.route(5_000_000),
        Route::TooLarge { limit: 1_048_576 }
    );
    let message = Message::new("s".parse().unwrap(), "t".parse().unwrap());
    let error = client
        .publish(message, bytes::Bytes::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Disabled);
    assert_eq!(client.stats().await.unwrap().complete, 0);
}

#[test]
fn the_threshold_is_over_and_not_at_1_mib() {
    let client = MessageBusClient::builder()
        .store_spec(StoreSpec::Memory)
        .build();
    assert!(!client.should_use_message_bus(1_048_576));
    assert!(client.should_use_message_bus(1_048_577));
}
