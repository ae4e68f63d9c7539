//! The statement that puts an object right again, where one is enough. Else the step that made it has to run again:
//! each may, on what it made.

pub(super) fn missing(kind: &str, name: &str, wanted: &str) -> Option<String> {
    match kind {
        "column" => {
            let (table, column) = name.rsplit_once('.')?;
            statement(format!("alter table {table} add column {column} {wanted}"))
        }
        "constraint" => {
            let (table, constraint) = name.rsplit_once('.')?;
            statement(format!(
                "alter table {table} add constraint {constraint} {wanted}"
            ))
        }
        "index" | "trigger" => statement(wanted.to_owned()),
        "grant" => {
            let (object, role) = name.rsplit_once(" to ")?;
            statement(format!("grant {wanted} on {object} to {role}"))
        }
        _ => None,
    }
}

pub(super) fn changed(kind: &str, name: &str, wanted: &str) -> Option<String> {
    match (kind, wanted) {
        ("row level security", "on") => {
            statement(format!("alter table {name} enable row level security"))
        }
        ("role", "obeys row level security") => statement(format!("alter role {name} nobypassrls")),
        ("role", _) => statement(format!("alter role {name} bypassrls")),
        ("index", _) => statement(format!("drop index {name}; {wanted}")),
        _ => None,
    }
}

pub(super) fn extra(kind: &str, name: &str) -> Option<String> {
    match (kind, name.rsplit_once('.')) {
        ("policy" | "trigger", Some((table, own))) => {
            statement(format!("drop {kind} {own} on {table}"))
        }
        ("constraint" | "column", Some((table, own))) => {
            statement(format!("alter table {table} drop {kind} {own}"))
        }
        _ => statement(format!("drop {kind} {name}")),
    }
}

/// `object` is `table public.message_bus`, `column public.message_bus.payload`, `function ...` or
/// `schema ...`.
pub(super) fn grant_too_wide(object: &str, role: &str, privileges: &str) -> Option<String> {
    let column = object
        .strip_prefix("column ")
        .and_then(|name| name.rsplit_once('.'));
    let Some((table, column)) = column else {
        return statement(format!("revoke {privileges} on {object} from {role}"));
    };
    let each: Vec<String> = privileges
        .split(", ")
        .map(|p| format!("{p} ({column})"))
        .collect();
    statement(format!(
        "revoke {} on table {table} from {role}",
        each.join(", ")
    ))
}

// A name that needs them comes in its quotes already.
#[allow(
    clippy::unnecessary_wraps,
    reason = "reads as an answer where it is used"
)]
fn statement(text: String) -> Option<String> {
    Some(format!("{text};"))
}
