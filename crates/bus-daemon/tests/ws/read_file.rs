//! `read_file` reads what lies under the root, and nothing else.

use std::{fs, os::unix::fs::symlink, process::Command};

use bus_daemon::{Daemon, DaemonConfig, DaemonError, RunningDaemon};
use rstest::rstest;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Client, bus, code, reason, redeem, setup};

/// A root with files in it, beside a file that is none of its business.
struct Files {
    folder: TempDir,
    daemon: RunningDaemon,
}

async fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("deep")).unwrap();
    fs::write(folder.path().join("secret.txt"), "secret").unwrap();
    fs::create_dir(folder.path().join("root2")).unwrap();
    fs::write(folder.path().join("root2/other.txt"), "other").unwrap();
    fs::write(root.join("notes.txt"), "notes").unwrap();
    fs::write(root.join("deep/a.json"), "{}").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    symlink("notes.txt", root.join("inside")).unwrap();
    symlink("../secret.txt", root.join("outside")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    let made = Command::new("mkfifo")
        .arg(root.join("pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    let daemon = setup().config(|c| c.root = Some(root)).start().await;
    Files { folder, daemon }
}

#[rstest]
#[case("notes.txt", "notes", "text/plain; charset=utf-8")]
#[case("deep/a.json", "{}", "application/json")]
#[case("deep/../notes.txt", "notes", "text/plain; charset=utf-8")]
#[case("inside", "notes", "application/octet-stream")]
#[case("empty", "", "application/octet-stream")]
#[tokio::test]
async fn files_under_the_root_are_read(
    #[case] path: &str,
    #[case] content: &str,
    #[case] kind: &str,
) {
    let files = files().await;
    let mut client = Client::open(&files.daemon).await;
    let result = client
        .result_of("c1", "read_file", json!({"path": path}))
        .await;
    assert_eq!(result["text"], content, "{result}");
    assert_eq!(result["content_type"], kind);
}

#[tokio::test]
async fn an_absolute_path_under_the_root_is_read() {
    let files = files().await;
    let path = files.folder.path().join("root/notes.txt");
    let mut client = Client::open(&files.daemon).await;
    let result = client
        .result_of("c1", "read_file", json!({"path": path}))
        .await;
    assert_eq!(result["text"], "notes");
}

#[rstest]
#[case("missing.txt")]
#[case("../secret.txt")]
#[case("../missing.txt")]
#[case("../root2/other.txt")]
#[case("outside")]
#[case("up/secret.txt")]
#[case("dangling")]
#[case("deep")]
#[case(".")]
#[case("pipe")]
#[case("/etc/passwd")]
#[case("/dev/zero")]
#[case("/proc/self/environ")]
#[case("notes.txt\0")]
#[tokio::test]
async fn nothing_else_is_read_and_the_words_are_the_same(#[case] path: &str) {
    let files = files().await;
    let mut client = Client::open(&files.daemon).await;
    let result = client
        .result_of("c1", "read_file", json!({"path": path}))
        .await;
    assert_eq!(code(&result), "EXEC_ERROR", "{result}");
    let expected = format!("there is no regular file {path:?} under the root");
    assert_eq!(reason(&result), expected);
}

#[tokio::test]
async fn a_large_file_goes_by_claim() {
    let files = files().await;
    let content = bus_testkit::random_payload(3_333_333, 5);
    fs::write(files.folder.path().join("root/large.bin"), &content).unwrap();
    let mut client = Client::open(&files.daemon).await;
    let result = client
        .result_of("c1", "read_file", json!({"path": "large.bin"}))
        .await;
    assert!(
        redeem(&files.daemon, &result).await == content,
        "other bytes came back"
    );
}

#[tokio::test]
async fn a_root_that_is_no_folder_is_refused_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for root in ["/does/not/exist".into(), file.path().to_owned()] {
        let config = DaemonConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            root: Some(root),
            ..DaemonConfig::default()
        };
        let bound = Daemon::builder()
            .config(config)
            .client(bus().build())
            .bind()
            .await;
        assert!(matches!(bound, Err(DaemonError::Root { .. })));
    }
}
