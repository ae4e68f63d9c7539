//! Projects that somebody broke: the line names what is wrong, and what it says to do puts it right.

use bus_testkit::{Project, Server};
use rstest::rstest;

use crate::{quick, run, says, support::Place, with_key};

/// A project of postrust after `statements`; its server has read the schema anew.
async fn broken(statements: &str) -> Project {
    let mut project = Project::own(Server::Postrust).await.unwrap();
    project.sql(statements).await.unwrap();
    project.restart_server().await.unwrap();
    project
}

#[rstest]
#[case::table(
    "drop table message_bus_chunks cascade",
    "schema",
    "failure",
    "the table public.message_bus_chunks is missing"
)]
#[case::column(
    "alter table message_bus drop column key_id",
    "schema",
    "failure",
    "public.message_bus.key_id is missing"
)]
#[case::function(
    "drop function bus_renew(text)",
    "schema",
    "failure",
    "public.bus_renew(text) is missing"
)]
#[case::index(
    "drop index idx_message_bus_status",
    "schema",
    "warning",
    "idx_message_bus_status is missing"
)]
#[case::constraint(
    "alter table message_bus drop constraint message_bus_key",
    "schema",
    "failure",
    "message_bus_key is missing"
)]
#[case::trigger(
    "alter table message_bus_chunks disable trigger all",
    "schema",
    "failure",
    "disabled: "
)]
#[case::body(
    "create or replace function bus_internal.read_grace_ms() returns bigint language sql immutable
       set search_path = pg_catalog, pg_temp as 'select 1::bigint'",
    "schema",
    "failure",
    "its body differs"
)]
#[case::path(
    "alter function bus_put(text, text) reset search_path",
    "schema",
    "failure",
    "pinned search_path"
)]
#[case::invoker(
    "alter function bus_put(text, text) security invoker",
    "schema",
    "failure",
    "does not run with the rights"
)]
#[case::grant(
    "grant select on message_bus to anon",
    "rights",
    "failure",
    "revoke SELECT on table public.message_bus from anon"
)]
#[case::column_grant(
    "grant select (payload) on message_bus to anon",
    "rights",
    "failure",
    "SELECT (payload)"
)]
#[case::function_grant(
    "grant execute on function bus_list(text) to public",
    "rights",
    "failure",
    "everybody (public) may EXECUTE"
)]
#[case::write_grant(
    "grant insert on message_bus to authenticated",
    "rights",
    "failure",
    "authenticated may INSERT"
)]
#[case::taken_back(
    "revoke select on message_bus from authenticated",
    "rights",
    "failure",
    "authenticated lacks SELECT"
)]
#[case::rls(
    "alter table message_bus disable row level security",
    "rights",
    "failure",
    "row level security of public.message_bus is off"
)]
#[case::policy(
    "create policy open on message_bus for select to authenticated using (true)",
    "rights",
    "failure",
    "drop policy open"
)]
#[case::no_policy(
    "drop policy message_bus_own on message_bus",
    "rights",
    "failure",
    "message_bus_own is missing"
)]
#[tokio::test(flavor = "multi_thread")]
async fn one_thing_is_wrong(
    #[case] statement: &str,
    #[case] name: &str,
    #[case] status: &str,
    #[case] part: &str,
) {
    let project = broken(statement).await;
    let ran = quick(&project).await;
    let line = says(&ran, name, status, part);
    assert!(
        line["advice"].as_str().unwrap().contains("bus migrate"),
        "{line:#}"
    );
    assert_eq!(
        ran.code,
        Some(i32::from(status == "failure")),
        "{}",
        ran.shown()
    );
    let other = if name == "schema" { "rights" } else { "schema" };
    says(&ran, other, "ok", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_says_to_do_puts_it_right() {
    let project = broken(
        "alter table message_bus disable row level security;
         grant select, insert on message_bus to anon;
         grant update (payload) on message_bus to authenticated;
         revoke execute on function bus_put(text, text) from service_role;
         drop index idx_message_bus_status;
         alter table message_bus drop constraint message_bus_priority_legal",
    )
    .await;
    let ran = quick(&project).await;
    let mut repairs = Vec::new();
    for name in ["schema", "rights"] {
        let line = says(&ran, name, "failure", "differences");
        for sentence in line["detail"].as_array().unwrap() {
            let (_, statement) = sentence.as_str().unwrap().split_once(": ").unwrap();
            repairs.push(statement.to_owned());
        }
    }
    assert_eq!(repairs.len(), 6, "{repairs:#?}");
    project.sql(&repairs.join("\n")).await.unwrap();
    let ran = quick(&project).await.ok();
    says(&ran, "schema", "ok", "");
    says(&ran, "rights", "ok", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_gone_and_messages_with_it() {
    let project =
        broken("drop table message_bus_chunks cascade; drop table message_bus cascade").await;
    let ran = quick(&project).await;
    assert_eq!(ran.code, Some(1), "{}", ran.shown());
    says(
        &ran,
        "schema",
        "failure",
        "the table public.message_bus is missing",
    );
    says(&ran, "messages", "failure", "does not exist");
}

#[rstest]
#[case::older(0, "this build wants 1", "bus migrate", "ok")]
#[case::newer(2, "refuses a newer one", "update bus", "skipped")]
#[tokio::test(flavor = "multi_thread")]
async fn another_version(
    #[case] version: u32,
    #[case] part: &str,
    #[case] advice: &str,
    #[case] rights: &str,
) {
    let project = broken(&format!(
        "create or replace function bus_internal.schema_version() returns integer language sql immutable
           set search_path = pg_catalog, pg_temp as 'select {version}'"
    ))
    .await;
    let ran = quick(&project).await;
    assert_eq!(ran.code, Some(1), "{}", ran.shown());
    let line = says(&ran, "schema version", "failure", part);
    assert!(
        line["advice"].as_str().unwrap().contains(advice),
        "{line:#}"
    );
    says(&ran, "rights", rights, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_project() {
    let functions = "do $$ declare f regprocedure; begin
        for f in select oid from pg_proc where pronamespace = 'public'::regnamespace and proname like 'bus%' loop
          execute format('drop function %s', f);
        end loop; end $$";
    let project = broken(functions).await;
    let ran = run(with_key(
        &Place::new(),
        project.url(),
        project.secret_key(),
        &["--json"],
    ))
    .await;
    assert_eq!(ran.code, Some(1), "{}", ran.shown());
    says(&ran, "reachable", "ok", "takes the key");
    says(&ran, "schema version", "failure", "run: bus migrate");
    says(&ran, "rights", "skipped", "the schema of bus is not there");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_without_end_and_a_database_that_takes_no_writes() {
    let project = broken(
        "do $$ begin execute format('alter role authenticator in database %I set statement_timeout = 0', current_database());
           execute format('alter role service_role in database %I set statement_timeout = 0', current_database());
           execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$",
    )
    .await;
    let ran = quick(&project).await;
    says(&ran, "space", "failure", "takes no writes");
}
