//! Servers that are killed in the middle of things, and come back.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bus_client::{ClientErrorKind, Message, Source};
use bus_model::MessageKey;
use bus_store::{NewMessage, PutOutcome, Store, StoreError, UploadToken};
use bus_testkit::{Project, Server};
use bytes::Bytes;
use futures::{StreamExt as _, future::join_all};
use rstest::rstest;
use tokio::io::AsyncWriteExt as _;

use crate::kit::{Body, PATIENT, Rig, begin_new, client, message, publish, resume, send};

/// Repeats a call while it fails for a reason that passes, as bus-client is going to.
async fn persistently<T, F>(call: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let until = Instant::now() + PATIENT;
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => {
                assert!(error.is_transient() && Instant::now() < until, "{error:?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn kill_postgres(rig: &Rig) {
    rig.project.postgres().kill9().await.unwrap();
}

/// Starts the database again; done once the server serves.
///
/// lite may end with its database: its driver throws where nobody catches. Then it is started again, as a supervisor
/// would.
async fn start_postgres(rig: &mut Rig) {
    rig.project.postgres().start().await.unwrap();
    let until = Instant::now() + PATIENT;
    while let Err(error) = rig.direct.check().await {
        assert!(error.is_transient() && Instant::now() < until, "{error:?}");
        if rig.project.server_pid().is_none_or(ended) {
            rig.project.restart_server().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    persistently(|| rig.store.check()).await;
}

/// Whether a process is gone, or is a zombie that nobody has waited for.
fn ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_none_or(|state| matches!(state.trim_start().chars().next(), None | Some('Z')))
}

struct Half {
    new: NewMessage,
    body: Body,
    token: UploadToken,
}

/// An upload with two of its four chunks.
async fn half(rig: &Rig, name: &str) -> Half {
    let (new, body) = (message(name), Body::of(4, 1));
    let token = begin_new(rig.store.as_ref(), &new).await.token;
    send(rig.store.as_ref(), &token, &body, 0..2).await;
    Half { new, body, token }
}

impl Half {
    async fn the_rest(&self, store: &dyn Store) {
        for seq in 2..4_u32 {
            let chunk = &self.body.chunks[seq as usize];
            persistently(|| store.put_chunk(&self.token, seq, chunk.clone())).await;
        }
        persistently(|| store.commit(&self.token, &self.body.manifest)).await;
    }
}

/// One PostgreSQL for all of it, since starting one takes longest.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_killed_comes_back_and_uploads_go_on(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let project = Project::own_postgres(server).await.unwrap();
    let mut rig = Rig::on(project, Duration::from_secs(10)).await;
    the_server_is_killed(&mut rig).await;
    postgres_is_killed_and_the_writer_goes_on(&mut rig).await;
    postgres_is_killed_and_another_writer_resumes(&mut rig).await;
    postgres_is_killed_under_many_writers(&mut rig).await;
    postgres_is_killed_under_a_reader(&mut rig).await;
    postgres_is_killed_under_a_client(&mut rig).await;
    rig.works("at-the-end").await;
}

async fn the_server_is_killed(rig: &mut Rig) {
    let half = half(rig, "server").await;
    rig.project.stop_server().await.unwrap();
    let chunk = half.body.chunks[2].clone();
    let error = rig
        .store
        .put_chunk(&half.token, 2, chunk)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    rig.no_secret_in(&error);
    let error = rig
        .store
        .commit(&half.token, &half.body.manifest)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    rig.project.restart_server().await.unwrap();
    persistently(|| rig.store.check()).await;
    rig.absent(&half.new.key, &half.body).await;
    half.the_rest(rig.store.as_ref()).await;
    rig.whole(&half.new.key, &half.body).await;
}

async fn postgres_is_killed_and_the_writer_goes_on(rig: &mut Rig) {
    let half = half(rig, "same-writer").await;
    kill_postgres(rig).await;
    let chunk = half.body.chunks[2].clone();
    let error = rig
        .store
        .put_chunk(&half.token, 2, chunk)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    rig.no_secret_in(&error);
    start_postgres(rig).await;
    half.the_rest(rig.store.as_ref()).await;
    rig.whole(&half.new.key, &half.body).await;
}

async fn postgres_is_killed_and_another_writer_resumes(rig: &mut Rig) {
    let half = half(rig, "other-writer").await;
    kill_postgres(rig).await;
    start_postgres(rig).await;
    rig.leases_run_out().await;
    // Another process, which knows nothing of the first.
    let other = rig.store_with_key(rig.project.secret_key());
    let (upload, durable) = resume(other.as_ref(), &half.new).await;
    let kept: Vec<_> = durable
        .iter()
        .map(|chunk| (chunk.seq, chunk.digest))
        .collect();
    let sent = half.body.chunks[..2].iter().map(|chunk| chunk.digest);
    assert_eq!(kept, (0..).zip(sent).collect::<Vec<_>>());
    send(other.as_ref(), &upload.token, &half.body, 2..4).await;
    other
        .commit(&upload.token, &half.body.manifest)
        .await
        .unwrap();
    rig.whole(&half.new.key, &half.body).await;
}

/// What was acknowledged is there; of the rest each is whole or absent, and the same put again succeeds.
async fn postgres_is_killed_under_many_writers(rig: &mut Rig) {
    let body = Arc::new(Body::of(1, 5));
    let writers = (0..6).map(|writer| {
        let (store, body) = (rig.store.clone(), Arc::clone(&body));
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let new = message(&format!("many-{writer}-{number}"));
                match store.put(&new, &body.manifest, &body.chunks).await {
                    Ok(_) => acknowledged.push(new.key),
                    Err(error) => {
                        assert!(error.is_transient(), "{error:?}");
                        return (acknowledged, new);
                    }
                }
            }
            unreachable!("they write until the database is killed")
        })
    });
    let writers: Vec<_> = writers.collect();
    while rig.project.gateway().count("bus_put") < 60 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    kill_postgres(rig).await;
    let written = join_all(writers).await;
    start_postgres(rig).await;
    for done in written {
        let (acknowledged, last) = done.unwrap();
        for key in &acknowledged {
            assert!(
                rig.visible(key, &body).await,
                "{} was acknowledged",
                key.transaction_id
            );
        }
        rig.visible(&last.key, &body).await;
        let put = rig
            .store
            .put(&last, &body.manifest, &body.chunks)
            .await
            .unwrap();
        assert!(matches!(put, PutOutcome::Created(_)), "{put:?}");
        rig.whole(&last.key, &body).await;
    }
}

