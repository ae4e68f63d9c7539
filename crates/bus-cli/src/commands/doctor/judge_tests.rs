//! What the database says, and what the doctor makes of it.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::commands::doctor::line::Status;

const NOW: i64 = 1_800_000_000_000;

fn expected() -> &'static Expected {
    Expected::of_this_build().expect("the file of the build")
}

/// A healthy project's answer, changed by `change`.
fn diagnosis(change: impl FnOnce(&mut Value)) -> Diagnosis {
    let mut answer = json!({
        "scope": "all", "server_ms": NOW, "server_version": "15.1", "read_only": false,
        "schema_version": expected().schema_version,
        "timeouts": {"call": 8000, "roles": {"anon": "3s"}},
        "inventory": expected().inventory,
        "purge_job": {"available": true, "installed": true, "readable": true,
            "job": {"schedule": "0 * * * *", "active": true},
            "last": {"status": "succeeded", "message": "1 row", "start_ms": NOW - 60_000}},
        "sizes": {"database": 9_000_000, "messages_estimated": 10, "tables": {"public.message_bus": 5000}},
        "rows": {"counted": 3, "all": true, "pending": 1, "complete": 2, "error": 0, "expired": 0, "torn": 0,
            "tools": [{"tool": "analyse", "messages": 2, "bytes": 100, "stored_bytes": 50}]},
        "leftovers": {"expired": 0, "expired_since_ms": null, "orphaned": 0, "orphaned_since_ms": null,
            "failed": 0, "stray_chunks": 0},
    });
    change(&mut answer);
    serde_json::from_value(answer).expect("an answer")
}

#[test]
fn a_healthy_project_is_healthy() {
    let found = diagnosis(|_| {});
    let mut lines = vec![version(found.schema_version, expected().schema_version)];
    lines.extend(inventory(&found, expected(), &["1"]));
    lines.extend([
        purge(&found, 3600),
        messages(&found.rows, None),
        leftovers(&found.leftovers, NOW),
        tools(&found.rows),
        space(&found, true),
    ]);
    for line in lines {
        assert_eq!(line.status, Status::Ok, "{line:?}");
    }
}

#[rstest]
#[case(Some(1), 1, Status::Ok, "")]
#[case(Some(2), 1, Status::Failure, "update bus")]
#[case(Some(0), 1, Status::Failure, "bus migrate")]
#[case(None, 1, Status::Failure, "bus migrate")]
fn versions(
    #[case] found: Option<u32>,
    #[case] wanted: u32,
    #[case] status: Status,
    #[case] advice: &str,
) {
    let line = version(found, wanted);
    assert_eq!(line.status, status);
    assert!(line.advice.unwrap_or_default().contains(advice));
}

#[test]
fn a_newer_schema_is_not_compared() {
    let found = diagnosis(|answer| {
        answer["schema_version"] = json!(99);
        answer["inventory"]["table"] = json!({});
    });
    for line in inventory(&found, expected(), &["1"]) {
        assert_eq!(line.status, Status::Skipped, "{line:?}");
    }
}

#[test]
fn a_user_sees_what_a_user_may() {
    let found = diagnosis(|answer| {
        answer["scope"] = json!("own");
        for part in ["inventory", "purge_job", "sizes"] {
            answer[part] = Value::Null;
        }
    });
    let [schema, rights] = inventory(&found, expected(), &["1"]);
    for line in [schema, rights, purge(&found, 3600), space(&found, false)] {
        assert_eq!(line.status, Status::Skipped, "{line:?}");
        assert!(line.summary.contains("secret key"), "{line:?}");
    }
    assert_eq!(messages(&found.rows, None).status, Status::Ok);
}

#[rstest]
#[case("table", "public.message_bus", [Status::Failure, Status::Ok], "table public.message_bus is missing")]
#[case("function", "public.bus_put(text,text)", [Status::Failure, Status::Ok], "bus_put(text,text) is missing")]
#[case("index", "public.idx_message_bus_status", [Status::Warning, Status::Ok], "idx_message_bus_status is missing")]
#[case("constraint", "public.message_bus.message_bus_key", [Status::Failure, Status::Ok], "add constraint message_bus_key UNIQUE")]
#[case("column", "public.message_bus.checksum", [Status::Failure, Status::Ok], "add column checksum text")]
#[case("policy", "public.message_bus.message_bus_own", [Status::Ok, Status::Failure], "message_bus_own is missing")]
#[case("grant", "table public.message_bus to service_role", [Status::Ok, Status::Failure], "grant DELETE, SELECT on table")]
fn what_is_missing(
    #[case] kind: &str,
    #[case] name: &str,
    #[case] status: [Status; 2],
    #[case] part: &str,
) {
    let found = diagnosis(|answer| {
        let items = answer["inventory"][kind].as_object_mut().expect("a kind");
        items.remove(name).expect("it is expected");
    });
    let lines = inventory(&found, expected(), &["1"]);
    assert_eq!([lines[0].status, lines[1].status], status, "{lines:?}");
    assert!(format!("{lines:?}").contains(part), "{lines:?}");
    assert!(format!("{lines:?}").contains("bus migrate"), "{lines:?}");
}

