//! The real Python `websockets` and Node `ws` clients, unmodified, redeem a claim whose payload is in a project.

use std::{fs, io::Write as _, path::Path};

use bus_testkit::{
    Server, node_script, python_script, sha256_file, sha256_hex, write_json_payload,
};
use rstest::rstest;

use crate::site::Site;

const LARGE: u64 = 64 << 20;

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_64_mib_comes_by_claim_and_is_the_same(
    #[values(Server::Postrust, Server::Lite)] server: Server,
    #[values("python", "node")] language: &str,
) {
    let site = Site::on(server).await;
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("large.json");
    write(&file);
    let path = root.path().to_owned();
    let daemon = site.daemon().config(|c| c.root = Some(path)).start().await;

    let mut command = match language {
        "python" => python_script("call.py"),
        _ => node_script("call.mjs"),
    }
    .unwrap();
    command
        .arg(format!("ws://{}", daemon.local_addr()))
        .args(["read_file", r#"{"path":"large.json"}"#]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{language}: {words}");

    assert_eq!(output.stdout.len() as u64, LARGE);
    assert_eq!(sha256_hex(&output.stdout), sha256_file(&file).unwrap());
    assert_eq!(site.rows().await, 1, "the payload was in the project");
}

fn write(path: &Path) {
    let mut file = std::io::BufWriter::new(fs::File::create(path).unwrap());
    write_json_payload(&mut file, LARGE, 64).unwrap();
    file.flush().unwrap();
}
