//! A project is what a hosted one is to its user: keys, roles, a database of its own, and nothing left from before.

#![allow(clippy::unwrap_used, reason = "tests")]

use bus_testkit::{Project, Server};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

/// `bus_NAME` with `request`, as a JSON text.
fn rpc(project: &Project, name: &str, request: &Value) -> RequestBuilder {
    let url = format!("{}/rest/v1/rpc/bus_{name}", project.url());
    Client::new()
        .post(url)
        .json(&json!({ "request": request.to_string() }))
}

/// The object inside the text that our functions answer with.
async fn outcome(response: Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&response.json::<String>().await.unwrap()).unwrap()
}

async fn begin(project: &Project, transaction_id: &str) -> Value {
    let request = json!({
        "transaction_id": transaction_id, "session_id": "s", "tool_name": "t", "provider_name": "p",
        "content_type": "text/plain", "priority": "normal", "metadata": {}, "format_version": 1,
        "compression_type": "none", "chunk_size_bytes": 1024, "lease_ms": 60000, "ttl_ms": 60000,
        "upload_token": "00000000-0000-4000-8000-000000000001",
    });
    let request = rpc(project, "begin", &request).header("apikey", project.secret_key());
    outcome(request.send().await.unwrap()).await
}

async fn stats(project: &Project) -> Value {
    let request = rpc(project, "stats", &json!({})).header("apikey", project.secret_key());
    outcome(request.send().await.unwrap()).await
}

#[rstest]
#[tokio::test]
async fn the_secret_key_is_the_service_role(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    let project = Project::take(server).await.unwrap();
    for request in [
        rpc(&project, "check", &json!({})).header("apikey", project.secret_key()),
        rpc(&project, "check", &json!({}))
            .header("apikey", project.publishable_key())
            .bearer_auth(project.service_jwt()),
    ] {
        let answer = outcome(request.send().await.unwrap()).await;
        assert_eq!(answer["outcome"], "ok");
        assert_eq!(answer["principal"], Value::Null, "acts for everybody");
    }
}

#[rstest]
#[tokio::test]
async fn a_users_token_decides_who_it_is(#[values(Server::Lite, Server::Postrust)] server: Server) {
    let project = Project::take(server).await.unwrap();
    let request = rpc(&project, "check", &json!({}))
        .header("apikey", project.publishable_key())
        .bearer_auth(project.user_jwt("ada"));
    let answer = outcome(request.send().await.unwrap()).await;
    assert_eq!(answer["principal"], "ada");
}

#[rstest]
#[tokio::test]
async fn anon_is_denied_functions_and_tables(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    let project = Project::take(server).await.unwrap();
    let table = format!("{}/rest/v1/message_bus", project.url());
    for request in [rpc(&project, "check", &json!({})), Client::new().get(table)] {
        let request = request.header("apikey", project.publishable_key());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["code"], "42501", "{answer}");
    }
}

/// Lite grants everything to everybody on its first request; the kit takes it back.
#[rstest]
#[tokio::test]
async fn nothing_is_granted_but_by_the_migrations(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    let project = Project::take(server).await.unwrap();
    // One more request, in case that the first was not the last to grant.
    stats(&project).await;
    let client = project.connect().await.unwrap();
    let granted = client
        .query(
            "select grantee::text, table_name::text, privilege_type::text
             from information_schema.role_table_grants
             where table_schema = 'public' and grantee in ('anon', 'PUBLIC')
             union all
             select 'writes', table_name::text, privilege_type::text
             from information_schema.role_table_grants
             where table_schema = 'public' and grantee = 'authenticated' and privilege_type <> 'SELECT'
             union all
             select 'calls', p.oid::regprocedure::text, 'EXECUTE'
             from pg_proc p where pronamespace = 'public'::regnamespace
               and has_function_privilege('anon', p.oid, 'execute')",
            &[],
        )
        .await
        .unwrap();
    let granted: Vec<(String, String, String)> = granted
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    assert_eq!(granted, []);
}

#[rstest]
#[tokio::test]
async fn a_taken_project_is_empty_each_time(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    for _ in 0..2 {
        let project = Project::take(server).await.unwrap();
        assert_eq!(stats(&project).await["pending"], 0);
        assert_eq!(begin(&project, "txn_left_behind").await["outcome"], "new");
        assert_eq!(stats(&project).await["pending"], 1);
    }
}

#[tokio::test]
async fn two_projects_at_once_are_two_databases() {
    let first = Project::take(Server::Postrust).await.unwrap();
    let second = Project::take(Server::Postrust).await.unwrap();
    assert_ne!(first.database(), second.database());
    begin(&first, "txn_of_the_first").await;
    assert_eq!(stats(&second).await["pending"], 0);
}

#[rstest]
#[tokio::test]
async fn an_own_project_may_be_broken_and_leaves_nothing(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    let project = Project::own(server).await.unwrap();
    project
        .sql("drop function public.bus_stats(text); notify pgrst, 'reload schema'")
        .await
        .unwrap();
    let request = rpc(&project, "stats", &json!({})).header("apikey", project.secret_key());
    assert_eq!(
        request.send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );

    let name = project.database().to_owned();
    drop(project);
    let other = Project::take(Server::Postrust).await.unwrap();
    let client = other.connect().await.unwrap();
    let left = client
        .query("select from pg_database where datname = $1", &[&name])
        .await
        .unwrap();
    assert!(left.is_empty(), "{name} is still there");
}

#[rstest]
#[tokio::test]
async fn a_server_of_our_own_starts_again(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    let mut project = Project::own(server).await.unwrap();
    begin(&project, "txn_before").await;
    project.stop_server().await.unwrap();
    let request = rpc(&project, "stats", &json!({})).header("apikey", project.secret_key());
    assert_eq!(
        request.send().await.unwrap().status(),
        StatusCode::BAD_GATEWAY
    );
    project.restart_server().await.unwrap();
    assert_eq!(stats(&project).await["pending"], 1);
}

#[rstest]
#[tokio::test]
async fn a_killed_postgres_comes_back_with_what_it_had(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    let project = Project::own_postgres(server).await.unwrap();
    begin(&project, "txn_before").await;
    project.postgres().kill9().await.unwrap();
    let request = rpc(&project, "stats", &json!({})).header("apikey", project.secret_key());
    assert!(request.send().await.unwrap().status().is_server_error());
    project.postgres().start().await.unwrap();
    // Its server may have to notice first that its connections are gone.
    let request = rpc(&project, "stats", &json!({})).header("apikey", project.secret_key());
    for attempt in 0.. {
        let answer = request.try_clone().unwrap().send().await.unwrap();
        if answer.status() == StatusCode::OK {
            assert_eq!(outcome(answer).await["pending"], 1);
            break;
        }
        assert!(attempt < 50, "the server never comes back: {answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_is_shared_cannot_be_stopped() {
    let mut project = Project::take(Server::Postrust).await.unwrap();
    assert!(
        project
            .postgres()
            .kill9()
            .await
            .unwrap_err()
            .to_string()
            .contains("shared")
    );
    assert!(
        project
            .restart_server()
            .await
            .unwrap_err()
            .to_string()
            .contains("shared")
    );
}
