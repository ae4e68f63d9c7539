//! A project behind a bad line, and a doctor that is stopped: what was written is removed all the same.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use bus_testkit::{Fault, FaultProxy, Project, Server};

use crate::{
    run, says,
    support::{Place, signal},
    with_key,
};

async fn behind_a_proxy() -> (Project, FaultProxy) {
    let project = Project::take(Server::Postrust).await.unwrap();
    let proxy = FaultProxy::start(project.addr()).await.unwrap();
    (project, proxy)
}

async fn messages(project: &Project) -> i64 {
    let rows = "select count(*) from message_bus";
    let row = project.connect().await.unwrap().query_one(rows, &[]).await;
    row.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_swallows_everything() {
    let (project, proxy) = behind_a_proxy().await;
    proxy.set(Fault::Blackhole);
    let ran = run(with_key(
        &Place::new(),
        &proxy.url(),
        project.secret_key(),
        &["--json"],
    ))
    .await;
    assert_eq!(ran.code, Some(5), "{}", ran.shown());
    says(&ran, "reachable", "failure", "does not answer in time");
    says(&ran, "schema", "skipped", "not checked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_under_a_large_message() {
    let (project, proxy) = behind_a_proxy().await;
    proxy.set(Fault::ResetAfter {
        up: Some(2_000_000),
        down: None,
    });
    let ran = run(with_key(
        &Place::new(),
        &proxy.url(),
        project.secret_key(),
        &["--json"],
    ))
    .await;
    assert_eq!(ran.code, Some(5), "{}", ran.shown());
    says(&ran, "round trip 1 B", "ok", "identical");
    says(&ran, "round trip 16 MiB", "failure", "could not be stored");
    // What does not rest on it is checked all the same.
    says(&ran, "messages", "ok", "");
    assert_eq!(messages(&project).await, 0, "{}", ran.shown());
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_in_the_middle_it_removes_what_it_wrote() {
    let (project, proxy) = behind_a_proxy().await;
    proxy.set(Fault::Throttle {
        bytes_per_sec: 3 << 20,
    });
    let place = Place::new();
    let command = with_key(&place, &proxy.url(), project.secret_key(), &[]);
    let (code, text) =
        tokio::task::spawn_blocking(move || interrupt_after(command, "round trip 1 MiB"))
            .await
            .unwrap();
    assert_eq!(code, Some(130), "{text}");
    assert!(
        text.contains("interrupted") && !text.contains("round trip 16 MiB"),
        "{text}"
    );
    assert_eq!(messages(&project).await, 0, "{text}");
}

/// Sends SIGINT once a line of this name is shown; the exit code, and all that was said.
fn interrupt_after(mut command: Command, name: &str) -> (Option<i32>, String) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let is_it = line.contains(name);
        text.push_str(&line);
        text.push('\n');
        if is_it {
            signal("-INT", child.id());
        }
    }
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    (child.wait().unwrap().code(), text)
}
