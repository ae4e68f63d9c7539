//! From nothing, from every earlier step, twice, and two at once.

use bus_migrations::{Database, Migrator, Progress, StepState, steps};
use rstest::rstest;

use crate::support::{
    assert_same, catalog, files, first, migrate, migrate_with, server, url, value,
};

#[rstest]
#[tokio::test]
async fn from_nothing_and_a_second_time(#[values(15, 16, 17)] version: u32) {
    let postgres = server(version).await;
    let report = migrate(&postgres, "app").await.unwrap();
    assert_eq!(report.applied, files());
    let made = catalog(&postgres, "app").await;

    let again = migrate(&postgres, "app").await.unwrap();
    assert_eq!((again.applied.len(), again.already_there), (0, files()));
    assert_same(&made, &catalog(&postgres, "app").await);
    let check = value(
        &postgres,
        "app",
        "select public.bus_check()::json ->> 'outcome'",
    )
    .await;
    assert_eq!(check.as_deref(), Some("ok"));
}

#[rstest]
#[tokio::test]
async fn every_step_may_run_twice(#[values(15, 16, 17)] version: u32) {
    let postgres = server(version).await;
    migrate(&postgres, "app").await.unwrap();
    let made = catalog(&postgres, "app").await;
    // As somebody would who feeds the files to psql again.
    for step in steps() {
        postgres.sql("app", step.sql()).await.unwrap();
    }
    assert_same(&made, &catalog(&postgres, "app").await);
}

#[rstest]
#[tokio::test]
async fn from_every_earlier_step(#[values(15, 16, 17)] version: u32) {
    let postgres = server(version).await;
    migrate(&postgres, "app").await.unwrap();
    let whole = catalog(&postgres, "app").await;
    for done in 1..steps().len() {
        let database = format!("after_{done}");
        postgres.create_database(&database).await.unwrap();
        migrate_with(&postgres.url(&database), &first(done))
            .await
            .unwrap();
        let report = migrate(&postgres, &database).await.unwrap();
        assert_eq!(report.already_there, files()[..done]);
        assert_eq!(report.applied, files()[done..]);
        assert_same(&whole, &catalog(&postgres, &database).await);
    }
}

/// Messages of an earlier schema are still there, and still whole, after it.
#[tokio::test]
async fn what_was_stored_before_a_step_is_there_after_it() {
    let postgres = server(15).await;
    migrate_with(&postgres.url("app"), &first(2)).await.unwrap();
    postgres
        .sql(
            "app",
            "insert into public.message_bus (transaction_id, session_id, tool_name, provider_name, compression_type,
               status, expires_at, lease_expires_at, principal, content_type, format_version, chunk_size_bytes,
               upload_token, lease_ms, ttl_ms)
             values ('t1', 's', 't', 'p', 'none', 'pending', now() + '1 day', now() + '1 day', 'default', 'x/y', 1, 10,
               gen_random_uuid(), 1000, 1000);
             insert into public.message_bus_chunks (message_id, seq, stored_bytes, sha256, body)
               select id, 0, 3, encode(sha256('abc'), 'hex'), 'abc' from public.message_bus",
        )
        .await
        .unwrap();
    let before = "select md5(string_agg(m::text || c::text, ',')) from message_bus m join message_bus_chunks c on c.message_id = m.id";
    let stored = value(&postgres, "app", before).await;
    migrate(&postgres, "app").await.unwrap();
    assert!(stored.is_some());
    assert_eq!(value(&postgres, "app", before).await, stored);
}

#[tokio::test]
async fn two_runners_at_once_apply_each_step_once() {
    let postgres = server(15).await;
    let address = postgres.url("app");
    let migrator = Migrator::default();
    let run = || migrate_with(&address, &migrator);
    let (one, two, three) = tokio::join!(run(), run(), run());
    let mut applied = Vec::new();
    for report in [one.unwrap(), two.unwrap(), three.unwrap()] {
        assert_eq!(
            report.applied.len() + report.already_there.len(),
            steps().len()
        );
        applied.extend(report.applied);
    }
    applied.sort();
    assert_eq!(applied, files());
    assert_eq!(migrate(&postgres, "app").await.unwrap().applied.len(), 0);
}

#[tokio::test]
async fn a_plan_changes_nothing() {
    let postgres = server(15).await;
    let database = Database::connect(&url(&postgres.url("app"))).await.unwrap();
    let migrator = Migrator::default();
    let plan = migrator.plan(&database).await.unwrap();
    assert!(
        plan.steps
            .iter()
            .all(|(_, state)| *state == StepState::ToApply)
    );
    let schemas = "select string_agg(nspname, ',' order by nspname) from pg_namespace where nspname !~ '^pg_'";
    assert_eq!(
        value(&postgres, "app", schemas).await.unwrap(),
        "information_schema,public"
    );
}

#[tokio::test]
async fn a_failing_step_leaves_nothing_and_names_its_line() {
    let postgres = server(15).await;
    let mut all = steps()[..1].to_vec();
    let sql = "-- bus: broken\ncreate table public.half (x int);\n\nselect no_such_function();\n";
    all.push(bus_migrations::Step::new("20990101000000", "broken", sql));
    let error = migrate_with(&postgres.url("app"), &Migrator::new(all))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("20990101000000_broken.sql failed at line 4"),
        "{text}"
    );
    let half = value(&postgres, "app", "select to_regclass('public.half')").await;
    let rows = value(
        &postgres,
        "app",
        "select count(*) from supabase_migrations.schema_migrations",
    )
    .await;
    assert_eq!((half, rows.as_deref()), (None, Some("1")));
}

#[tokio::test]
async fn progress_is_told_step_by_step() {
    let postgres = server(15).await;
    let mut database = Database::connect(&url(&postgres.url("app"))).await.unwrap();
    let mut told = Vec::new();
    let tell = |progress: Progress<'_>| {
        if let Progress::Applied(step, _) = progress {
            told.push(step.file_name());
        }
    };
    Migrator::default().run(&mut database, tell).await.unwrap();
    assert_eq!(told, files());
}
