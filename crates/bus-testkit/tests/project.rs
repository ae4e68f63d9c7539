//! A project is what a hosted one is to its user: keys, roles, a database of its own, and nothing left from before.

#![allow(clippy::unwrap_used, reason = "tests")]

use anyhow::Result;
use bus_testkit::{Project, Server};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

async fn check(project: &Project, headers: &[(&str, &str)]) -> Result<Response> {
    let url = format!("{}/rest/v1/rpc/bus_check", project.url());
    let mut request = Client::new()
        .post(url)
        .json(&serde_json::json!({"request": "{}"}));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.send().await?)
}

async fn keys_and_roles(server: Server) {
    let project = Project::take(server).await.unwrap();
    let secret = check(&project, &[("apikey", project.secret_key())])
        .await
        .unwrap();
    assert_eq!(secret.status(), StatusCode::OK);
    let answer: Value = serde_json::from_str(&secret.json::<String>().await.unwrap()).unwrap();
    assert_eq!(answer["outcome"], "ok");
    assert_eq!(answer["principal"], Value::Null);

    let user = format!("Bearer {}", project.user_jwt("ada"));
    let headers = [
        ("apikey", project.publishable_key()),
        ("authorization", &user),
    ];
    let user = check(&project, &headers).await.unwrap();
    let answer: Value = serde_json::from_str(&user.json::<String>().await.unwrap()).unwrap();
    assert_eq!(answer["principal"], "ada");

    let anon = check(&project, &[("apikey", project.publishable_key())])
        .await
        .unwrap();
    assert_eq!(anon.status(), StatusCode::UNAUTHORIZED);
    let answer: Value = anon.json().await.unwrap();
    assert_eq!(answer["code"], "42501", "{answer}");
}

#[tokio::test]
async fn postrust_knows_the_keys_and_their_roles() {
    keys_and_roles(Server::Postrust).await;
}

#[tokio::test]
async fn lite_knows_the_keys_and_their_roles() {
    keys_and_roles(Server::Lite).await;
}
