//! The real Python `websockets` and Node `ws` clients, unmodified and with their default limits,
//! sending nothing but the original's frames.

use std::{fs, path::Path, process::Command};

use bus_daemon::RunningDaemon;
use bus_testkit::{node_script, python_script, sha256_file, sha256_hex, write_json_payload};
use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::setup;

const LARGE: u64 = 64 << 20;

async fn daemon() -> (RunningDaemon, TempDir) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let daemon = setup().config(|c| c.root = Some(path)).start().await;
    (daemon, root)
}

fn script(language: &str) -> Command {
    match language {
        "python" => python_script("call.py"),
        _ => node_script("call.mjs"),
    }
    .unwrap()
}

/// Runs the script against `daemon`; its standard output.
async fn run(language: &str, daemon: &RunningDaemon, arguments: &[&str]) -> Vec<u8> {
    let mut command = script(language);
    command
        .arg(format!("ws://{}", daemon.local_addr()))
        .args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{language}: {words}");
    output.stdout
}

#[rstest]
#[case("python")]
#[case("node")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_are_listed(#[case] language: &str) {
    let (daemon, _root) = daemon().await;
    let listed = run(language, &daemon, &[]).await;
    let tools: Value = serde_json::from_slice(&listed).unwrap();
    let names: Vec<&str> = tools
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["echo", "generate", "read_file"]);
}

#[rstest]
#[case("python")]
#[case("node")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_call_is_answered(#[case] language: &str) {
    let (daemon, _root) = daemon().await;
    let said = run(language, &daemon, &["echo", r#"{"text":"grüße"}"#]).await;
    assert_eq!(String::from_utf8(said).unwrap(), "grüße");
}

#[rstest]
#[case("python")]
#[case("node")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_64_mib_comes_by_claim_and_is_the_same(#[case] language: &str) {
    let (daemon, root) = daemon().await;
    let file = root.path().join("large.json");
    write(&file);
    let fetched = run(
        language,
        &daemon,
        &["read_file", r#"{"path":"large.json"}"#],
    )
    .await;
    assert_eq!(fetched.len() as u64, LARGE);
    assert_eq!(sha256_hex(&fetched), sha256_file(&file).unwrap());
}

fn write(path: &Path) {
    let mut file = std::io::BufWriter::new(fs::File::create(path).unwrap());
    write_json_payload(&mut file, LARGE, 64).unwrap();
    std::io::Write::flush(&mut file).unwrap();
}
