//! Records, chunks and ranges of them.

use std::ops::Range;

use bus_model::{
    ContentType, FORMAT_VERSION, MessageId, MessageKey, MessageStatus, Metadata, Principal,
    Priority, ProviderName, SessionId, ToolName, TransactionId,
};
use bytes::Bytes;
use futures::{StreamExt as _, future::join_all};

use super::{
    Harness,
    support::{
        CHUNK, TTL, begin_new, body, body_in, key, message, message_of, noise, other_process,
        publish, publish_as, put, read, read_chunks, refused, same_time, txn, upload,
    },
};
use crate::{Store, StoreErrorKind};

/// An empty payload is one empty chunk.
pub async fn an_empty_payload_is_one_empty_chunk(h: &dyn Harness) {
    let store = h.store();
    let record = publish(&*store, "m", "").await;
    assert_eq!((record.payload_size_bytes, record.chunk_count), (0, 1));
    assert_eq!(record.compressed_size_bytes, Some(0));
    assert_eq!(all_chunks(&*store, 0..1).await, [Bytes::new()]);
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "");
}

/// Payloads at and around the chunk size come back byte for byte.
pub async fn sizes_around_the_chunk_size_are_read_back(h: &dyn Harness) {
    let store = h.store();
    for len in [1, 15, 16, 17, 31, 32, 33, 48] {
        let name = format!("m{len}");
        let record = publish(&*store, &name, noise(len, 3)).await;
        assert_eq!(record.payload_size_bytes, len as u64);
        assert_eq!(u64::from(record.chunk_count), (len as u64).div_ceil(CHUNK));
        assert_eq!(
            read(&*store, &key(&name)).await.expect("read"),
            noise(len, 3)
        );
    }
}

/// Every byte value comes back as it was.
pub async fn every_byte_value_is_read_back(h: &dyn Harness) {
    let store = h.store();
    let payload: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    publish(&*store, "m", payload.clone()).await;
    assert_eq!(read(&*store, &key("m")).await.expect("read"), payload);
}

/// A body of several large chunks comes back byte for byte.
pub async fn a_large_body_is_read_back(h: &dyn Harness) {
    let store = h.store();
    let body = body_in(noise(3_000_000, 4), 1 << 20);
    let mut message = message("m");
    message.plan.chunk_size = 1 << 20;
    let begun = begin_new(&*store, &message).await;
    upload(&*store, &begun.token, &body).await;
    store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    let payload = read(&*store, &key("m")).await.expect("read");
    assert!(payload == body.payload, "3,000,000 bytes differ");
}

/// A body of many small chunks comes back in order.
pub async fn many_chunks_are_read_back_in_order(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(300 * 16, 4)));
    put(&*store, "m", &body).await.expect("put");
    assert_eq!(read(&*store, &key("m")).await.expect("read"), body.payload);
}

/// Every range of chunks is answered with exactly these chunks.
pub async fn every_range_of_chunks_is_read(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    put(&*store, "m", &body).await.expect("put");
    for start in 0..=5_u32 {
        for end in start..=5 {
            let wanted: Vec<_> = body.chunks[start as usize..end as usize]
                .iter()
                .map(|chunk| chunk.bytes.clone())
                .collect();
            assert_eq!(
                all_chunks(&*store, start..end).await,
                wanted,
                "{start}..{end}"
            );
        }
    }
}

/// A range beyond the last chunk is refused.
pub async fn a_range_beyond_the_end_is_refused(h: &dyn Harness) {
    let store = h.store();
    let record = publish(&*store, "m", noise(70, 1)).await;
    for range in [0..6, 4..6, 5..6, 6..6, 9..12, 0..u32::MAX] {
        let answer = read_chunks(&*store, &Principal::default(), record.id, range).await;
        refused(answer, StoreErrorKind::InvalidInput);
    }
}

/// A range that ends before it starts is refused.
pub async fn a_backward_range_is_refused(h: &dyn Harness) {
    let store = h.store();
    let record = publish(&*store, "m", noise(70, 1)).await;
    let backward = Range { start: 3, end: 2 };
    let answer = read_chunks(&*store, &Principal::default(), record.id, backward).await;
    refused(answer, StoreErrorKind::InvalidInput);
}

/// What is being written cannot be read.
pub async fn a_pending_message_is_not_complete(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body("x")).await;
    not_complete(&*store, begun.token.id).await;
}

/// What was given up cannot be read.
pub async fn a_given_up_message_is_not_complete(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body("x")).await;
    store.abort(&begun.token, "no").await.expect("abort");
    not_complete(&*store, begun.token.id).await;
}

