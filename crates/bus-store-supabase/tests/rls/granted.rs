//! What holds before the grants are taken back: @supabase/lite grants everything on every table to everybody at its first
//! request, and `grant all on all functions` is what many a guide tells people to run. Row level security and the
//! judgement of the caller must do alone then.

use bus_testkit::{Project, Server};
use rstest::rstest;
use serde_json::json;

use crate::calls;
use crate::cells::Cells;
use crate::tables::{TABLES, everything};
use crate::who::{Who, become_sql, become_with, call_setup, call_sql, direct_sql, rest, send};
use crate::world::seed;

const ALL_GRANTED: &str = "
grant all on all tables in schema public to anon, authenticated, service_role;
grant all on all functions in schema public to anon, authenticated, service_role;
";

#[tokio::test]
async fn straight_at_the_database_nobody_writes_and_anon_reads_nothing() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    seed(&client).await;
    let mut cells = Cells::default();
    for table in &TABLES {
        for who in [
            Who::Anon,
            Who::NoSub,
            Who::User("alice"),
            Who::User("mallory"),
        ] {
            let rows = if who == Who::User("alice") {
                table.own_rows
            } else {
                0
            };
            let name = table.name;
            // An insert is judged before its values are, an update and a delete find no row that they may touch.
            let all = [
                (
                    format!("select count(*) from public.{name}"),
                    rows.to_string(),
                ),
                (
                    format!("insert into public.{name} select * from public.{name} limit 1"),
                    inserted(rows),
                ),
                (
                    format!("insert into public.{name} default values"),
                    "42501".to_owned(),
                ),
                (
                    format!("update public.{name} set {0} = {0}", table.column),
                    "0".to_owned(),
                ),
                (format!("delete from public.{name}"), "0".to_owned()),
            ];
            for (sql, wanted) in all {
                let setup = format!("{ALL_GRANTED}{}", become_sql(who));
                let answer = direct_sql(&client, &setup, &sql, false).await;
                let mut found = if answer.status == "error" {
                    answer.word()
                } else {
                    answer.body.clone()
                };
                // Its trigger speaks first, and sees what its caller may see.
                if name == "message_bus_chunks" && found == "PT409" {
                    found = "42501".to_owned();
                }
                cells.equal(&found, &wanted, || {
                    format!("{who:?} {sql} ({})", answer.body)
                });
            }
        }
    }
    cells.judge(100);
}

fn inserted(rows: usize) -> String {
    if rows == 0 { "0" } else { "42501" }.to_owned()
}

/// A token of anon may even carry a `sub`.
#[tokio::test]
async fn a_function_that_was_granted_to_anon_denies_all_the_same() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let mut cells = Cells::default();
    for call in calls::all(&targets[0]) {
        if call.function == "bus_echo_digest" {
            continue;
        }
        for claims in [
            json!({ "role": "anon" }),
            json!({ "role": "anon", "sub": "alice" }),
        ] {
            let become_anon = become_with("anon", &claims.to_string());
            let setup = format!("{}{ALL_GRANTED}{become_anon}", call_setup(&call));
            let answer = direct_sql(&client, &setup, &call_sql(&call), false).await;
            cells.equal(&answer.word().as_str(), &"PT403", || {
                format!("{} {claims}: {}", call.function, answer.body)
            });
        }
    }
    cells.judge(150);
}

#[rstest]
#[tokio::test]
async fn over_http_nobody_writes_and_anon_reads_nothing(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    let project = Project::own(server).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    client.batch_execute(ALL_GRANTED).await.unwrap();
    let before = everything(&client).await;
    let http = reqwest::Client::new();
    let mut cells = Cells::default();
    for table in &TABLES {
        for who in [Who::Anon, Who::NoSub, Who::User("mallory")] {
            let url = |base: &str| format!("{base}/{}", table.name);
            let read = send(&http, &project, who, |http, base| http.get(url(&base))).await;
            cells.equal(&read.body.as_str(), &"[]", || {
                format!("{who:?} GET {}: {read:?}", table.name)
            });
            let row = json!({ table.column: "x" });
            let insert = send(&http, &project, who, |http, base| {
                http.post(url(&base)).json(&row)
            })
            .await;
            let refused = insert.status.starts_with('4') || insert.status.starts_with('5');
            cells.check(refused, || {
                format!("{who:?} POST {}: {insert:?}", table.name)
            });
            for method in [reqwest::Method::PATCH, reqwest::Method::DELETE] {
                let filter = format!("?{}=neq.x", table.column);
                send(&http, &project, who, |http, base| {
                    http.request(method, url(&base) + &filter).json(&row)
                })
                .await;
            }
        }
    }
    for call in calls::all(&targets[0]) {
        let raw = matches!(call.args, calls::Args::Raw(..) | calls::Args::Bytes(_));
        if raw {
            continue;
        }
        let answer = rest(&http, &project, Who::Anon, &call).await;
        cells.check(answer.body.contains("PT403"), || {
            format!("anon {} {}: {answer:?}", call.function, call.about)
        });
    }
    cells.equal(&everything(&client).await, &before, || {
        "what the tables hold".to_owned()
    });
    cells.judge(100);
}
