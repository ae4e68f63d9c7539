//! The gateway refuses as the hosted one does, streams, counts, and answers what no server can be made to.

#![allow(clippy::unwrap_used, reason = "tests")]

use bus_testkit::{Answer, Project, Server};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

async fn project() -> Project {
    Project::take(Server::Postrust).await.unwrap()
}

async fn check(project: &Project, headers: &[(&str, String)]) -> (StatusCode, Value) {
    let url = format!("{}/rest/v1/rpc/bus_check", project.url());
    let mut request = Client::new().post(url).json(&json!({"request": "{}"}));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn without_a_key_nothing_passes() {
    let project = project().await;
    let bearer = format!("Bearer {}", project.service_jwt());
    for headers in [vec![], vec![("authorization", bearer)]] {
        let (status, answer) = check(&project, &headers).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer["message"], "No API key found in request");
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let project = project().await;
    let unknown = format!("{}1", project.secret_key());
    // Well formed, but signed by somebody else.
    let jwt = project.service_jwt();
    let foreign = format!("{}.AAAA", jwt.rsplit_once('.').unwrap().0);
    for key in [unknown, "garbage".to_owned(), foreign] {
        let (status, answer) = check(&project, &[("apikey", key)]).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer["message"], "Invalid API key");
    }
}

#[tokio::test]
async fn a_secret_key_is_no_bearer_token() {
    let project = project().await;
    let key = project.secret_key().to_owned();
    let bearer = format!("Bearer {key}");
    let (status, answer) = check(&project, &[("apikey", key), ("authorization", bearer)]).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
}

#[tokio::test]
async fn a_browser_may_not_hold_the_secret_key() {
    let project = project().await;
    let browser = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)".to_owned());
    let secret = ("apikey", project.secret_key().to_owned());
    let (status, answer) = check(&project, &[secret, browser.clone()]).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(answer["message"].as_str().unwrap().contains("browser"));

    let public = ("apikey", project.publishable_key().to_owned());
    let bearer = (
        "authorization",
        format!("Bearer {}", project.user_jwt("ada")),
    );
    assert_eq!(
        check(&project, &[public, bearer, browser]).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_jwt_may_be_the_key_and_says_when_it_has_expired() {
    let project = project().await;
    for jwt in [project.service_jwt(), project.user_jwt("ada")] {
        assert_eq!(check(&project, &[("apikey", jwt)]).await.0, StatusCode::OK);
    }
    let expired = project.jwt("authenticated", Some("ada"), chrono::TimeDelta::minutes(-5));
    let (status, answer) = check(&project, &[("apikey", expired)]).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer["code"], "PGRST303", "{answer}");
}

#[tokio::test]
async fn other_paths_lead_nowhere() {
    let project = project().await;
    let request = Client::new()
        .get(format!("{}/rpc/bus_check", project.url()))
        .header("apikey", project.secret_key());
    assert_eq!(
        request.send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn planned_answers_come_first_and_every_request_is_counted() {
    let project = project().await;
    let busy = Answer::new(429, "too many").header("retry-after", "7");
    project.gateway().answer_next(2, "rpc/bus_check", &busy);
    let key = ("apikey", project.secret_key().to_owned());
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(check(&project, std::slice::from_ref(&key)).await.0.as_u16());
    }
    assert_eq!(seen, [429, 429, 200]);
    assert_eq!(project.gateway().count("bus_check"), 3);
    assert_eq!(project.gateway().counts()["/rest/v1/rpc/bus_check"], 3);
    project.gateway().reset_counts();
    assert_eq!(project.gateway().count(""), 0);
}

#[tokio::test]
async fn raw_bytes_reach_a_function_only_where_that_was_turned_on() {
    let project = project().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    let digest = bus_testkit::sha256_hex(&bytes);
    let send = || {
        Client::new()
            .post(format!("{}/rest/v1/rpc/bus_echo_digest", project.url()))
            .header("apikey", project.publishable_key())
            .bearer_auth(project.user_jwt("ada"))
            .header("content-type", "application/octet-stream")
            .body(bytes.clone())
            .send()
    };
    assert!(
        !send().await.unwrap().status().is_success(),
        "postrust cannot"
    );
    project.gateway().octet_stream(true);
    let answer = send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.json::<String>().await.unwrap(), digest);
}

#[tokio::test]
async fn raw_bytes_are_judged_as_postgrest_would() {
    let project = project().await;
    project.gateway().octet_stream(true);
    let send = |function: &str, key: String| {
        Client::new()
            .post(format!("{}/rest/v1/rpc/{function}", project.url()))
            .header("apikey", key)
            .header("content-type", "application/octet-stream")
            .body(vec![0_u8; 10])
            .send()
    };
    let missing = send("bus_no_such_thing", project.service_jwt())
        .await
        .unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(missing.json::<Value>().await.unwrap()["code"], "PGRST202");
    let anon = send("bus_echo_digest", project.anon_jwt()).await.unwrap();
    assert_eq!(anon.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(anon.json::<Value>().await.unwrap()["code"], "42501");
}

/// A test may block the only thread that it has.
#[tokio::test]
async fn it_answers_while_the_test_blocks() {
    let project = project().await;
    let addr = project.addr();
    let answer = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(answer.join().unwrap().contains("401"));
}