/// What is not there is not found, whatever is asked of it.
pub async fn an_unknown_message_is_not_found(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "another", "payload").await;
    let (key, missing) = (key("m"), StoreErrorKind::NotFound);
    refused(store.record(&key).await, missing);
    refused(store.open(&key).await, missing);
    refused(store.acknowledge(&key).await, missing);
    refused(store.delete(&key).await, missing);
    let answer = read_chunks(&*store, &key.principal, MessageId::mint(), 0..1).await;
    refused(answer, missing);
}

/// The record shows every field as it was written.
pub async fn the_record_shows_every_field(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let mut message = message("txn_Az09._-");
    let attributes = &mut message.attributes;
    attributes.session_id = SessionId::new("sess \"1\" ü %_*").expect("legal");
    attributes.tool_name = ToolName::new("files/read").expect("legal");
    attributes.provider_name = ProviderName::new("acme, inc.").expect("legal");
    attributes.content_type = ContentType::text();
    attributes.priority = Priority::Bulk;
    attributes
        .metadata
        .insert("request_id".into(), "r-1".into());
    attributes.metadata.insert("n".into(), 1.into());
    let begun = begin_new(&*store, &message).await;
    upload(&*store, &begun.token, &body).await;
    let committed = store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    let record = store.record(&message.key).await.expect("record");
    assert_eq!(record, committed);
    let attributes = message.attributes;
    assert_eq!(record.id, begun.token.id);
    assert_eq!(record.key(), message.key);
    assert_eq!(record.session_id, attributes.session_id);
    assert_eq!(record.tool_name, attributes.tool_name);
    assert_eq!(record.provider_name, attributes.provider_name);
    assert_eq!(record.content_type, attributes.content_type);
    assert_eq!(record.priority, attributes.priority);
    assert_eq!(record.metadata, attributes.metadata);
    let manifest = &body.manifest;
    assert_eq!(record.payload_size_bytes, 70);
    assert_eq!(record.compression_type, manifest.encoding());
    assert_eq!(record.compressed_size_bytes, Some(70));
    assert_eq!(record.checksum, Some(manifest.payload_digest()));
    assert_eq!(record.encoded_sha256, Some(manifest.encoded_digest()));
    assert_eq!(record.manifest_sha256, Some(manifest.digest()));
    assert_eq!((record.chunk_count, record.chunk_size_bytes), (5, CHUNK));
    assert_eq!(record.format_version, FORMAT_VERSION);
    assert_eq!(record.status, MessageStatus::Complete);
    assert_eq!(
        (record.error_message, record.lease_expires_at),
        (None, None)
    );
    assert_eq!((record.acknowledged_at, record.payload), (None, None));
    assert_eq!((record.encryption, record.key_id), (None, None));
    assert_eq!(record.accessed_at, record.created_at);
    same_time(record.expires_at, record.created_at + TTL);
}

/// The record is the same wherever it is shown.
pub async fn the_record_is_the_same_everywhere(h: &dyn Harness) {
    let store = h.store();
    let committed = publish(&*store, "m", noise(70, 1)).await;
    let opened = store.open(&key("m")).await.expect("open");
    assert_eq!(opened.record, committed);
    let query = super::support::everything();
    let page = store.list(&query).await.expect("list");
    assert_eq!(page.records, [committed]);
}

/// Times are whole milliseconds, so that they are the same in every store.
pub async fn times_are_whole_milliseconds(h: &dyn Harness) {
    let store = h.store();
    let record = publish(&*store, "m", "payload").await;
    for time in [record.created_at, record.accessed_at, record.expires_at] {
        assert_eq!(time.timestamp_subsec_nanos() % 1_000_000, 0, "{time}");
    }
    let stamp = store.acknowledge(&key("m")).await.expect("acknowledge");
    assert_eq!(stamp.timestamp_subsec_nanos() % 1_000_000, 0, "{stamp}");
}

/// The manifest is the one that was committed.
pub async fn the_manifest_is_the_committed_one(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    put(&*store, "m", &body).await.expect("put");
    let opened = store.open(&key("m")).await.expect("open");
    assert_eq!(opened.manifest, body.manifest);
    assert_eq!(opened.record.manifest_sha256, Some(body.manifest.digest()));
}

/// Metadata may be large, nested and full of odd characters.
pub async fn metadata_is_kept_as_it_was(h: &dyn Harness) {
    let store = h.store();
    let mut message = message("m");
    message.attributes.metadata = odd_metadata();
    publish_as(&*store, &message, "payload").await;
    let record = store.record(&key("m")).await.expect("record");
    assert_eq!(record.metadata, odd_metadata());
}

