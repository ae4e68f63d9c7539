//! Nothing secret is shown: not by `Debug`, not by an error, whatever goes wrong on the way.

use std::error::Error;

use bus_store::{Store as _, StoreError, StoreErrorKind};
use bus_store_supabase::{SupabaseConfig, SupabaseStore};
use rstest::rstest;
use secrecy::SecretString;

const KEY: &str = "sb_secret_hush_hush";
/// A JWT with the payload {}.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.e30.hushhushhush";

fn store(url: &str) -> SupabaseStore {
    let config = SupabaseConfig::new(url, &SecretString::from(KEY)).unwrap();
    let config = config
        .with_access_token(&SecretString::from(TOKEN))
        .unwrap();
    SupabaseStore::new(config).unwrap()
}

/// An error and all that it stems from, as texts.
fn shown(error: &StoreError) -> String {
    let mut text = format!("{error}\n{error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}\n{cause}\n{cause:?}");
        source = cause.source();
    }
    text
}

fn holds_no_secret(text: &str) {
    for secret in [KEY, TOKEN, "hush", "rest/v1", "http://", "https://"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[rstest]
#[case::no_such_name("https://no-such-project.invalid")]
#[case::nobody_listens("http://127.0.0.1:1")]
#[case::no_tls("https://127.0.0.1:1")]
#[tokio::test]
async fn a_project_that_cannot_be_reached_is_told_without_its_key(#[case] url: &str) {
    let error = store(url).check().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    assert!(
        error.is_transient() && error.source().is_some(),
        "{error:?}"
    );
    assert!(error.to_string().contains("SUPABASE_URL"), "{error}");
    holds_no_secret(&shown(&error));
}

/// Who answers with something else may quote what it was sent.
#[tokio::test]
async fn an_answer_that_quotes_the_key_is_not_handed_on() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let quoting = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 2048];
        let _ = stream.read(&mut head).await.unwrap();
        let body = format!(r#"{{"message":"the key {KEY} and {TOKEN} are not mine"}}"#);
        let answer = format!(
            "HTTP/1.1 401 No\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let error = store(&format!("http://{address}"))
        .check()
        .await
        .unwrap_err();
    quoting.await.unwrap();
    assert_eq!(error.kind(), StoreErrorKind::Denied);
    assert!(
        error
            .to_string()
            .contains("the key [secret] and [secret] are not mine"),
        "{error}"
    );
    holds_no_secret(&shown(&error));
}

#[test]
fn debug_shows_no_secret() {
    let config = SupabaseConfig::new("http://x.test", &SecretString::from(KEY)).unwrap();
    let config = config
        .with_access_token(&SecretString::from(TOKEN))
        .unwrap();
    let shown = format!("{config:?} {:?} {:?}", config.key(), config.access_token());
    assert!(!shown.contains("hush"), "{shown}");
    let store = SupabaseStore::new(config).unwrap();
    assert!(!format!("{store:?}").contains("hush"), "{store:?}");
}
