//! The async way in, as its caller sees it.
#![cfg(feature = "tokio")]

mod support;

use bus_codec::{
    EncodedChunk, Manifest, decode_all, encode_all,
    stream::{EncodeOptions, Encoder},
};
use bus_model::CompressionType;
use bytes::Bytes;
use futures::stream;
use rstest::rstest;
use support::{random, text};

const CHUNK: usize = 10_000;

fn options(encoding: CompressionType, parallelism: usize) -> EncodeOptions {
    EncodeOptions {
        encoding,
        chunk_size: u32::try_from(CHUNK).unwrap(),
        parallelism,
        ..EncodeOptions::default()
    }
}

async fn drain(mut encoder: Encoder) -> (Manifest, Vec<EncodedChunk>) {
    let mut chunks = Vec::new();
    while let Some(chunk) = encoder.next().await {
        chunks.push(chunk.unwrap());
    }
    (encoder.finish().unwrap(), chunks)
}

#[rstest]
#[tokio::test]
async fn every_source_gives_the_same_body(
    #[values(CompressionType::None, CompressionType::Gzip, CompressionType::Zstd)]
    encoding: CompressionType,
    #[values(1, 2, 7)] parallelism: usize,
    #[values(0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 8 * CHUNK + 7)] len: usize,
) {
    let payload = if len % 2 == 0 {
        text(len, 1)
    } else {
        random(len, 1)
    };
    let options = options(encoding, parallelism);
    let expected = encode_all(encoding, None, options.chunk_size, &payload).unwrap();

    let bytes = Encoder::from_bytes(payload.clone(), options.clone());
    let reader = Encoder::from_reader(std::io::Cursor::new(payload.clone()), options.clone());
    let pieces: Vec<_> = payload
        .chunks(777)
        .map(|p| Ok(Bytes::copy_from_slice(p)))
        .collect();
    let small = Encoder::from_stream(stream::iter(pieces), options.clone());
    let large = Encoder::from_stream(stream::iter([Ok(payload.clone())]), options);
    for encoder in [bytes, reader, small, large] {
        let found = drain(encoder).await;
        assert_eq!(found, expected);
        let stored = found.1.into_iter().map(|chunk| chunk.bytes);
        assert_eq!(decode_all(&found.0, stored).unwrap(), payload);
    }
}
