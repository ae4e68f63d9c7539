//! `bus migrate`, on a real PostgreSQL.

use std::fs;

use bus_testkit::{Postgres, free_port};
use rstest::rstest;
use serde_json::Value;

use crate::support::{Place, Ran, finish};

async fn server() -> Postgres {
    let postgres = Postgres::version(15).await.unwrap();
    postgres.create_database("app").await.unwrap();
    postgres
}

fn migrate(place: &Place, postgres: &Postgres, flags: &[&str]) -> Ran {
    let mut command = place.bus(["migrate"]);
    finish(
        command
            .args(flags)
            .env("SUPABASE_DB_URL", postgres.url("app")),
    )
}

async fn schemas(postgres: &Postgres) -> i64 {
    let client = postgres.connect("app").await.unwrap();
    let ours = "select count(*) from pg_namespace where nspname in ('bus_internal', 'supabase_migrations')";
    client.query_one(ours, &[]).await.unwrap().get(0)
}

fn states(report: &Value) -> Vec<&str> {
    let steps = report["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| step["state"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn each_step_is_told_and_the_second_time_nothing_is_left() {
    let (place, postgres) = (Place::new(), server().await);
    let first = migrate(&place, &postgres, &[]).ok();
    let steps = first.text().lines().count();
    assert!(
        first
            .text()
            .lines()
            .all(|line| line.starts_with("applied        2026")),
        "{}",
        first.shown()
    );
    assert!(
        first
            .stderr
            .contains(&format!("{steps} applied, 0 already there")),
        "{}",
        first.shown()
    );
    // This server has no pg_cron that works, which somebody should know.
    assert!(
        first.stderr.contains("warning: no purge job"),
        "{}",
        first.shown()
    );

    let second = migrate(&place, &postgres, &[]).ok();
    assert!(
        second
            .text()
            .lines()
            .all(|line| line.starts_with("already there  2026")),
        "{}",
        second.shown()
    );
    assert_eq!(second.text().lines().count(), steps);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_shows_the_sql() {
    let (place, postgres) = (Place::new(), server().await);
    let preview = migrate(&place, &postgres, &["--dry-run"]).ok();
    let text = preview.text();
    assert!(
        text.contains("-- would apply: 20261122070000_message_bus.sql\n"),
        "{}",
        preview.shown()
    );
    assert!(
        text.contains("create table if not exists public.message_bus"),
        "{}",
        preview.shown()
    );
    assert!(
        preview.stderr.contains("nothing was changed"),
        "{}",
        preview.shown()
    );
    assert_eq!(schemas(&postgres).await, 0);
    // It is SQL, as it stands.
    postgres.sql("app", &text).await.unwrap();
    assert_eq!(schemas(&postgres).await, 1);
}

#[tokio::test]
async fn json_is_one_document() {
    let (place, postgres) = (Place::new(), server().await);
    let preview = migrate(&place, &postgres, &["--dry-run", "--json"])
        .ok()
        .json();
    assert_eq!(preview["dry_run"], true);
    assert!(
        states(&preview).iter().all(|state| *state == "to_apply"),
        "{preview}"
    );
    assert!(
        preview["steps"][0]["sql"]
            .as_str()
            .unwrap()
            .starts_with("-- bus: ")
    );

    let ran = migrate(&place, &postgres, &["--json"]).ok();
    let report = ran.json();
    assert!(
        states(&report).iter().all(|state| *state == "applied"),
        "{report}"
    );
    assert!(
        report["warnings"][0]
            .as_str()
            .unwrap()
            .contains("no purge job"),
        "{report}"
    );
    assert_eq!(ran.stderr, "");
    let again = migrate(&place, &postgres, &["--json", "--dry-run"])
        .ok()
        .json();
    assert!(
        states(&again).iter().all(|state| *state == "already_there"),
        "{again}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_not_authorised_and_never_shown() {
    let (place, postgres) = (Place::new(), server().await);
    let rights = "create role keeper login password 'right';
        copy (select 'host all all all scram-sha-256') to program 'cat > pg_hba.conf'; select pg_reload_conf()";
    postgres.sql("postgres", rights).await.unwrap();
    let url = postgres
        .url("app")
        .replace("//postgres@", "//keeper:s3cr3t@");
    for flags in [
        &["migrate"][..],
        &["migrate", "--json"],
        &["migrate", "-vv", "--dry-run"],
    ] {
        let ran = finish(place.bus(flags).env("SUPABASE_DB_URL", &url))
            .fails(4, "does not let the user keeper in");
        assert!(!ran.shown().contains("s3cr3t"), "{}", ran.shown());
    }
    let mut by_flag = place.bus(["migrate", "--database-url", &url]);
    let ran = finish(&mut by_flag).fails(4, "password");
    assert!(!ran.shown().contains("s3cr3t"), "{}", ran.shown());
}

#[test]
fn nobody_there_is_to_be_tried_again() {
    let place = Place::new();
    let url = format!(
        "postgresql://postgres:s3cr3t@127.0.0.1:{}/app",
        free_port().unwrap()
    );
    let ran =
        finish(place.bus(["migrate"]).env("SUPABASE_DB_URL", url)).fails(5, "cannot be reached");
    assert!(!ran.shown().contains("s3cr3t"), "{}", ran.shown());
}

#[rstest]
#[case(&["migrate"], "SUPABASE_DB_URL")]
#[case(&["migrate", "--database-url", "postgres://u:s3cr3t@x@h/app"], "%40")]
#[case(&["migrate", "--database-url", "mysql://u:s3cr3t@h/app"], "postgresql://")]
#[case(&["migrate", "--store", "memory"], "--store")]
#[case(&["migrate", "--url", "http://127.0.0.1:1"], "--url")]
#[case(&["migrate", "--write", "--dry-run"], "--dry-run")]
fn what_cannot_be_is_a_usage_error(#[case] args: &[&str], #[case] word: &str) {
    let ran = Place::new().run(args).fails(2, word);
    assert!(!ran.shown().contains("s3cr3t"), "{}", ran.shown());
}

#[test]
fn a_file_of_settings_names_the_database() {
    let place = Place::new();
    let port = free_port().unwrap();
    place.file(
        ".env",
        format!("SUPABASE_DB_URL=postgresql://postgres@127.0.0.1:{port}/app\n"),
    );
    place
        .run(["migrate"])
        .fails(5, &format!("127.0.0.1:{port}/app cannot be reached"));
}

#[test]
fn the_files_are_written_for_the_supabase_cli() {
    let place = Place::new();
    let written = place.run(["migrate", "--write"]).ok();
    assert!(
        written
            .text()
            .contains("supabase/migrations/20261122070000_message_bus.sql"),
        "{}",
        written.shown()
    );
    let file = "supabase/migrations/20261122070000_message_bus.sql";
    assert!(place.read(file).starts_with(b"-- bus: "));
    place.run(["migrate", "--write"]).ok();

    fs::write(place.path().join(file), "select 1;").unwrap();
    place
        .run(["migrate", "--write"])
        .fails(1, "with another text");
    assert_eq!(place.read(file), b"select 1;");
    place.run(["migrate", "--write", "elsewhere"]).ok();
    assert!(
        place
            .path()
            .join("elsewhere/20261122070000_message_bus.sql")
            .exists()
    );
}

#[tokio::test]
async fn a_database_of_a_newer_build_is_refused() {
    let (place, postgres) = (Place::new(), server().await);
    migrate(&place, &postgres, &[]).ok();
    let newer = "insert into supabase_migrations.schema_migrations (version, name, statements)
        values ('20990101000000', 'future', array['-- bus: more'])";
    postgres.sql("app", newer).await.unwrap();
    migrate(&place, &postgres, &[]).fails(1, "20990101000000_future");
    let error = migrate(&place, &postgres, &["--json", "--dry-run"]).json_error();
    assert_eq!(error["exit_code"], 1, "{error}");
}
