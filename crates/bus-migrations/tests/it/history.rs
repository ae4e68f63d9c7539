//! The history is the Supabase CLI's: each understands what the other wrote.

use bus_migrations::{MigrateError, MigrateErrorKind, Migrator, Step, steps};

use crate::support::{files, first, migrate, migrate_with, server, value};

/// What the Supabase CLI does before its first migration.
const CLI_TABLE: &str = "
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
";

/// The row that it writes: statements one by one, without their semicolons and the space around them.
fn cli_row(step: &Step) -> String {
    let statements: Vec<String> = split(step.sql()).iter().map(|text| quote(text)).collect();
    format!(
        "insert into supabase_migrations.schema_migrations (version, name, statements)
         values ({}, {}, array[{}]::text[]);",
        quote(step.version()),
        quote(step.name()),
        statements.join(",")
    )
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Cuts at each semicolon outside of quotes, dollar quotes and comments; comments stay.
fn split(sql: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < sql.len() {
        let rest = &sql[at..];
        let passed = |end: &str, skip: usize| {
            rest[skip..]
                .find(end)
                .map_or(rest.len(), |i| i + skip + end.len())
        };
        at += if rest.starts_with("--") {
            passed("\n", 0)
        } else if rest.starts_with("$$") {
            passed("$$", 2)
        } else if rest.starts_with('\'') {
            passed("'", 1)
        } else if rest.starts_with('"') {
            passed("\"", 1)
        } else {
            if rest.starts_with(';') {
                statements.push(sql[start..at].trim().to_owned());
                start = at + 1;
            }
            rest.chars().next().map_or(1, char::len_utf8)
        };
    }
    statements.push(sql[start..].trim().to_owned());
    statements.retain(|text| !text.is_empty());
    statements
}

#[tokio::test]
async fn what_the_supabase_cli_applied_is_passed_over() {
    let postgres = server(15).await;
    let done = 3;
    let mut by_cli = CLI_TABLE.to_owned();
    for step in &steps()[..done] {
        by_cli += step.sql();
        by_cli += &cli_row(step);
    }
    postgres.sql("app", &by_cli).await.unwrap();
    let report = migrate(&postgres, "app").await.unwrap();
    assert_eq!(report.already_there, files()[..done]);
    assert_eq!(report.applied, files()[done..]);
}

/// `supabase migration repair --status applied` of an old version, and tables of old versions, lack the texts.
#[tokio::test]
async fn a_history_of_versions_only_is_enough() {
    let postgres = server(15).await;
    let mut by_cli = "create schema supabase_migrations;
        create table supabase_migrations.schema_migrations (version text not null primary key);"
        .to_owned();
    for step in &steps()[..2] {
        by_cli += step.sql();
        by_cli += &format!(
            "insert into supabase_migrations.schema_migrations values ({});",
            quote(step.version())
        );
    }
    postgres.sql("app", &by_cli).await.unwrap();
    let report = migrate(&postgres, "app").await.unwrap();
    assert_eq!(report.already_there, files()[..2]);
    let names = "select count(name) from supabase_migrations.schema_migrations";
    assert_eq!(
        value(&postgres, "app", names).await.unwrap(),
        (steps().len() - 2).to_string()
    );
}

#[tokio::test]
async fn what_we_applied_has_the_columns_of_the_supabase_cli() {
    let postgres = server(15).await;
    migrate(&postgres, "app").await.unwrap();
    let columns = "select string_agg(format('%s %s %s', attname, format_type(atttypid, atttypmod), attnotnull), ', ' order by attname)
        from pg_attribute where attrelid = 'supabase_migrations.schema_migrations'::regclass and attnum > 0";
    assert_eq!(
        value(&postgres, "app", columns).await.unwrap(),
        "name text f, statements text[] f, version text t"
    );
    // `supabase db push` and `migration list` compare these with the names of files.
    let rows = "select string_agg(version || '_' || name || '.sql', ',' order by version) from supabase_migrations.schema_migrations";
    assert_eq!(
        value(&postgres, "app", rows).await.unwrap(),
        files().join(",")
    );
    // `supabase migration fetch` makes files of them: the statements, and a semicolon after each.
    for step in steps() {
        let text = format!(
            "select array_to_string(statements, E';\\n') || E';\\n' from supabase_migrations.schema_migrations where version = '{}'",
            step.version()
        );
        assert_eq!(value(&postgres, "app", &text).await.unwrap(), step.sql());
    }
    // A CLI that comes later makes its table where ours is.
    postgres.sql("app", CLI_TABLE).await.unwrap();
}

#[tokio::test]
async fn migrations_of_the_project_are_none_of_our_business() {
    let postgres = server(15).await;
    migrate_with(&postgres.url("app"), &first(2)).await.unwrap();
    let own = "insert into supabase_migrations.schema_migrations (version, name, statements) values
        ('20240101000000', 'profiles', array['create table profiles (id int)']),
        ('20301231235959', 'later', array['select bus_internal.purge_all()']),
        ('20311231235959', 'without', null)";
    postgres.sql("app", own).await.unwrap();
    let report = migrate(&postgres, "app").await.unwrap();
    assert_eq!(report.others, 3);
    assert_eq!(report.applied, files()[2..]);
}

async fn refusal(statements: &str) -> MigrateError {
    let postgres = server(15).await;
    migrate_with(&postgres.url("app"), &first(2)).await.unwrap();
    postgres.sql("app", statements).await.unwrap();
    let error = migrate(&postgres, "app").await.unwrap_err();
    assert_eq!(error.kind(), MigrateErrorKind::Refused);
    let rows = "select count(*) from supabase_migrations.schema_migrations where version < '2099'";
    assert_eq!(value(&postgres, "app", rows).await.unwrap(), "2");
    error
}

#[tokio::test]
async fn a_newer_step_of_bus_is_refused() {
    let error = refusal(
        "insert into supabase_migrations.schema_migrations (version, name, statements)
         values ('20990101000000', 'future', array[E'-- bus: something new.\\ncreate table x ()'])",
    )
    .await;
    assert!(matches!(error, MigrateError::Newer { .. }));
    assert!(
        error.to_string().contains("20990101000000_future"),
        "{error}"
    );
}

#[tokio::test]
async fn a_newer_schema_version_is_refused() {
    let error = refusal(
        "create or replace function bus_internal.schema_version() returns integer language sql as 'select 2'",
    )
    .await;
    assert!(
        error
            .to_string()
            .contains("schema version 2, this build knows 1"),
        "{error}"
    );
}

#[tokio::test]
async fn a_step_with_another_text_is_refused() {
    let error = refusal(
        "update supabase_migrations.schema_migrations set statements = array['-- bus: other; select 1']
         where version = '20261122070100'",
    )
    .await;
    assert!(
        matches!(&error, MigrateError::Changed { step } if step == "20261122070100_message_bus_helpers.sql")
    );
}

#[tokio::test]
async fn a_build_that_is_older_passes_over_nothing() {
    let postgres = server(15).await;
    migrate(&postgres, "app").await.unwrap();
    let older = Migrator::new(steps()[..3].to_vec());
    let error = migrate_with(&postgres.url("app"), &older)
        .await
        .unwrap_err();
    assert!(matches!(error, MigrateError::Newer { .. }), "{error}");
}
