//! What puts an object right again: a statement where one is enough.

/// Every step of ours may run again on what it made.
const STEPS: &str = "write the steps out with: bus migrate --write DIR, and run them with psql, in order; each is safe to run twice";

pub(super) fn missing(kind: &str, name: &str, wanted: &str) -> String {
    match kind {
        "column" => match name.rsplit_once('.') {
            Some((table, column)) => {
                run(&format!("alter table {table} add column {column} {wanted}"))
            }
            None => STEPS.to_owned(),
        },
        "constraint" => match name.rsplit_once('.') {
            Some((table, constraint)) => run(&format!(
                "alter table {table} add constraint {constraint} {wanted}"
            )),
            None => STEPS.to_owned(),
        },
        "index" | "trigger" => run(wanted),
        "grant" => match name.rsplit_once(" to ") {
            Some((object, role)) => run(&format!("grant {wanted} on {object} to {role}")),
            None => STEPS.to_owned(),
        },
        _ => STEPS.to_owned(),
    }
}

pub(super) fn changed(kind: &str, name: &str, wanted: &str) -> String {
    match (kind, wanted) {
        ("row level security", "on") => {
            run(&format!("alter table {name} enable row level security"))
        }
        ("role", "obeys row level security") => run(&format!("alter role {name} nobypassrls")),
        ("role", _) => run(&format!("alter role {name} bypassrls")),
        ("function" | "policy" | "trigger", _) => STEPS.to_owned(),
        _ => format!("make it {wanted} by hand, or begin anew in an empty project"),
    }
}

pub(super) fn extra(kind: &str, name: &str) -> String {
    match (kind, name.rsplit_once('.')) {
        ("policy" | "trigger", Some((table, own))) => {
            format!("if nobody needs it, run: drop {kind} {own} on {table};")
        }
        ("constraint" | "column", Some((table, own))) => {
            format!("if nobody needs it, run: alter table {table} drop {kind} {own};")
        }
        _ => format!("if nobody needs it, run: drop {kind} {name};"),
    }
}

/// `object` is `table public.message_bus`, `column public.message_bus.payload`, `function ...` or `schema ...`.
pub(super) fn grant_too_wide(object: &str, role: &str, privileges: &str) -> String {
    let column = object
        .strip_prefix("column ")
        .and_then(|name| name.rsplit_once('.'));
    match column {
        Some((table, column)) => {
            let each: Vec<String> = privileges
                .split(", ")
                .map(|p| format!("{p} ({column})"))
                .collect();
            run(&format!(
                "revoke {} on table {table} from {role}",
                each.join(", ")
            ))
        }
        None => run(&format!("revoke {privileges} on {object} from {role}")),
    }
}

fn run(statement: &str) -> String {
    format!("run: {statement};")
}
