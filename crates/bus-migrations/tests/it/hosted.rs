//! As on hosted Supabase: no superuser, roles that are there already, rights that are given by default.

use bus_migrations::{MigrateError, MigrateErrorKind};
use bus_testkit::{HOSTED_RIGHTS, HOSTED_ROLES, Postgres};
use rstest::rstest;

use crate::support::{assert_same, catalog, files, migrate, migrate_with, server, value};

/// Like the `postgres` of a hosted project: it owns the database and may much, but is no superuser.
const OWNER: &str = "
create role project login createdb createrole bypassrls replication;
grant anon, authenticated, service_role to project;
create database hosted owner project;
";

async fn hosted(version: u32) -> (Postgres, String) {
    let postgres = server(version).await;
    postgres.sql("postgres", HOSTED_ROLES).await.unwrap();
    for statement in OWNER
        .split_inclusive(';')
        .filter(|text| !text.trim().is_empty())
    {
        postgres.sql("postgres", statement).await.unwrap();
    }
    postgres.sql("hosted", HOSTED_RIGHTS).await.unwrap();
    let address = postgres.url("hosted").replace("//postgres@", "//project@");
    let rights = HOSTED_RIGHTS.replace(
        "alter default privileges",
        "alter default privileges for role project",
    );
    postgres.sql("hosted", &rights).await.unwrap();
    (postgres, address)
}

#[rstest]
#[tokio::test]
async fn the_owner_of_a_project_can_migrate_it(#[values(15, 16, 17)] version: u32) {
    let (postgres, address) = hosted(version).await;
    let report = migrate_with(&address, &Default::default()).await.unwrap();
    assert_eq!(report.applied, files());
    assert!(
        report
            .warnings
            .iter()
            .all(|warning| warning.contains("pg_cron")),
        "{:?}",
        report.warnings
    );
    // Whatever the project grants by default, the schema ends up the same as on a server that grants nothing.
    migrate(&postgres, "app").await.unwrap();
    assert_same(
        &catalog(&postgres, "app").await,
        &catalog(&postgres, "hosted").await,
    );
}

#[tokio::test]
async fn nothing_of_ours_is_open_to_anon() {
    let (postgres, address) = hosted(15).await;
    migrate_with(&address, &Default::default()).await.unwrap();
    let open = "select string_agg(thing, ', ') from (
        select oid::regclass::text as thing from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
          and has_table_privilege('anon', oid, 'select, insert, update, delete, truncate, references, trigger')
        union all
        select oid::regprocedure::text from pg_proc where pronamespace in ('public'::regnamespace, 'bus_internal'::regnamespace)
          and has_function_privilege('anon', oid, 'execute')) t";
    assert_eq!(value(&postgres, "hosted", open).await, None);
}

#[rstest]
#[tokio::test]
async fn who_may_not_make_the_roles_is_told_what_to_run(#[values(15, 16, 17)] version: u32) {
    let postgres = server(version).await;
    postgres
        .sql(
            "postgres",
            "create role plain login; alter database app owner to plain",
        )
        .await
        .unwrap();
    let address = postgres.url("app").replace("//postgres@", "//plain@");
    let error = migrate_with(&address, &Default::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), MigrateErrorKind::NotAuthorised);
    let text = error.to_string();
    let (_, advice) = text
        .split_once("superuser: ")
        .unwrap_or_else(|| panic!("{text}"));
    postgres.sql("postgres", advice).await.unwrap();
    migrate_with(&address, &Default::default()).await.unwrap();
}

#[tokio::test]
async fn a_role_that_may_make_roles_is_told_of_bypassrls() {
    let postgres = server(15).await;
    postgres
        .sql(
            "postgres",
            "create role maker login createrole; alter database app owner to maker",
        )
        .await
        .unwrap();
    let address = postgres.url("app").replace("//postgres@", "//maker@");
    let error = migrate_with(&address, &Default::default())
        .await
        .unwrap_err();
    assert!(matches!(error, MigrateError::Roles { .. }), "{error}");
}

#[tokio::test]
async fn a_guest_of_the_database_is_told_to_be_its_owner() {
    let postgres = server(15).await;
    postgres.sql("postgres", HOSTED_ROLES).await.unwrap();
    postgres
        .sql("postgres", "create role guest login")
        .await
        .unwrap();
    let address = postgres.url("app").replace("//postgres@", "//guest@");
    let error = migrate_with(&address, &Default::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), MigrateErrorKind::NotAuthorised);
    assert!(
        error.to_string().contains("owner of the database"),
        "{error}"
    );
}
