//! How long an answer is waited for: the time for its bytes and for those beside it, and no longer.

use std::{sync::Arc, time::Duration};

use bus_model::{MessageId, Principal};
use bus_store::{Store as _, StoreErrorKind, StoredChunk, UploadToken};
use bus_store_supabase::{SupabaseConfig, SupabaseStore};
use bus_testkit::random_payload;
use futures::future::join_all;
use secrecy::SecretString;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    time::sleep,
};
use uuid::Uuid;

const OK: &str = r#""{\"outcome\":\"ok\"}""#;

/// A server and the way to it.
#[derive(Clone)]
struct Way {
    /// How long a KiB takes up; there is one link for all requests.
    kib: Duration,
    /// How long the server thinks.
    pause: Duration,
    /// What it answers to each request.
    answer: String,
    link: Arc<Mutex<()>>,
}

impl Way {
    fn new(kib: Duration, pause: Duration, answer: &str) -> Self {
        Self {
            kib,
            pause,
            answer: answer.to_owned(),
            link: Arc::default(),
        }
    }

    /// A store at this end of it.
    async fn store(self, with: impl FnOnce(SupabaseConfig) -> SupabaseConfig) -> SupabaseStore {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let way = self.clone();
                tokio::spawn(async move { way.serve(BufReader::new(stream)).await });
            }
        });
        let config = SupabaseConfig::new(&url, &SecretString::from("sb_secret_x")).unwrap();
        SupabaseStore::new(with(config.with_raw_chunks_from(usize::MAX))).unwrap()
    }

    async fn serve(&self, mut stream: BufReader<TcpStream>) {
        loop {
            let mut left = 0;
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    left = length.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut part = vec![0; 64 << 10];
            while left > 0 {
                let most = left.min(part.len());
                let Ok(n @ 1..) = stream.read(&mut part[..most]).await else {
                    return;
                };
                left -= n;
                let _mine = self.link.lock().await;
                sleep(self.kib * u32::try_from(n).unwrap() / 1024).await;
            }
            sleep(self.pause).await;
            if stream.write_all(self.answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn answer(status: u16, length: usize, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn ok() -> String {
    answer(200, OK.len(), OK)
}

fn token() -> UploadToken {
    UploadToken {
        principal: Principal::default(),
        id: MessageId::mint(),
        fence: Uuid::new_v4(),
    }
}

/// At 2.8 MB/s each chunk alone takes half a second, and all four two; each alone would be given 1.5.
#[tokio::test]
async fn chunks_that_share_a_slow_link_are_given_the_time_for_all_of_them() {
    let way = Way::new(Duration::from_micros(366), Duration::ZERO, &ok());
    let store = way
        .store(|config| config.with_call_timeout(Duration::from_secs(1), 2_800_000))
        .await;
    let token = token();
    let bytes = bytes::Bytes::from(random_payload(1 << 20, 1));
    let chunk = StoredChunk {
        digest: bus_model::Digest::of(&bytes),
        bytes,
    };
    let sent = join_all((0..4).map(|seq| store.put_chunk(&token, seq, chunk.clone()))).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
}

/// The limit for silence is for a body that has begun; before, a server may think as long as the call may take.
#[tokio::test]
async fn a_server_that_thinks_is_not_one_that_stalls() {
    let way = Way::new(Duration::ZERO, Duration::from_millis(900), &ok());
    let store = way
        .store(|config| config.with_idle_timeout(Duration::from_millis(100)))
        .await;
    store.renew(&token()).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_stalls_half_way_is_a_timeout() {
    let half = answer(200, OK.len(), &OK[..5]);
    let way = Way::new(Duration::ZERO, Duration::ZERO, &half);
    let store = way
        .store(|config| config.with_idle_timeout(Duration::from_millis(100)))
        .await;
    let error = store.renew(&token()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Timeout);
    assert!(error.to_string().contains("within 100 ms"), "{error}");
}

/// The status says the most: what follows of it may come late or never.
#[tokio::test]
async fn a_refusal_whose_text_stalls_is_a_refusal() {
    let head = answer(401, 100, "{");
    let way = Way::new(Duration::ZERO, Duration::ZERO, &head);
    let error = way.store(|config| config).await;
    let error = error.renew(&token()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Denied, "{error:?}");
}
