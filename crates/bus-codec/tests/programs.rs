//! All chunks of a body, one after another, are what the real programs decode.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::{
    io::Write as _,
    process::{Command, Stdio},
    thread,
};

use bus_codec::encode_all;
use bus_model::CompressionType;
use bytes::Bytes;
use rstest::rstest;
use support::{random, text};

/// What `program -d -c` makes of `input`.
fn decode_with(program: &str, input: Vec<u8>) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(["-d", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "{program} does not start ({error}): install it with `apt-get install {program}`"
            )
        });
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} refuses the body: {told}"
    );
    assert!(told.is_empty(), "{program} complains: {told}");
    writer.join().unwrap().unwrap();
    output.stdout
}

#[rstest]
fn the_real_program_decodes_it(
    #[values((CompressionType::Gzip, "gzip"), (CompressionType::Zstd, "zstd"))]
    (encoding, program): (CompressionType, &str),
    #[values(0, 1, 255, 256, 65_536, 150_000, 200_000, 450_001)] len: usize,
    #[values("text", "random", "both")] kind: &str,
) {
    let payload = match kind {
        "text" => text(len, 1),
        "random" => random(len, 1),
        _ => Bytes::from([text(len / 2, 1), random(len - len / 2, 1)].concat()),
    };
    let (manifest, chunks) = encode_all(encoding, None, 200_000, &payload).unwrap();
    let body = chunks.iter().map(|chunk| chunk.bytes.as_ref());
    let body = body.collect::<Vec<_>>().concat();
    assert_eq!(body.len() as u64, manifest.encoded_size());
    assert!(
        decode_with(program, body) == payload,
        "{program} decodes other bytes"
    );
}
