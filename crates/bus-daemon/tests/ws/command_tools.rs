//! Command tools with real programs.

use std::{fs, path::Path};

use bus_daemon::{Daemon, DaemonConfig, DaemonError, RunningDaemon};
use bus_model::{Principal, TransactionId};
use bus_store::ListQuery;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Client, bus, claim, code, eventually, reason, redeem, setup};

/// A daemon whose tool `run` is `script`, for a shell that was asked for by name.
async fn script(script: &str, more: &str) -> (RunningDaemon, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let script = script.replace("DIR", folder.path().to_str().unwrap());
    let argv = format!("argv = [\"sh\", \"-c\", {}]", toml_text(&script));
    let tools = format!("[[tool]]\nname = \"run\"\nprovider = \"tests\"\n{argv}\n{more}\n");
    let file = folder.path().join("tools.toml");
    fs::write(&file, tools).unwrap();
    let daemon = setup().config(|c| c.tools_file = Some(file)).start().await;
    (daemon, folder)
}

fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[tokio::test]
async fn arguments_go_in_and_the_output_is_the_payload() {
    let (daemon, _folder) = script("cat", "content_type = \"application/json\"").await;
    let mut client = Client::open(&daemon).await;
    let arguments = json!({"b": [1, 2], "a": "ü"});
    let result = client.result_of("c1", "run", arguments.clone()).await;
    assert_eq!(result["content_type"], "application/json");
    let said: serde_json::Value = serde_json::from_str(result["text"].as_str().unwrap()).unwrap();
    assert_eq!(said, arguments);
}

#[tokio::test]
async fn a_program_that_ignores_its_arguments_is_fine() {
    let (daemon, _folder) = script("exec <&-; echo done", "").await;
    let mut client = Client::open(&daemon).await;
    let arguments = json!({"much": "x".repeat(300_000)});
    assert_eq!(
        client.result_of("c1", "run", arguments).await["text"],
        "done\n"
    );
}

#[tokio::test]
async fn much_output_is_streamed_to_a_claim_under_its_provider() {
    let (daemon, _folder) = script("yes | head -c 5000000", "").await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "run", json!({})).await;
    assert_eq!(
        redeem(&daemon, &result).await,
        "y\n".repeat(2_500_000).as_bytes()
    );
    let id = claim(&result)["message_bus_transaction_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let record = daemon
        .state()
        .client
        .record(&TransactionId::new(id).unwrap())
        .await
        .unwrap();
    assert_eq!(record.provider_name.as_str(), "tests");
}

#[tokio::test]
async fn a_program_that_fails_shows_its_last_words() {
    let (daemon, _folder) = script("echo out; echo 'no such table' >&2; exit 3", "").await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "run", json!({})).await;
    assert_eq!(code(&result), "EXEC_ERROR");
    assert_eq!(
        reason(&result),
        "run failed (exit status: 3): no such table"
    );
    assert!(result.get("outputs").is_none());
}

#[tokio::test]
async fn a_program_that_fails_at_the_end_has_published_nothing() {
    let (daemon, _folder) = script("yes | head -c 5000000; exit 1", "").await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "run", json!({})).await;
    assert_eq!(code(&result), "EXEC_ERROR");
    assert_eq!(
        reason(&result),
        "run failed (exit status: 1) and said nothing"
    );
    let query = ListQuery::new(Principal::default());
    assert_eq!(
        daemon.state().client.list(&query).await.unwrap().records,
        []
    );
}

#[tokio::test]
async fn only_the_end_of_many_last_words_is_shown() {
    let (daemon, _folder) = script("yes blah | head -c 200000 >&2; echo end >&2; exit 1", "").await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "run", json!({})).await;
    assert!(reason(&result).len() < 4200, "{}", reason(&result).len());
    assert!(reason(&result).ends_with("blah\nend"), "{result}");
}

