//! Servers, databases, and what is in them.

use std::{collections::BTreeMap, process::Command};

use bus_migrations::{Database, DatabaseUrl, MigrateError, Migrator, Report, Step, steps};
use bus_testkit::{Postgres, sha256_hex};

/// One thing of a schema: what it is, which, and a text that says all about it.
pub(crate) type Catalog = Vec<(String, String, String)>;

/// A server with the roles of a hosted project or without them, and an empty database `app`.
pub(crate) async fn server(version: u32) -> Postgres {
    let postgres = Postgres::version(version).await.unwrap();
    postgres.create_database("app").await.unwrap();
    postgres
}

pub(crate) fn url(text: &str) -> DatabaseUrl {
    text.parse().unwrap()
}

/// Migrates `database` as superuser, with all steps.
pub(crate) async fn migrate(postgres: &Postgres, database: &str) -> Result<Report, MigrateError> {
    migrate_with(&postgres.url(database), &Migrator::default()).await
}

pub(crate) async fn migrate_with(
    address: &str,
    migrator: &Migrator,
) -> Result<Report, MigrateError> {
    let mut database = Database::connect(&url(address)).await?;
    migrator.run(&mut database, |_| {}).await
}

/// The first `count` steps.
pub(crate) fn first(count: usize) -> Migrator {
    Migrator::new(steps()[..count].to_vec())
}

pub(crate) fn files() -> Vec<String> {
    steps().iter().map(Step::file_name).collect()
}

/// All that the schemas of `database` are made of.
pub(crate) async fn catalog(postgres: &Postgres, database: &str) -> Catalog {
    let client = postgres.connect(database).await.unwrap();
    let rows = client
        .query(include_str!("catalog.sql"), &[])
        .await
        .unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

/// Shows what differs, thing by thing.
pub(crate) fn assert_same(left: &Catalog, right: &Catalog) {
    let things = |catalog: &Catalog| -> BTreeMap<String, ()> {
        catalog
            .iter()
            .map(|(kind, thing, text)| {
                // Bodies of functions by their digest: a failure shows names, not pages.
                let digest = sha256_hex(text.as_bytes());
                let start: String = text.chars().take(200).collect();
                (format!("{kind} {thing}: {start} ({})", &digest[..8]), ())
            })
            .collect()
    };
    let (left, right) = (things(left), things(right));
    let only = |a: &BTreeMap<String, ()>, b: &BTreeMap<String, ()>| -> Vec<String> {
        a.keys()
            .filter(|key| !b.contains_key(*key))
            .cloned()
            .collect()
    };
    let (gone, new) = (only(&left, &right), only(&right, &left));
    assert!(
        gone.is_empty() && new.is_empty(),
        "only left: {gone:#?}\nonly right: {new:#?}"
    );
}

/// The first column of the first row, as text.
pub(crate) async fn value(postgres: &Postgres, database: &str, sql: &str) -> Option<String> {
    let client = postgres.connect(database).await.unwrap();
    let messages = client.simple_query(sql).await.unwrap();
    messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    })?
}

/// The schema of `database` as pg_dump of Debian's PostgreSQL 15 writes it, without what changes from run to run.
pub(crate) fn dump(postgres: &Postgres, database: &str) -> String {
    let output = Command::new(postgres.programs().join("pg_dump"))
        .args([
            "--schema-only",
            "--no-owner",
            "--exclude-schema=supabase_migrations",
        ])
        .arg(postgres.url(database))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    normalise(&String::from_utf8(output.stdout).unwrap())
}

/// Without versions, tokens and settings of the session; one empty line between things.
fn normalise(dump: &str) -> String {
    let passing = |line: &&str| {
        let noise = [
            "\\restrict",
            "\\unrestrict",
            "-- Dumped ",
            "-- PostgreSQL database",
            "SET ",
            "SELECT pg_catalog.set_config",
        ];
        *line != "--" && !noise.iter().any(|prefix| line.starts_with(prefix))
    };
    let mut text = String::new();
    for line in dump.lines().filter(passing) {
        if !(line.is_empty() && (text.is_empty() || text.ends_with("\n\n"))) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