#[test]
fn where_every_step_was_applied_migrate_is_no_help() {
    let found = diagnosis(|answer| {
        answer["steps"] = json!(["0", "1", "2"]);
        let items = answer["inventory"]["index"]
            .as_object_mut()
            .expect("a kind");
        items
            .remove("public.idx_message_bus_status")
            .expect("it is expected");
    });
    let [schema, _] = inventory(&found, expected(), &["1", "2"]);
    let advice = schema.advice.expect("advice");
    assert!(
        advice.starts_with("run: CREATE INDEX idx_message_bus_status"),
        "{advice}"
    );
}

#[rstest]
#[case(
    "grant",
    "table public.message_bus to anon",
    "SELECT",
    Status::Failure,
    "revoke SELECT on table public.message_bus from anon"
)]
#[case(
    "grant",
    "column public.message_bus.payload to public",
    "SELECT",
    Status::Failure,
    "SELECT (payload) on table public.message_bus from public"
)]
#[case(
    "grant",
    "function public.bus_list(text) to anon",
    "EXECUTE",
    Status::Failure,
    "may EXECUTE on the function public.bus_list(text)"
)]
#[case(
    "grant",
    "schema bus_internal to authenticated",
    "USAGE",
    Status::Failure,
    "from authenticated"
)]
#[case(
    "grant",
    "table public.message_bus to authenticated",
    "INSERT, SELECT",
    Status::Failure,
    "revoke INSERT on table"
)]
#[case(
    "grant",
    "table public.message_bus to service_role",
    "DELETE, INSERT, SELECT",
    Status::Warning,
    "revoke INSERT on table"
)]
#[case(
    "row level security",
    "public.message_bus",
    "off",
    Status::Failure,
    "enable row level security"
)]
#[case(
    "policy",
    "public.message_bus.open",
    "permissive all to public using true",
    Status::Failure,
    "drop policy open on public.message_bus"
)]
#[case(
    "role",
    "anon",
    "bypasses row level security",
    Status::Failure,
    "alter role anon nobypassrls"
)]
#[case(
    "role",
    "service_role",
    "obeys row level security",
    Status::Failure,
    "alter role service_role bypassrls"
)]
fn who_may_too_much(
    #[case] kind: &str,
    #[case] name: &str,
    #[case] definition: &str,
    #[case] status: Status,
    #[case] part: &str,
) {
    let found = diagnosis(|answer| answer["inventory"][kind][name] = json!(definition));
    let [schema, rights] = inventory(&found, expected(), &["1"]);
    assert_eq!(
        (schema.status, rights.status),
        (Status::Ok, status),
        "{rights:?}"
    );
    assert!(format!("{rights:?}").contains(part), "{rights:?}");
}

#[rstest]
#[case("column", "public.message_bus.mine", "text", Status::Warning)]
#[case("column", "public.message_bus.mine", "text not null", Status::Failure)]
#[case("function", "public.bus_mine()", "returns text", Status::Warning)]
#[case("function", "public.bus_list(json)", "returns text", Status::Failure)]
#[case(
    "trigger",
    "public.message_bus.mine",
    "CREATE TRIGGER",
    Status::Warning
)]
#[case(
    "index",
    "public.mine",
    "CREATE INDEX mine ON public.message_bus (status)",
    Status::Warning
)]
fn what_is_there_beside(
    #[case] kind: &str,
    #[case] name: &str,
    #[case] definition: &str,
    #[case] status: Status,
) {
    let found = diagnosis(|answer| answer["inventory"][kind][name] = json!(definition));
    let [schema, rights] = inventory(&found, expected(), &["1"]);
    assert_eq!(
        (schema.status, rights.status),
        (status, Status::Ok),
        "{schema:?} {rights:?}"
    );
    assert!(schema.advice.is_some(), "{schema:?}");
}

#[test]
fn a_missing_table_is_one_sentence_and_not_thirty() {
    let found = diagnosis(|answer| {
        let all = answer["inventory"].as_object_mut().expect("kinds");
        for (kind, items) in all {
            let items = items.as_object_mut().expect("items");
            items.retain(|name, definition| {
                let about = format!("{name} {definition}");
                kind == "function" || !about.contains("public.message_bus_chunks")
            });
        }
    });
    let [schema, rights] = inventory(&found, expected(), &["1"]);
    assert_eq!(
        schema.summary,
        "the table public.message_bus_chunks is missing"
    );
    assert_eq!(rights.status, Status::Ok, "{rights:?}");
}

