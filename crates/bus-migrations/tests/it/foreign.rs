//! Tables of somebody else that have our names.

use bus_migrations::{MigrateError, MigrateErrorKind};

use crate::support::{assert_same, catalog, migrate, server, value};

/// As the original program made it.
const ORIGINAL: &str = "
create table public.message_bus (id uuid primary key, transaction_id text, session_id text, status text,
  payload jsonb, expires_at timestamptz);
create index idx_message_bus_session_id on public.message_bus (session_id);
insert into public.message_bus values (gen_random_uuid(), 'txn_1', 's', 'complete', '{\"a\": 1}', now());
";

#[tokio::test]
async fn a_table_that_is_not_ours_is_left_alone_and_named() {
    let postgres = server(15).await;
    postgres.sql("app", ORIGINAL).await.unwrap();
    let error = migrate(&postgres, "app").await.unwrap_err();
    assert_eq!(error.kind(), MigrateErrorKind::Refused);
    assert!(matches!(&error, MigrateError::Foreign { table, .. } if table == "public.message_bus"));

    // What the message says, as it stands.
    let text = error.to_string();
    let (_, advice) = text.split_once("indexes: ").unwrap();
    let (advice, _) = advice.split_once(". Nothing").unwrap();
    postgres.sql("app", advice).await.unwrap();
    migrate(&postgres, "app").await.unwrap();
    postgres.create_database("fresh").await.unwrap();
    migrate(&postgres, "fresh").await.unwrap();
    assert_same(
        &catalog(&postgres, "fresh").await,
        &catalog(&postgres, "app").await,
    );
    let kept = value(
        &postgres,
        "app",
        "select transaction_id from old.message_bus",
    )
    .await;
    assert_eq!(kept.as_deref(), Some("txn_1"));
}

#[tokio::test]
async fn other_tables_of_a_project_do_not_matter() {
    let postgres = server(15).await;
    postgres.sql("app", "create table public.profiles (id int); create schema mine; create table mine.audit_log (x int)").await.unwrap();
    migrate(&postgres, "app").await.unwrap();
}
