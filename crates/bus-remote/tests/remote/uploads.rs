//! Storing payloads at a daemon that is slow, early or gone.

use std::{io, net::SocketAddr, time::Duration};

use bus_model::Attributes;
use bus_remote::{Body, DaemonUrl, HttpApi, PutOptions, RemoteConfig, RemoteErrorKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::raw;

fn options() -> PutOptions {
    PutOptions {
        transaction_id: None,
        attributes: Attributes::new("s".parse().unwrap(), "t".parse().unwrap()),
        ttl: None,
        digest: None,
    }
}

async fn put(answer: Vec<u8>, hold_open: bool, body: Body) -> RemoteErrorKind {
    put_to(raw::serve(answer, hold_open).await, body).await
}

async fn put_to(address: SocketAddr, body: Body) -> RemoteErrorKind {
    let mut config = RemoteConfig::new(DaemonUrl::of(address));
    config.idle_timeout = Duration::from_millis(300);
    HttpApi::new(config)
        .unwrap()
        .put(options(), body)
        .await
        .unwrap_err()
        .kind()
}

#[tokio::test]
async fn a_source_that_fails_is_told_as_such() {
    let failing = tokio_util::io::StreamReader::new(futures::stream::iter([
        Ok(&b"some bytes"[..]),
        Err(io::Error::other("the disk is on fire")),
    ]));
    let kind = put(Vec::new(), true, Body::reader(failing, None)).await;
    assert_eq!(kind, RemoteErrorKind::Io);
}

#[tokio::test]
async fn a_daemon_that_never_answers_is_given_up() {
    let kind = put(Vec::new(), true, Body::bytes("payload")).await;
    assert_eq!(kind, RemoteErrorKind::Timeout);
}

#[tokio::test]
async fn a_slow_source_is_waited_for() {
    let (mut writer, reader) = tokio::io::duplex(16);
    tokio::spawn(async move {
        // Longer in all, and each time, than the daemon may be silent.
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(450)).await;
            writer.write_all(b"piece").await.unwrap();
        }
    });
    let conflict = b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n";
    let address = raw::serve_after(b"0\r\n\r\n", conflict.to_vec()).await;
    let kind = put_to(address, Body::reader(reader, None)).await;
    assert_eq!(kind, RemoteErrorKind::Conflict);
}

#[tokio::test]
async fn a_refusal_that_comes_early_is_told() {
    let refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n".to_vec();
    let endless = tokio::io::repeat(7).take(u64::MAX);
    assert_eq!(
        put(refusal, true, Body::reader(endless, None)).await,
        RemoteErrorKind::TooLarge
    );
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_told() {
    let strange = raw::answer(&["Content-Length: 4"], b"null");
    assert_eq!(
        put(strange, false, Body::bytes("payload")).await,
        RemoteErrorKind::Protocol
    );
}