async fn postgres_is_killed_under_a_reader(rig: &mut Rig) {
    let body = Body::of(16, 6);
    let key = publish(rig.store.as_ref(), "read", &body).await;
    let id = rig.store.open(&key).await.unwrap().record.id;
    let mut stream = rig.store.chunks(&key.principal, id, 0..16).await.unwrap();
    let mut got: Vec<Bytes> = vec![stream.next().await.unwrap().unwrap()];
    kill_postgres(rig).await;
    let error = loop {
        match stream
            .next()
            .await
            .expect("a stream that is not whole ends with an error")
        {
            Ok(chunk) => got.push(chunk),
            Err(error) => break error,
        }
    };
    assert!(error.is_transient(), "{error:?}");
    assert!(got[..] == body.bytes()[..got.len()]);
    start_postgres(rig).await;
    rig.whole(&key, &body).await;
}

fn by_client(id: &str) -> Message {
    Message {
        transaction_id: Some(id.parse().unwrap()),
        ..Message::new("session".parse().unwrap(), "tool".parse().unwrap())
    }
}

/// A publish whose source is slower than the database lives; published again, it resumes.
async fn postgres_is_killed_under_a_client(rig: &mut Rig) {
    let (body, chunks) = (Body::of(8, 7), "bus_put_chunk");
    let bus = client(rig.store.clone());
    let (mut source, reader) = tokio::io::duplex(Body::CHUNK);
    let publish = bus.publish(by_client("client"), Source::reader(reader, None));
    let before = rig.project.gateway().count(chunks);
    let feed = async {
        source
            .write_all(&body.payload[..5 * Body::CHUNK])
            .await
            .unwrap();
        while rig
            .number(
                "select count(*) from public.message_bus_chunks c
            join public.message_bus m on m.id = c.message_id where m.transaction_id = 'client'",
            )
            .await
            < 3
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_postgres(rig).await;
        // The reader may be gone already.
        let _ = source.write_all(&body.payload[5 * Body::CHUNK..]).await;
        drop(source);
    };
    let (published, ()) = tokio::join!(publish, feed);
    let error = published.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Unavailable, "{error:?}");
    assert!(rig.project.gateway().count(chunks) > before);
    start_postgres(rig).await;
    let key: MessageKey = crate::kit::key("client");
    rig.absent(&key, &body).await;

    rig.leases_run_out().await;
    let kept = rig
        .number(
            "select count(*) from public.message_bus_chunks c
        join public.message_bus m on m.id = c.message_id where m.status = 'pending'",
        )
        .await;
    let before = rig.project.gateway().count(chunks);
    let (mut source, reader) = tokio::io::duplex(Body::CHUNK);
    let publish = bus.publish(by_client("client"), Source::reader(reader, None));
    let feed = async {
        source.write_all(&body.payload).await.unwrap();
        drop(source);
    };
    let (published, ()) = tokio::join!(publish, feed);
    assert!(published.unwrap().created);
    let sent = rig.project.gateway().count(chunks) - before;
    assert_eq!(
        sent as i64,
        8 - kept,
        "chunks that are there are not sent again"
    );
    rig.whole(&key, &body).await;
}
