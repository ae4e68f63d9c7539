//! Every table x every caller x every verb, by SQL and over HTTP.

use bus_testkit::{Project, Server};
use rstest::rstest;
use serde_json::json;
use tokio_postgres::Client;

use crate::cells::Cells;
use crate::who::{Answer, EVERYBODY, Who, become_sql, direct_sql, send};
use crate::world::{Target, seed, state_of};

/// A table, and which of its columns names a row.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// An update that changes nothing, and one value for an insert.
    pub(crate) column: &'static str,
    /// How many rows a user of [`seed`] has there, and may see.
    pub(crate) own_rows: usize,
}

/// All tables of ours.
pub(crate) const TABLES: [Table; 5] = [
    // Four live messages: what has expired is not read by the table any more.
    Table {
        name: "message_bus",
        column: "session_id",
        own_rows: 4,
    },
    // Of the complete message; what is pending is nobody's to read.
    Table {
        name: "message_bus_chunks",
        column: "sha256",
        own_rows: 2,
    },
    Table {
        name: "audit_log",
        column: "session_id",
        own_rows: 1,
    },
    Table {
        name: "conversation_history",
        column: "role",
        own_rows: 1,
    },
    Table {
        name: "user_preferences",
        column: "name",
        own_rows: 1,
    },
];

/// What the service role sees: three principals, all states.
fn all_rows(table: &Table) -> usize {
    match table.name {
        "message_bus" => 15,
        "message_bus_chunks" => 9,
        _ => 3,
    }
}

fn verbs(table: &Table) -> [(&'static str, String); 5] {
    let Table { name, column, .. } = table;
    [
        ("select", format!("select count(*) from public.{name}")),
        (
            "insert",
            format!("insert into public.{name} ({column}) values ('x')"),
        ),
        (
            "update",
            format!("update public.{name} set {column} = {column}"),
        ),
        (
            "delete",
            format!("delete from public.{name} where {column} <> 'x'"),
        ),
        ("truncate", format!("truncate public.{name} cascade")),
    ]
}

/// A refusal, or how many rows there are.
fn wanted(who: Who, table: &Table, verb: &str) -> String {
    let rows = match (who, verb) {
        (Who::Service, "select") => all_rows(table),
        // Chunks of a complete message go with it only.
        (Who::Service, "delete") if table.name == "message_bus_chunks" => {
            return "PT409".to_owned();
        }
        (Who::Service, "delete") => all_rows(table),
        (Who::User(_), "select") => table.own_rows,
        (Who::NoSub, "select") => 0,
        _ => return "42501".to_owned(),
    };
    rows.to_string()
}

fn found(answer: &Answer) -> String {
    if answer.status == "error" {
        answer.word()
    } else {
        answer.body.clone()
    }
}

#[tokio::test]
async fn straight_at_the_database_a_user_reads_its_own_rows_and_writes_none() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let mut cells = Cells::default();
    for table in &TABLES {
        for who in EVERYBODY {
            for (verb, sql) in verbs(table) {
                let answer = direct_sql(&client, &become_sql(who), &sql, false).await;
                let cell = || format!("{who:?} {verb} {}", table.name);
                cells.equal(&found(&answer), &wanted(who, table, verb), || {
                    format!("{} ({})", cell(), answer.body)
                });
            }
            let rows = format!(
                "select string_agg(t::text, ' ') from public.{} t",
                table.name
            );
            let answer = direct_sql(&client, &become_sql(who), &rows, false).await;
            judge_text(&mut cells, who, table, &targets, &answer.body);
        }
    }
    cells.judge(500);
}

/// What is not the caller's own is in nothing that it reads.
fn judge_text(cells: &mut Cells, who: Who, table: &Table, targets: &[Target; 3], text: &str) {
    for target in targets {
        if who == Who::Service || matches!(who, Who::User(name) if name == target.principal) {
            continue;
        }
        for secret in target.secrets() {
            cells.check(!text.contains(&secret), || {
                format!("{who:?} reads {secret} in {}: {text}", table.name)
            });
        }
    }
}

#[rstest]
#[tokio::test]
async fn over_http_a_user_reads_its_own_rows_and_writes_none(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    let project = Project::take(server).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let before = everything(&client).await;
    let http = reqwest::Client::new();
    let mut cells = Cells::default();
    for table in &TABLES {
        for who in EVERYBODY {
            let answer = read(&http, &project, who, table).await;
            judge_read(&mut cells, who, table, &answer);
            judge_text(&mut cells, who, table, &targets, &answer.body);
            for method in ["POST", "PATCH", "DELETE"] {
                // The service role deletes, as the clean-up of the original does; nothing of that name is there.
                if who == Who::Service && method == "DELETE" {
                    continue;
                }
                let answer = write(&http, &project, who, table, method).await;
                let cell = || format!("{who:?} {method} {}: {answer:?}", table.name);
                cells.check(
                    answer.status.starts_with('4') && answer.body.contains("42501"),
                    cell,
                );
            }
        }
    }
    cells.equal(&everything(&client).await, &before, || {
        "what the tables hold".to_owned()
    });
    cells.judge(500);
}

async fn read(http: &reqwest::Client, project: &Project, who: Who, table: &Table) -> Answer {
    send(http, project, who, |http, base| {
        http.get(format!("{base}/{}", table.name))
    })
    .await
}

async fn write(
    http: &reqwest::Client,
    project: &Project,
    who: Who,
    table: &Table,
    method: &str,
) -> Answer {
    send(http, project, who, |http, base| {
        let filter = format!("{base}/{}?{}=neq.x", table.name, table.column);
        let row = json!({ table.column: "x" });
        match method {
            "POST" => http.post(format!("{base}/{}", table.name)).json(&row),
            "PATCH" => http.patch(filter).json(&row),
            _ => http.delete(filter),
        }
    })
    .await
}

fn judge_read(cells: &mut Cells, who: Who, table: &Table, answer: &Answer) {
    let rows = serde_json::from_str::<Vec<serde_json::Value>>(&answer.body).map(|rows| rows.len());
    let wanted = wanted(who, table, "select");
    let right = match &rows {
        Ok(count) => answer.status == "200" && count.to_string() == wanted,
        Err(_) => answer.status.starts_with('4') && answer.body.contains(&wanted),
    };
    cells.check(right, || {
        format!(
            "{who:?} GET {}: {wanted} was to be found: {answer:?}",
            table.name
        )
    });
}

/// All that the three principals have.
pub(crate) async fn everything(client: &Client) -> String {
    let mut all = String::new();
    for principal in ["alice", "bob", "default"] {
        all.push_str(&state_of(client, principal).await);
    }
    all
}
