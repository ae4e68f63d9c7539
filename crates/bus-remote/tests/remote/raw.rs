//! A server that sends exactly the bytes that a test wants, however wrong.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Answers every connection with `answer` after the request's head, then closes it, or holds it
/// open.
pub(crate) async fn serve(answer: Vec<u8>, hold_open: bool) -> SocketAddr {
    listen(b"\r\n\r\n", answer, hold_open).await
}

/// Answers once a request has ended with `end`, then closes.
pub(crate) async fn serve_after(end: &'static [u8], answer: Vec<u8>) -> SocketAddr {
    listen(end, answer, false).await
}

async fn listen(end: &'static [u8], answer: Vec<u8>, hold_open: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(end) {
                    match socket.read_u8().await {
                        Ok(byte) => request.push(byte),
                        Err(_) => return,
                    }
                }
                // The client may have had enough; that is for the test to judge.
                let _ = socket.write_all(&answer).await;
                if hold_open {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    address
}

/// An answer with these headers and this body.
pub(crate) fn answer(headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", headers.join("\r\n")).into_bytes();
    answer.extend_from_slice(body);
    answer
}
