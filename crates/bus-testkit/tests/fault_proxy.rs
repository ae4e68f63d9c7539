//! Each fault does what it says to live connections and to new ones, and stops when it is cleared.

#![allow(clippy::unwrap_used, reason = "tests")]

use bus_testkit::{Fault, FaultProxy};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// A server that sends back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    addr
}

async fn proxy() -> FaultProxy {
    FaultProxy::start(echo().await).await.unwrap()
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.addr()).await.unwrap()
}

/// Sends some bytes and waits for the same ones.
async fn round_trip(stream: &mut TcpStream, bytes: usize) -> std::io::Result<()> {
    let sent = vec![7_u8; bytes];
    let mut got = vec![0; bytes];
    let (mut from, mut to) = stream.split();
    tokio::try_join!(to.write_all(&sent), from.read_exact(&mut got))?;
    assert_eq!(got, sent);
    Ok(())
}

/// How a connection ends, and after how many bytes.
async fn ending(stream: &mut TcpStream) -> (usize, Result<(), ErrorKind>) {
    let mut buffer = vec![0; 64 << 10];
    let mut got = 0;
    loop {
        match timeout(Duration::from_secs(20), stream.read(&mut buffer))
            .await
            .unwrap()
        {
            Ok(0) => return (got, Ok(())),
            Ok(read) => got += read,
            Err(error) => return (got, Err(error.kind())),
        }
    }
}

/// How a new connection ends that nothing is sent on; a reset may come before it is made.
async fn ending_of_new(proxy: &FaultProxy) -> Result<(), ErrorKind> {
    match TcpStream::connect(proxy.addr()).await {
        Ok(mut stream) => ending(&mut stream).await.1,
        Err(error) => Err(error.kind()),
    }
}

#[tokio::test]
async fn without_a_fault_everything_passes_and_is_counted() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    round_trip(&mut stream, 1 << 20).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(ending(&mut stream).await, (0, Ok(())));
    let counts = proxy.counts();
    assert_eq!(
        (counts.connections, counts.up, counts.down),
        (1, 1 << 20, 1 << 20)
    );
    assert_eq!(counts.broken, 0);
}

#[tokio::test]
async fn delay_holds_everything_back_but_loses_no_speed() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    proxy.set(Fault::Delay(Duration::from_millis(100)));
    let start = Instant::now();
    round_trip(&mut stream, 1 << 20).await.unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    // 64 pieces, each delayed: one after the other would take 12.8 s.
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[tokio::test]
async fn throttle_keeps_the_pace() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    proxy.set(Fault::Throttle {
        bytes_per_sec: 200_000,
    });
    let start = Instant::now();
    round_trip(&mut stream, 100_000).await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(450),
        "{:?}",
        start.elapsed()
    );
    proxy.clear();
    round_trip(&mut stream, 4 << 20).await.unwrap();
}

#[tokio::test]
async fn refuse_resets_live_and_new_connections() {
    let proxy = proxy().await;
    let mut live = connect(&proxy).await;
    round_trip(&mut live, 10).await.unwrap();
    proxy.set(Fault::Refuse);
    assert_eq!(ending(&mut live).await.1, Err(ErrorKind::ConnectionReset));
    assert_eq!(ending_of_new(&proxy).await, Err(ErrorKind::ConnectionReset));
    proxy.clear();
    round_trip(&mut connect(&proxy).await, 10).await.unwrap();
}

#[tokio::test]
async fn reset_after_lets_exactly_that_much_through() {
    let proxy = proxy().await;
    let mut live = connect(&proxy).await;
    round_trip(&mut live, 5000).await.unwrap();
    proxy.set(Fault::ResetAfter {
        up: None,
        down: Some(3000),
    });
    // For one that lived before, from now on; for a new one, from its start.
    for stream in [&mut live, &mut connect(&proxy).await] {
        stream.write_all(&[1; 4000]).await.unwrap();
        assert_eq!(ending(stream).await.1, Err(ErrorKind::ConnectionReset));
    }
    assert_eq!(proxy.counts().down, 5000 + 2 * 3000);
}

#[tokio::test]
async fn reset_after_nothing_resets_at_once() {
    let proxy = proxy().await;
    proxy.set(Fault::ResetAfter {
        up: Some(0),
        down: None,
    });
    assert_eq!(ending_of_new(&proxy).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(proxy.counts().up, 0);
}

#[tokio::test]
async fn cut_after_closes_in_good_order() {
    let proxy = proxy().await;
    proxy.set(Fault::CutAfter {
        up: None,
        down: Some(3000),
    });
    let mut stream = connect(&proxy).await;
    stream.write_all(&[1; 100_000]).await.unwrap();
    assert_eq!(ending(&mut stream).await, (3000, Ok(())));
}

#[tokio::test]
async fn a_cut_on_the_way_up_is_seen_by_both_sides() {
    let proxy = proxy().await;
    proxy.set(Fault::CutAfter {
        up: Some(2000),
        down: None,
    });
    let mut stream = connect(&proxy).await;
    stream.write_all(&[1; 100_000]).await.unwrap();
    let (got, end) = ending(&mut stream).await;
    assert!(got <= 2000, "{got}");
    assert_eq!(end, Ok(()));
    assert_eq!(proxy.counts().up, 2000);
}

#[tokio::test]
async fn a_blackhole_swallows_and_answers_nothing() {
    let proxy = proxy().await;
    proxy.set(Fault::Blackhole);
    let mut stream = connect(&proxy).await;
    stream.write_all(&[1; 100]).await.unwrap();
    let silence = timeout(Duration::from_millis(200), stream.read(&mut [0; 10])).await;
    assert!(silence.is_err());
    assert_eq!(proxy.counts().up, 0);
    proxy.clear();
    round_trip(&mut stream, 10).await.unwrap();
}

#[tokio::test]
async fn half_open_loses_the_answers_only() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    round_trip(&mut stream, 10).await.unwrap();
    proxy.set(Fault::HalfOpen);
    stream.write_all(&[1; 100]).await.unwrap();
    let silence = timeout(Duration::from_millis(200), stream.read(&mut [0; 10])).await;
    assert!(silence.is_err());
    assert_eq!((proxy.counts().up, proxy.counts().down), (110, 10));
}

#[tokio::test]
async fn reset_all_breaks_what_lives_and_nothing_that_comes() {
    let proxy = proxy().await;
    let mut live = connect(&proxy).await;
    round_trip(&mut live, 10).await.unwrap();
    proxy.reset_all();
    assert_eq!(ending(&mut live).await.1, Err(ErrorKind::ConnectionReset));
    round_trip(&mut connect(&proxy).await, 10).await.unwrap();
    assert_eq!(proxy.counts().broken, 1);
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let proxy = FaultProxy::start(nobody).await.unwrap();
    assert_eq!(ending_of_new(&proxy).await, Err(ErrorKind::ConnectionReset));
}
