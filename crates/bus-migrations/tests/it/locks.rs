//! Tables in use, and another runner at work.

use std::time::Duration;

use bus_migrations::{Database, MigrateError, MigrateErrorKind, Migrator, Progress, steps};

use crate::support::{first, migrate, migrate_with, server, url, value};

#[tokio::test]
async fn a_table_that_stays_in_use_is_given_up_with_the_name_of_who_uses_it() {
    let postgres = server(15).await;
    migrate_with(&postgres.url("app"), &first(2)).await.unwrap();
    let holder = postgres.connect("app").await.unwrap();
    holder
        .batch_execute("set application_name = 'a backup'; begin; select from public.message_bus")
        .await
        .unwrap();
    let impatient = Migrator::default().patience(Duration::from_millis(900));
    let error = migrate_with(&postgres.url("app"), &impatient)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), MigrateErrorKind::TryAgain);
    let text = error.to_string();
    assert!(text.contains("(a backup, idle in transaction"), "{text}");
    holder.batch_execute("rollback").await.unwrap();
    migrate(&postgres, "app").await.unwrap();
}

#[tokio::test]
async fn a_step_waits_for_who_uses_a_table_and_then_goes_on() {
    let postgres = server(15).await;
    migrate_with(&postgres.url("app"), &first(2)).await.unwrap();
    let holder = postgres.connect("app").await.unwrap();
    holder
        .batch_execute("begin; select from public.message_bus")
        .await
        .unwrap();
    let mut database = Database::connect(&url(&postgres.url("app"))).await.unwrap();
    let (waits, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let migrator = Migrator::default();
    let run = migrator.run(&mut database, |progress| {
        if let Progress::Waiting(step) = progress {
            waits.send(step.file_name()).unwrap();
        }
    });
    let let_go = async {
        assert_eq!(waiting.recv().await.unwrap(), steps()[2].file_name());
        holder.batch_execute("commit").await.unwrap();
    };
    let (report, ()) = tokio::join!(run, let_go);
    assert_eq!(report.unwrap().applied.len(), steps().len() - 2);
}

/// Whoever reads or writes while a step waits is held up for half a second at most.
#[tokio::test]
async fn readers_pass_between_two_tries() {
    let postgres = server(15).await;
    migrate_with(&postgres.url("app"), &first(2)).await.unwrap();
    let holder = postgres.connect("app").await.unwrap();
    holder
        .batch_execute("begin; select from public.message_bus")
        .await
        .unwrap();
    let address = postgres.url("app");
    let impatient = Migrator::default().patience(Duration::from_secs(2));
    let run = migrate_with(&address, &impatient);
    let read = async {
        let reader = postgres.connect("app").await.unwrap();
        for _ in 0..20 {
            reader
                .batch_execute("set statement_timeout = '5s'; select from public.message_bus")
                .await
                .unwrap();
        }
    };
    let (ended, ()) = tokio::join!(run, read);
    assert!(matches!(ended, Err(MigrateError::Locked { .. })));
}

#[tokio::test]
async fn another_runner_that_does_not_end_is_reported() {
    let postgres = server(15).await;
    let other = postgres.connect("app").await.unwrap();
    other
        .batch_execute("begin; select pg_advisory_xact_lock(x'6275736d69677261'::bigint)")
        .await
        .unwrap();
    let impatient = Migrator::default().patience(Duration::from_millis(300));
    let error = migrate_with(&postgres.url("app"), &impatient)
        .await
        .unwrap_err();
    assert!(matches!(error, MigrateError::Busy { .. }), "{error}");
    assert_eq!(error.kind(), MigrateErrorKind::TryAgain);
    assert_eq!(
        value(&postgres, "app", "select to_regclass('public.message_bus')").await,
        None
    );
}

#[tokio::test]
async fn a_server_that_dies_leaves_whole_steps() {
    let postgres = server(15).await;
    let mut database = Database::connect(&url(&postgres.url("app"))).await.unwrap();
    let migrator = first(2);
    migrator.run(&mut database, |_| {}).await.unwrap();
    let holder = postgres.connect("app").await.unwrap();
    holder
        .batch_execute("begin; select from public.message_bus")
        .await
        .unwrap();
    let (waits, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let all = Migrator::default();
    let run = all.run(&mut database, |progress| {
        if matches!(progress, Progress::Waiting(_)) {
            let _ = waits.send(());
        }
    });
    let kill = async {
        waiting.recv().await.unwrap();
        postgres.kill9().await.unwrap();
    };
    let (ended, ()) = tokio::join!(run, kill);
    let error = ended.unwrap_err();
    assert!(matches!(error, MigrateError::Lost { .. }), "{error}");
    postgres.start().await.unwrap();
    let report = migrate(&postgres, "app").await.unwrap();
    assert_eq!(
        (report.already_there.len(), report.applied.len()),
        (2, steps().len() - 2)
    );
}