#[tokio::test]
async fn a_program_that_was_killed_has_failed() {
    let (daemon, _folder) = script("echo out; kill -9 $$", "").await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "run", json!({})).await;
    assert!(reason(&result).contains("signal: 9"), "{result}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.toml");
    fs::write(
        &file,
        "[[tool]]\nname = 'run'\nargv = ['no-such-program']\n",
    )
    .unwrap();
    let daemon = setup().config(|c| c.tools_file = Some(file)).start().await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "run", json!({})).await;
    assert_eq!(code(&result), "EXEC_ERROR");
    assert!(reason(&result).contains("no-such-program"), "{result}");
}

#[tokio::test]
async fn arguments_are_checked_against_the_schema_of_the_file() {
    let more = "input_schema = {type = 'object', properties = {n = {type = 'integer'}}}";
    let (daemon, _folder) = script("cat", more).await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "run", json!({"n": "one"})).await;
    assert_eq!(code(&result), "INVALID_ARGUMENTS");
    assert!(reason(&result).contains("/n of run"), "{result}");
}

/// The number in a file, once it is there.
async fn number_in(path: &Path) -> u32 {
    let read = || fs::read_to_string(path).ok()?.trim().parse().ok();
    eventually("a process id", || read().is_some()).await;
    read().unwrap()
}

/// Whether a process runs; one that has ended and waits for its parent does not.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

/// Whether a process is there at all, also as a zombie.
fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

const FAMILY: &str = "echo $$ > DIR/parent; sleep 1000 & echo $! > DIR/child; wait";

#[tokio::test]
async fn a_program_beyond_its_time_is_killed_with_all_it_started() {
    let (daemon, folder) = script(FAMILY, "timeout_secs = 0.3").await;
    let mut client = Client::open(&daemon).await;
    client.call("c1", "run", json!({})).await;
    assert_eq!(client.frame().await["timeout"], 0.3);
    let parent = number_in(&folder.path().join("parent")).await;
    let child = number_in(&folder.path().join("child")).await;
    assert!(runs(child));
    assert_eq!(code(&client.result("c1").await), "TIMEOUT");
    eventually("the end of the grandchild", || !runs(child)).await;
    eventually("the end of the program, without a zombie", || {
        !exists(parent)
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_programs() {
    let (daemon, folder) = script(FAMILY, "").await;
    let mut client = Client::open(&daemon).await;
    client.call("c1", "run", json!({})).await;
    let parent = number_in(&folder.path().join("parent")).await;
    let child = number_in(&folder.path().join("child")).await;
    drop(client);
    eventually("the end of the grandchild", || !runs(child)).await;
    eventually("the end of the program, without a zombie", || {
        !exists(parent)
    })
    .await;
}

#[tokio::test]
async fn programs_that_end_by_themselves_leave_no_zombies() {
    let (daemon, folder) = script("echo $$ > DIR/parent; echo hi", "").await;
    let mut client = Client::open(&daemon).await;
    client.result_of("c1", "run", json!({})).await;
    let parent = number_in(&folder.path().join("parent")).await;
    eventually("the end of the program, without a zombie", || {
        !exists(parent)
    })
    .await;
}

#[tokio::test]
async fn a_bad_tools_file_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.toml");
    fs::write(&file, "[[tool]]\nname = 'echo'\nargv = ['true']\n").unwrap();
    assert!(
        matches!(bind(&file).await, DaemonError::Tools(_)),
        "echo is taken"
    );
    fs::write(&file, "[[tool]]\nname = 'a'\nargv = []\n").unwrap();
    assert!(matches!(bind(&file).await, DaemonError::ToolsFile(_)));
    assert!(matches!(
        bind(&folder.path().join("none")).await,
        DaemonError::ToolsFile(_)
    ));
}

async fn bind(file: &Path) -> DaemonError {
    let config = DaemonConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        tools_file: Some(file.to_owned()),
        ..DaemonConfig::default()
    };
    let bound = Daemon::builder()
        .config(config)
        .client(bus().build())
        .bind()
        .await;
    bound.expect_err("a bad tools file was accepted")
}
