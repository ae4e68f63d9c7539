//! Settings, keys and addresses that do not work: each says what to do, and the rest is not checked.

use std::net::TcpListener;

use bus_testkit::{Project, Server};
use chrono::TimeDelta;
use rstest::rstest;

use crate::{
    run, says,
    support::{Place, finish},
    with_key,
};

#[rstest]
#[case(Server::Lite)]
#[case(Server::Postrust)]
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_project(#[case] server: Server) {
    let project = Project::take(server).await.unwrap();
    let wrong = concat!("sb_secret_", "hushHushHush000000000000_00000000");
    let ran = run(with_key(&Place::new(), project.url(), wrong, &["--json"])).await;
    assert_eq!(ran.code, Some(4), "{}", ran.shown());
    says(&ran, "key", "ok", "secret key");
    says(&ran, "reachable", "failure", "refuses the key");
    says(&ran, "schema", "skipped", "not checked");
    says(&ran, "round trip 1 B", "skipped", "not checked");
    assert!(!ran.shown().contains("hush"), "{}", ran.shown());
}

#[rstest]
#[case::publishable(|p: &Project| p.publishable_key().to_owned(), "publishable key")]
#[case::anon(|p: &Project| p.anon_jwt(), "anon key")]
#[case::expired(|p: &Project| p.jwt("service_role", None, TimeDelta::hours(-1)), "expired at")]
#[case::expired_user(|p: &Project| p.jwt("authenticated", Some("ada"), TimeDelta::hours(-1)), "expired at")]
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_opens_nothing(#[case] key: fn(&Project) -> String, #[case] part: &str) {
    let project = Project::take(Server::Postrust).await.unwrap();
    let key = key(&project);
    let ran = run(with_key(&Place::new(), project.url(), &key, &["--json"])).await;
    assert_eq!(ran.code, Some(4), "{}", ran.shown());
    let line = says(&ran, "key", "failure", part);
    assert!(line["advice"].is_string(), "{line:#}");
    says(&ran, "reachable", "failure", "refuses the key");
    assert!(!ran.shown().contains(&key), "{}", ran.shown());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_service_key_works_on_a_server_of_ones_own() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let key = project.service_jwt();
    let ran = run(with_key(
        &Place::new(),
        project.url(),
        &key,
        &["--json", "--quick"],
    ))
    .await
    .ok();
    says(&ran, "key", "ok", "service_role");
    says(&ran, "rights", "ok", "anon may do nothing");
}

#[test]
fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}");
    let ran = finish(&mut with_key(
        &Place::new(),
        &url,
        "sb_secret_hush",
        &["--json"],
    ));
    assert_eq!(ran.code, Some(5), "{}", ran.shown());
    says(&ran, "url", "ok", "127.0.0.1");
    says(&ran, "reachable", "failure", "cannot be reached");
    for name in [
        "latency",
        "clock",
        "schema",
        "rights",
        "purge job",
        "round trip 16 MiB",
        "messages",
        "timeouts",
    ] {
        says(
            &ran,
            name,
            "skipped",
            "not checked: the project does not answer",
        );
    }
    assert!(
        ran.stderr.contains("reachable") && !ran.shown().contains("hush"),
        "{}",
        ran.shown()
    );
}

#[rstest]
#[case("not an address", "sb_secret_hush", "url")]
#[case("http://supabase.example.com", "sb_secret_hush", "url")]
#[case("https://x.supabase.co", "hush", "key")]
fn what_is_not_well_formed_is_not_asked(#[case] url: &str, #[case] key: &str, #[case] name: &str) {
    let ran = finish(&mut with_key(&Place::new(), url, key, &["--json"]));
    assert_eq!(ran.code, Some(2), "{}", ran.shown());
    if ran.json()["store"] == "supabase" {
        says(&ran, name, "failure", "advice");
        says(&ran, "latency", "skipped", "not legal");
    } else {
        says(&ran, "store", "failure", "SUPABASE_URL");
    }
    assert!(!ran.shown().contains("hush"), "{}", ran.shown());
}

#[test]
fn half_of_the_settings() {
    let place = Place::new();
    let mut command = with_key(&place, "", "sb_secret_hush", &["--json"]);
    let ran = finish(&mut command);
    assert_eq!(ran.code, Some(2), "{}", ran.shown());
    says(
        &ran,
        "store",
        "failure",
        "SUPABASE_URL is not set, but SUPABASE_KEY is",
    );
}

#[test]
fn settings_that_are_set_and_not_used() {
    let place = Place::new();
    let mut command = with_key(
        &place,
        "https://x.supabase.co",
        "sb_secret_hush",
        &["--json", "--quick"],
    );
    let ran = finish(command.env_remove("MESSAGE_BUS_ENABLED")).ok();
    assert_eq!(ran.json()["store"], "embedded");
    says(&ran, "enabled", "warning", "although Supabase is set up");
}

#[test]
fn a_daemon_is_not_examined() {
    let ran = Place::new().run(["doctor", "--url", "http://127.0.0.1:1"]);
    ran.fails(2, "examines a store");
    Place::new()
        .run(["doctor", "--store", "memory"])
        .fails(2, "nothing to examine");
}