#[rstest]
#[case(json!({"available": false, "installed": false}), Status::Warning, "has no pg_cron")]
#[case(json!({"available": true, "installed": false}), Status::Warning, "not installed")]
#[case(json!({"available": true, "installed": true, "readable": false}), Status::Warning, "may not be read")]
#[case(json!({"available": true, "installed": true, "readable": true, "job": null}), Status::Warning, "no job")]
#[case(json!({"available": true, "installed": true, "readable": true,
    "job": {"schedule": "0 * * * *", "active": false}}), Status::Warning, "switched off")]
#[case(json!({"available": true, "installed": true, "readable": true,
    "job": {"schedule": "0 * * * *", "active": true}}), Status::Ok, "not run yet")]
#[case(json!({"available": true, "installed": true, "readable": true,
    "job": {"schedule": "0 * * * *", "active": true},
    "last": {"status": "failed", "message": "no such function", "start_ms": NOW - 60_000}}), Status::Failure, "1 min ago")]
#[case(json!({"available": true, "installed": true, "readable": true,
    "job": {"schedule": "0 * * * *", "active": true},
    "last": {"status": "succeeded", "start_ms": NOW - 4 * HOUR}}), Status::Warning, "4 h ago")]
#[case(json!({"available": true, "installed": true, "readable": true,
    "job": {"schedule": "0 3 * * *", "active": true},
    "last": {"status": "succeeded", "start_ms": NOW - 4 * HOUR}}), Status::Ok, "4 h ago")]
fn purge_jobs(#[case] job: Value, #[case] status: Status, #[case] part: &str) {
    let line = purge(&diagnosis(|answer| answer["purge_job"] = job), 0);
    assert_eq!(line.status, status, "{line:?}");
    assert!(line.summary.contains(part), "{line:?}");
}

#[test]
fn counting_that_was_cut_short_says_so() {
    let found = diagnosis(|answer| {
        answer["rows"]["all"] = json!(false);
        answer["rows"]["counted"] = json!(5000);
    });
    let line = messages(&found.rows, Some(1_000_000));
    assert_eq!(line.status, Status::Ok);
    assert!(
        line.detail[0].contains("the newest 5000 messages of about 1000000"),
        "{line:?}"
    );
}

#[test]
fn a_torn_message_is_damage() {
    let line = messages(
        &diagnosis(|answer| answer["rows"]["torn"] = json!(2)).rows,
        None,
    );
    assert_eq!(
        (line.status, line.exit),
        (Status::Failure, Exit::Mismatch),
        "{line:?}"
    );
}

#[rstest]
#[case(json!({"expired": 5, "expired_since_ms": NOW - HOUR}), Status::Ok)]
#[case(json!({"expired": 5, "expired_since_ms": NOW - 5 * HOUR}), Status::Warning)]
#[case(json!({"expired": 10_001, "expired_since_ms": NOW - 99 * HOUR}), Status::Warning)]
#[case(json!({"orphaned": 1, "orphaned_since_ms": NOW - 5 * HOUR}), Status::Warning)]
#[case(json!({"stray_chunks": 1}), Status::Warning)]
#[case(json!({"stray_chunks": null}), Status::Ok)]
fn what_waits_for_a_purge(#[case] change: Value, #[case] status: Status) {
    let found = diagnosis(|answer| {
        for (name, value) in change.as_object().expect("an object") {
            answer["leftovers"][name] = value.clone();
        }
    });
    let line = leftovers(&found.leftovers, NOW);
    assert_eq!(line.status, status, "{line:?}");
    assert_eq!(line.advice.is_some(), status == Status::Warning, "{line:?}");
}

#[rstest]
#[case(9_000_000, false, true, Status::Ok)]
#[case(450_000_000, false, true, Status::Warning)]
#[case(450_000_000, false, false, Status::Ok)]
#[case(9_000_000, true, true, Status::Failure)]
fn sizes(
    #[case] bytes: u64,
    #[case] read_only: bool,
    #[case] hosted: bool,
    #[case] status: Status,
) {
    let found = diagnosis(|answer| {
        answer["sizes"]["database"] = json!(bytes);
        answer["read_only"] = json!(read_only);
    });
    assert_eq!(space(&found, hosted).status, status);
}

#[rstest]
#[case(0, "0 s")]
#[case(90_000, "1 min")]
#[case(3 * HOUR, "3 h")]
#[case(72 * HOUR, "3 days")]
fn times_are_told_in_their_largest_unit(#[case] ms: i64, #[case] shown: &str) {
    assert_eq!(duration(ms), shown);
}
