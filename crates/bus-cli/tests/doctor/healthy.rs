//! A project where all is well.

use bus_testkit::{Postgres, Project, Server};
use rstest::rstest;

use crate::{doctor, line, run, says, support::Place, with_key};

#[rstest]
#[case(Server::Lite)]
#[case(Server::Postrust)]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_fails_and_nothing_stays_behind(#[case] server: Server) {
    let project = Project::take(server).await.unwrap();
    let ran = run(doctor(&Place::new(), &project, &["--json"])).await.ok();
    let report = ran.json();
    assert_eq!(report["store"], "supabase");
    assert_eq!(report["exit_code"], 0);
    assert_eq!(
        (&report["counts"]["failure"], &report["counts"]["skipped"]),
        (&0.into(), &0.into()),
        "{report:#}"
    );
    for name in [
        "enabled",
        "settings",
        "url",
        "key",
        "reachable",
        "latency",
        "clock",
        "schema version",
        "schema",
        "rights",
        "round trip 1 B",
        "round trip 1 MiB",
        "round trip 16 MiB",
        "messages",
        "leftovers",
        "tools",
        "space",
    ] {
        assert_eq!(line(&ran, name)["status"], "ok", "{report:#}");
    }
    // A database of the testkit has no pg_cron of its own.
    says(&ran, "purge job", "warning", "bus migrate");
    says(&ran, "round trip 16 MiB", "ok", "identical");
    let left = project.connect().await.unwrap();
    let row = left
        .query_one("select count(*) from message_bus", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 0, "what it wrote is removed");
    assert!(!ran.shown().contains(project.secret_key()));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_counts_what_is_there_and_who_published() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let place = Place::new();
    for n in 0..3 {
        let id = format!("m{n}");
        put(&project, &id, "analyse", "1 hour").await;
    }
    put(&project, "old", "embed", "-5 hours").await;
    let ran = run(doctor(&place, &project, &["--json", "--quick"]))
        .await
        .ok();
    says(
        &ran,
        "messages",
        "ok",
        "3 complete, 0 pending, 0 given up, 1 expired",
    );
    says(
        &ran,
        "leftovers",
        "warning",
        "1 messages have expired, the first 5 h ago",
    );
    says(&ran, "tools", "ok", "analyse: 3 messages");
}

/// A complete message, as the functions leave it.
async fn put(project: &Project, id: &str, tool: &str, expires: &str) {
    let digest = "a".repeat(64);
    let statement = format!(
        "insert into message_bus (transaction_id, session_id, tool_name, provider_name, payload, payload_size_bytes,
           compression_type, compressed_size_bytes, checksum, status, expires_at, principal, content_type,
           format_version, chunk_count, chunk_size_bytes, encoded_sha256, manifest, manifest_sha256, upload_token,
           lease_ms, ttl_ms)
         values ('{id}', 's', '{tool}', 'p', 'x', 1, 'none', 1, '{digest}', 'complete', now() + interval '{expires}',
           'default', 'text/plain', 1, 1, 1024, '{digest}', 'x', '{digest}', gen_random_uuid(), 1, 1)"
    );
    project.sql(&statement).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_what_is_the_users() {
    let project = Project::take(Server::Postrust).await.unwrap();
    put(&project, "of-somebody-else", "analyse", "1 hour").await;
    let token = project.user_jwt("ada");
    let ran = run(with_key(&Place::new(), project.url(), &token, &["--json"]))
        .await
        .ok();
    says(&ran, "key", "ok", "principal ada");
    says(&ran, "reachable", "ok", "act for ada");
    says(&ran, "schema", "skipped", "secret key");
    says(&ran, "round trip 16 MiB", "ok", "identical");
    says(&ran, "messages", "ok", "0 complete");
    says(&ran, "tools", "ok", "none published");
    assert!(!ran.shown().contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_token_beside_the_publishable_key() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let token = project.user_jwt("ada");
    let place = Place::new();
    let mut command = with_key(
        &place,
        project.url(),
        project.publishable_key(),
        &["--json"],
    );
    command.env("BUS_SUPABASE_TOKEN", &token);
    let ran = run(command).await.ok();
    says(&ran, "key", "ok", "key of anon");
    says(&ran, "token", "ok", "principal ada");
    says(&ran, "reachable", "ok", "act for ada");
    says(&ran, "round trip 1 MiB", "ok", "identical");
    assert!(!ran.shown().contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn named_by_the_flag_it_is_examined_although_it_is_not_enabled() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let place = Place::new();
    let mut command = doctor(
        &place,
        &project,
        &["--json", "--quick", "--store", "supabase"],
    );
    command.env_remove("MESSAGE_BUS_ENABLED");
    let ran = run(command).await.ok();
    says(
        &ran,
        "enabled",
        "ok",
        "the store is Supabase, as --store says",
    );
    assert_eq!(ran.json()["store"], "supabase");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_text_each_line_is_aligned_and_ends_with_a_count() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let ran = run(doctor(&Place::new(), &project, &["--quick"]))
        .await
        .ok();
    let text = ran.text();
    let rows: Vec<&str> = text.lines().collect();
    let enabled = "ok      enabled           MESSAGE_BUS_ENABLED=true; the store is Supabase";
    assert_eq!(rows[0], enabled);
    assert!(
        text.contains("skipped round trip 16 MiB not checked: --quick leaves it out\n"),
        "{text}"
    );
    assert!(
        rows.last()
            .unwrap()
            .ends_with("1 warnings, 0 failures, 4 not checked"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "no colours in a pipe: {text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_purge_job_is_followed_from_its_schedule_to_its_last_run() {
    let postgres = Postgres::options()
        .setting("shared_preload_libraries", "pg_cron")
        .setting("cron.database_name", "project")
        .start()
        .await
        .unwrap();
    let project = Project::on(Server::Postrust, postgres).await.unwrap();
    let purge = async |status: &str, part: &str| {
        let ran = run(doctor(&Place::new(), &project, &["--json", "--quick"])).await;
        says(&ran, "purge job", status, part);
        ran.code
    };
    purge("warning", "pg_cron is not installed in this database").await;
    project
        .sql("select bus_internal.schedule_purge()")
        .await
        .unwrap();
    purge(
        "ok",
        "bus-purge is scheduled (*/5 * * * *) and has not run yet",
    )
    .await;
    let ran = |status: &str, ago: &str| {
        format!(
            "insert into cron.job_run_details (jobid, runid, status, return_message, start_time)
             select jobid, nextval('cron.runid_seq'), '{status}', 'out of luck', now() - interval '{ago}'
             from cron.job where jobname = 'bus-purge'"
        )
    };
    project.sql(&ran("succeeded", "5 hours")).await.unwrap();
    purge("warning", "ran last 5 h ago").await;
    project.sql(&ran("succeeded", "30 minutes")).await.unwrap();
    purge("ok", "ran last 30 min ago").await;
    project.sql(&ran("failed", "5 minutes")).await.unwrap();
    assert_eq!(purge("failure", "out of luck").await, Some(1));
    project
        .sql("update cron.job set active = false")
        .await
        .unwrap();
    purge("warning", "switched off").await;
}
