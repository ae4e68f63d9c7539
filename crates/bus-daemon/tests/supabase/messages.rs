//! HTTP of the daemon over a project: streams in, ranges out.

use std::time::Duration;

use bus_daemon::RunningDaemon;
use bus_testkit::{Server, random_payload};
use bytes::Bytes;
use futures::stream;
use rstest::rstest;

use crate::{site::Site, support::setup};

const CHUNK: u32 = 64 << 10;
/// Ten chunks, the last of one byte.
const SIZE: usize = 9 * CHUNK as usize + 1;

/// A daemon whose chunks are small, and which makes no calls of its own.
async fn daemon(site: &Site) -> RunningDaemon {
    let client = site.client().chunk_size(CHUNK).build();
    let setup = setup().client(client);
    let setup = setup.config(|c| c.purge_interval = Duration::ZERO);
    setup.start().await
}

#[rstest]
#[case::first_byte("bytes=0-0", 0..1, 1)]
#[case::one_chunk("bytes=65536-131071", 65_536..131_072, 1)]
#[case::across_a_border("bytes=65535-65536", 65_535..65_537, 2)]
#[case::last_byte("bytes=-1", 589_824..589_825, 1)]
#[case::five_chunks("bytes=70000-350000", 70_000..350_001, 5)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_reads_the_chunks_that_it_touches_and_no_others(
    #[values(Server::Postrust, Server::Lite)] server: Server,
    #[case] range: &str,
    #[case] part: std::ops::Range<usize>,
    #[case] chunks: u64,
) {
    let site = Site::on(server).await;
    let daemon = daemon(&site).await;
    let payload = random_payload(SIZE, 3);
    let record = site.put(&daemon, "m", payload.clone()).await;
    assert_eq!(record["chunk_count"], 10);

    site.project.gateway().reset_counts();
    let request = site.get(&daemon, "/v1/messages/m/payload");
    let answer = request.header("range", range).send().await.unwrap();
    assert_eq!(answer.status(), 206);
    assert_eq!(answer.bytes().await.unwrap(), payload[part]);
    let counts = site.project.gateway().counts();
    assert_eq!(
        site.project.gateway().count("rpc/bus_chunk"),
        chunks,
        "{counts:?}"
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_a_length_streams_into_the_project_and_back(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let site = Site::on(server).await;
    let daemon = daemon(&site).await;
    let payload = Bytes::from(random_payload(SIZE, 5));
    let pieces: Vec<_> = payload
        .chunks(10_000)
        .map(|piece| Ok::<_, std::io::Error>(payload.slice_ref(piece)))
        .collect();
    let body = reqwest::Body::wrap_stream(stream::iter(pieces));
    let record = site.put(&daemon, "streamed", body).await;
    assert_eq!(record["payload_size_bytes"], SIZE);
    assert_eq!(record["chunk_count"], 10);
    let back = site.get(&daemon, "/v1/messages/streamed/payload");
    let back = back.send().await.unwrap();
    assert_eq!(back.status(), 200);
    assert_eq!(back.bytes().await.unwrap(), payload);

    let again = site.http(&daemon, reqwest::Method::PUT, "/v1/messages/streamed");
    let again = again.body(payload).send().await.unwrap();
    assert_eq!(again.status(), 200, "the same bytes are there already");
    let other = site.http(&daemon, reqwest::Method::PUT, "/v1/messages/streamed");
    let other = other.body("other bytes").send().await.unwrap();
    assert_eq!(other.status(), 409);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_message_takes_one_call(#[values(Server::Postrust, Server::Lite)] server: Server) {
    let site = Site::on(server).await;
    let daemon = daemon(&site).await;
    site.project.gateway().reset_counts();
    site.put(&daemon, "small", "some bytes").await;
    let counts = site.project.gateway().counts();
    assert_eq!(counts.values().sum::<u64>(), 1, "{counts:?}");
    let back = site.get(&daemon, "/v1/messages/small/payload");
    assert_eq!(
        back.send().await.unwrap().text().await.unwrap(),
        "some bytes"
    );
}