/// Ids and names at the borders of what is legal are kept.
pub async fn ids_at_the_borders_are_kept(h: &dyn Harness) {
    let store = h.store();
    let owner = Principal::new("!".repeat(127) + "~").expect("legal");
    for name in ["a", "...", ".a", "-", "_", "CON", &"x".repeat(128)] {
        let id = TransactionId::new(name).expect("legal");
        let key = MessageKey::new(owner.clone(), id);
        let mut message = message_of(key.clone());
        let long = "ß".repeat(128);
        message.attributes.session_id = SessionId::new(&long).expect("legal");
        publish_as(&*store, &message, name.to_owned()).await;
        assert_eq!(read(&*store, &key).await.expect("read"), name);
        let record = store.record(&key).await.expect("record");
        assert_eq!(record.session_id.as_str(), long);
    }
}

/// Transaction ids that differ only in case are two.
pub async fn ids_that_differ_in_case_are_two(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "Message", "one").await;
    publish(&*store, "message", "two").await;
    assert_eq!(read(&*store, &key("Message")).await.expect("read"), "one");
    assert_eq!(read(&*store, &key("message")).await.expect("read"), "two");
}

/// A message that is deleted under its reader: the rest is right or an error, never cut in silence.
pub async fn a_delete_under_a_reader_cuts_nothing_in_silence(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(40 * 16, 1)));
    put(&*store, "m", &body).await.expect("put");
    let opened = store.open(&key("m")).await.expect("open");
    let owner = Principal::default();
    let mut chunks = store
        .chunks(&owner, opened.record.id, 0..40)
        .await
        .expect("chunks");
    let first = chunks.next().await.expect("a chunk").expect("chunk 0");
    assert_eq!(first, body.chunks[0].bytes);
    store.delete(&key("m")).await.expect("delete");
    for chunk in &body.chunks[1..] {
        match chunks.next().await {
            Some(Ok(bytes)) => assert_eq!(bytes, chunk.bytes),
            Some(Err(_)) => return,
            None => panic!("the stream was cut in silence"),
        }
    }
    assert!(chunks.next().await.is_none());
}

/// A reader that is given up half-way harms nobody.
pub async fn a_reader_may_stop_half_way(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(40 * 16, 1)));
    put(&*store, "m", &body).await.expect("put");
    let id = store.open(&key("m")).await.expect("open").record.id;
    for _ in 0..10 {
        let mut chunks = store
            .chunks(&Principal::default(), id, 0..40)
            .await
            .expect("chunks");
        chunks.next().await.expect("a chunk").expect("chunk 0");
    }
    assert_eq!(read(&*store, &key("m")).await.expect("read"), body.payload);
    store.delete(&key("m")).await.expect("delete");
}

/// Many readers at once each get the whole.
pub async fn many_readers_at_once_get_the_whole(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(40 * 16, 1)));
    put(&*store, "m", &body).await.expect("put");
    let wanted = key("m");
    for payload in join_all((0..8).map(|_| read(&*store, &wanted))).await {
        assert_eq!(payload.expect("read"), body.payload);
    }
}

/// Another process reads what this one wrote.
pub async fn another_process_reads_the_message(h: &dyn Harness) {
    let (store, other) = (h.store(), other_process(h));
    publish(&*store, "m", noise(70, 1)).await;
    assert_eq!(read(&*other, &key("m")).await.expect("read"), noise(70, 1));
    other.delete(&key("m")).await.expect("delete");
    refused(store.open(&key("m")).await, StoreErrorKind::NotFound);
}

async fn not_complete(store: &dyn Store, id: MessageId) {
    let kind = StoreErrorKind::NotComplete;
    let key = MessageKey::new(Principal::default(), txn("m"));
    refused(store.open(&key).await, kind);
    refused(store.acknowledge(&key).await, kind);
    refused(read_chunks(store, &key.principal, id, 0..1).await, kind);
}

/// Chunks of the message `m`.
async fn all_chunks(store: &dyn Store, range: Range<u32>) -> Vec<Bytes> {
    let id = store.record(&key("m")).await.expect("record").id;
    read_chunks(store, &Principal::default(), id, range)
        .await
        .expect("chunks")
}

fn odd_metadata() -> Metadata {
    let mut inner = Metadata::new();
    inner.insert(
        "nul \u{0} quote \" slash \\".into(),
        "\u{1F600} \u{7f} \r\n".into(),
    );
    inner.insert(String::new(), vec![1.5, -0.25].into());
    inner.insert("big".into(), u64::MAX.into());
    let mut metadata = Metadata::new();
    metadata.insert("z first".into(), inner.into());
    metadata.insert("a last".into(), vec!["x".repeat(60_000)].into());
    metadata.insert("flag".into(), true.into());
    metadata.insert("none".into(), ().into());
    metadata
}
