//! Many sessions at once, each doing what it likes: nobody waits for ever, no two wait for each other, nothing is torn.

use bus_testkit::{Project, Server};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::calls::{Args, Call};
use crate::cells::Cells;
use crate::races::nothing_is_half_visible;
use crate::who::{Answer, Who, become_sql, call_sql, direct_sql};
use crate::world::{Message, chunk_request, held, history_entry, plan, preference, with_manifest};

const SESSIONS: usize = 6;
const OWNER: Who = Who::User("alice");

async fn sessions(project: &Project) -> Vec<Client> {
    let connect = (0..SESSIONS).map(|_| project.connect());
    join_all(connect)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

async fn ask(client: &Client, call: &Call) -> Answer {
    direct_sql(client, &become_sql(OWNER), &call_sql(call), true).await
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Two chunks of 16 bytes, of one writer.
fn body(writer: usize) -> [Vec<u8>; 2] {
    [0, 1].map(|part| format!("writer {writer} part {part}").into_bytes())
}

/// What a writer is at: its upload, and what comes next: chunk 0, chunk 1, the commit.
type Work = Option<(Message, usize)>;

/// The next call of a writer on one of two keys: mostly what comes next, at times anything else. Leases are over soon,
/// so that everybody takes over.
fn step(dice: &mut Dice, writer: usize, work: &Work) -> Call {
    let txn = format!("storm-{}", dice.below(2));
    let request = |function, value| Call::new(function, "", Args::Request(value));
    let parts = body(writer);
    let token = Uuid::from_u128(dice.below(u64::MAX >> 34).into());
    let mut plan = plan("alice", &txn, token, "x");
    plan["lease_ms"] = json!(dice.below(30));
    if dice.below(8) == 0 {
        plan["chunk_size_bytes"] = json!(32);
    }
    let Some((upload, next)) = work else {
        // What is complete makes room, else everybody would find it so from then on.
        return match dice.below(4) {
            0 => request("bus_delete", json!({ "transaction_id": txn })),
            _ => request("bus_begin", plan),
        };
    };
    match dice.below(32) {
        0 => request("bus_begin", plan),
        1 => request("bus_abort", held("alice", upload)),
        2 => request("bus_renew", held("alice", upload)),
        3 => request("bus_delete", json!({ "transaction_id": txn })),
        4 => request(
            "bus_purge",
            json!({ "limit": 2, "acknowledged_after_ms": 0 }),
        ),
        5 => request("bus_acknowledge", json!({ "transaction_id": txn })),
        6 => request(
            "bus_touch",
            json!({ "keys": [["alice", "storm-0"], ["alice", "storm-1"]] }),
        ),
        7 => request("bus_commit", with_manifest(held("alice", upload), &parts)),
        _ if *next < 2 => {
            let chunk = chunk_request(
                "alice",
                upload,
                u32::try_from(*next).unwrap(),
                &parts[*next],
            );
            Call::new("bus_put_chunk", "", Args::Body(chunk, parts[*next].clone()))
        }
        _ => request("bus_commit", with_manifest(held("alice", upload), &parts)),
    }
}

/// All the calls of one writer; what was told that nobody should be told.
async fn writer(client: &Client, number: usize, calls: usize) -> (usize, Vec<String>) {
    let mut dice = Dice(number as u64 + 1);
    let mut work: Work = None;
    let (mut committed, mut wrong) = (0, Vec::new());
    for _ in 0..calls {
        let call = step(&mut dice, number, &work);
        let answer = ask(client, &call).await;
        // Another writer took over at the last moment.
        if answer.status != "200" && answer.word() != "PT409" {
            wrong.push(format!("{}: {}", call.function, answer.body));
        }
        work = match (call.function, answer.word().as_str()) {
            ("bus_begin", "new" | "resume") => Some((begun(&call, &answer), 0)),
            ("bus_put_chunk", "ok") => work.map(|(upload, next)| (upload, next + 1)),
            ("bus_commit", "ok") => {
                committed += 1;
                None
            }
            (_, "lease_lost" | "PT409") => None,
            _ => work,
        };
    }
    (committed, wrong)
}

fn begun(call: &Call, answer: &Answer) -> Message {
    let Args::Request(plan) = &call.args else {
        panic!("{call:?}")
    };
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    let uuid = |value: &Value| value.as_str().unwrap().parse().unwrap();
    Message {
        txn: plan["transaction_id"].as_str().unwrap().to_owned(),
        id: uuid(&told["id"]),
        token: uuid(&plan["upload_token"]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_writers_of_two_keys_tear_nothing_and_never_lock_each_other_out() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let admin = project.connect().await.unwrap();
    let clients = sessions(&project).await;
    let writers = clients
        .iter()
        .enumerate()
        .map(|(number, client)| writer(client, number, 250));
    let mut all = std::pin::pin!(join_all(writers));
    let outcomes = loop {
        tokio::select! {
            outcomes = &mut all => break outcomes,
            () = nothing_is_half_visible(&admin) => {}
        }
    };
    nothing_is_half_visible(&admin).await;
    let wrong: Vec<&String> = outcomes.iter().flat_map(|(_, wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let committed: usize = outcomes.iter().map(|(committed, _)| committed).sum();
    assert!(
        committed > 20,
        "only {committed} commits: the storm was none"
    );
}

/// The other records: one number an entry, one row an id, and the last one's value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_written_at_once_are_all_there_once() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let admin = project.connect().await.unwrap();
    let clients = sessions(&project).await;
    let mut cells = Cells::default();
    for round in 0..20 {
        let own = clients
            .iter()
            .enumerate()
            .map(|(number, client)| async move {
                let mut same = history_entry("alice", "talk", "x");
                same["entry_id"] = json!(format!("same-{round}"));
                let mut other = same.clone();
                other["entry_id"] = json!(format!("other-{round}-{number}"));
                let audit = crate::world::audit_entry("alice", Uuid::from_u128(round), "x");
                let mut told = Vec::new();
                for (function, request) in [
                    ("bus_history_append", same),
                    ("bus_history_append", other),
                    ("bus_audit_append", audit),
                    (
                        "bus_prefs_set",
                        preference("alice", "color", &number.to_string()),
                    ),
                ] {
                    told.push(ask(client, &Call::new(function, "", Args::Request(request))).await);
                }
                told
            });
        let told: Vec<Answer> = join_all(own).await.into_iter().flatten().collect();
        for answer in &told {
            cells.check(answer.status == "200", || answer.body.clone());
        }
        let made = |word: &str| told.iter().filter(|answer| answer.word() == word).count();
        cells.equal(
            &(made("created"), made("exists")),
            &(SESSIONS + 1, SESSIONS - 1),
            || format!("round {round}"),
        );
    }
    let sql = "select (select count(*) = max(seq) and count(*) = 140 from public.conversation_history)
        and (select count(*) = 20 from public.audit_log) and (select count(*) = 1 from public.user_preferences)";
    let right: bool = admin.query_one(sql, &[]).await.unwrap().get(0);
    cells.check(right, || {
        "entries are missing, or numbered with gaps".to_owned()
    });
    cells.judge(500);
}
