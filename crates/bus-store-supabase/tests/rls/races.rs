//! Two sessions at once. The first stops before it commits; the second is let go; then the first commits or rolls back.
//! So each step of a writer meets each step of another one, and nothing is half visible, lost, or waits for ever.

use std::time::Duration;

use bus_testkit::{Project, Server};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::calls::{Args, Call};
use crate::cells::Cells;
use crate::who::{Answer, Who, become_sql, call_sql, plain_sql};
use crate::world::{Message, base64, chunk_request, chunks, held, plan, with_manifest};

const TXN: &str = "race";

/// A step of the first or of the second writer of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The writer's own token, again.
    Begin,
    /// Another writer, with the same plan.
    TakeOver,
    /// Another writer, with another plan.
    Restart,
    /// Chunk 0 again; other bytes of the same length.
    Chunk,
    /// Chunk 1, which is not there.
    NextChunk,
    Renew,
    Commit,
    Abort,
    /// The whole message, with the same bytes, or with others.
    Put,
    PutOther,
    Delete,
    Purge,
}
use Step::{
    Abort, Begin, Chunk, Commit, Delete, NextChunk, Purge, Put, PutOther, Renew, Restart, TakeOver,
};

impl Step {
    const ALL: [Self; 12] = [
        Begin, TakeOver, Restart, Chunk, NextChunk, Renew, Commit, Abort, Put, PutOther, Delete,
        Purge,
    ];
}

/// What is there before the race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// An upload with chunk 0, whose lease runs, or is over.
    Live,
    Lapsed,
}
use Before::{Lapsed, Live, Nothing};

/// A line of a table: what is there, the two steps, and then what the second is told and what is left: if the first commits, and if it is
/// rolled back.
type Race = (Before, Step, Step, Vec<(String, String)>);

struct Arena {
    _project: Project,
    admin: Client,
    sessions: [Client; 2],
    /// The upload that is there.
    upload: Message,
}

const OWNER: &str = "alice";

fn body() -> Vec<u8> {
    chunks(OWNER)[0].clone()
}

impl Arena {
    async fn new() -> Self {
        let project = Project::take(Server::Postrust).await.unwrap();
        let admin = project.connect().await.unwrap();
        let sessions = [
            project.connect().await.unwrap(),
            project.connect().await.unwrap(),
        ];
        let upload = Message {
            txn: TXN.to_owned(),
            id: Uuid::nil(),
            token: Uuid::from_u128(1),
        };
        Self {
            _project: project,
            admin,
            sessions,
            upload,
        }
    }

    async fn prepare(&mut self, before: Before) {
        self.admin
            .batch_execute("delete from public.message_bus")
            .await
            .unwrap();
        if before == Nothing {
            return;
        }
        let begun: Value =
            serde_json::from_str(&self.alone(&self.call(Begin, 0)).await.body).unwrap();
        self.upload.id = begun["id"].as_str().unwrap().parse().unwrap();
        let chunk = chunk_request(OWNER, &self.upload, 0, &body());
        let put = Call::new("bus_put_chunk", "", Args::Body(chunk, body()));
        assert_eq!(self.alone(&put).await.word(), "ok");
        if before == Lapsed {
            let lapse =
                "update public.message_bus set lease_expires_at = now() - interval '1 second'";
            self.admin.batch_execute(lapse).await.unwrap();
        }
    }

    fn call(&self, step: Step, who: usize) -> Call {
        let request = |function, request| Call::new(function, "", Args::Request(request));
        let other = Uuid::from_u128(100 + who as u128);
        let parts = [body()];
        match step {
            Begin => request("bus_begin", plan(OWNER, TXN, self.upload.token, "x")),
            TakeOver => request("bus_begin", plan(OWNER, TXN, other, "x")),
            Restart => {
                let mut plan = plan(OWNER, TXN, other, "x");
                plan["chunk_size_bytes"] = json!(32);
                request("bus_begin", plan)
            }
            Chunk => {
                let bytes = b"other bytes, 16.".to_vec();
                let chunk = chunk_request(OWNER, &self.upload, 0, &bytes);
                Call::new("bus_put_chunk", "", Args::Body(chunk, bytes))
            }
            NextChunk => {
                let bytes = chunks(OWNER)[1].clone();
                let chunk = chunk_request(OWNER, &self.upload, 1, &bytes);
                Call::new("bus_put_chunk", "", Args::Body(chunk, bytes))
            }
            Renew => request("bus_renew", held(OWNER, &self.upload)),
            Commit => request(
                "bus_commit",
                with_manifest(held(OWNER, &self.upload), &parts),
            ),
            Abort => request("bus_abort", held(OWNER, &self.upload)),
            Put => Call::new(
                "bus_put",
                "",
                Args::Body(with_manifest(plan(OWNER, TXN, other, "x"), &parts), body()),
            ),
            PutOther => {
                let parts = [b"other bytes".to_vec()];
                let plan = with_manifest(plan(OWNER, TXN, other, "x"), &parts);
                Call::new("bus_put", "", Args::Body(plan, parts[0].clone()))
            }
            Delete => request("bus_delete", json!({ "transaction_id": TXN })),
            Purge => request("bus_purge", json!({ "limit": 10 })),
        }
    }

    /// A statement within the transaction of a session, which it begins where there is none.
    async fn within(&self, who: usize, sql: &str) -> Answer {
        let session = &self.sessions[who];
        session.batch_execute("begin").await.unwrap();
        session
            .batch_execute(&become_sql(Who::User(OWNER)))
            .await
            .unwrap();
        plain_sql(session, sql).await
    }

    async fn end(&self, who: usize, keep: bool) {
        let end = if keep { "commit" } else { "rollback" };
        self.sessions[who].batch_execute(end).await.unwrap();
    }

    async fn alone(&self, call: &Call) -> Answer {
        let answer = self.within(0, &call_sql(call)).await;
        self.end(0, true).await;
        answer
    }

    /// Whether the second session waits for the first by now; looks until it does or has its answer.
    async fn second_waits(&self) -> bool {
        let sql = "select count(*) from pg_stat_activity
            where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0";
        self.admin
            .query_one(sql, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            > 0
    }

    /// Both answers, and whether the second had to wait.
    async fn race(&self, first: Step, second: Step, keep: bool) -> (Answer, Answer, bool) {
        let told_first = self.within(0, &call_sql(&self.call(first, 0))).await;
        self.nothing_is_half_visible().await;
        let sql = call_sql(&self.call(second, 1));
        let mut running = std::pin::pin!(self.within(1, &sql));
        let mut waited = false;
        let told_second = loop {
            tokio::select! {
                told = &mut running => break told,
                () = tokio::time::sleep(Duration::from_millis(2)) => {}
            }
            if self.second_waits().await {
                waited = true;
                self.end(0, keep).await;
                break running.await;
            }
        };
        if !waited {
            self.end(0, keep).await;
        }
        self.nothing_is_half_visible().await;
        self.end(1, true).await;
        self.nothing_is_half_visible().await;
        (told_first, told_second, waited)
    }

    async fn nothing_is_half_visible(&self) {
        nothing_is_half_visible(&self.admin).await;
    }

    /// `status` of the message and its chunks: `digest prefix` by seq.
    async fn left(&self) -> String {
        let sql = "select coalesce((select format('%s, chunks %s', m.status,
              coalesce((select string_agg(c.seq || case when c.body = decode($1, 'base64') then '' else '*' end, ' ' order by c.seq)
                from public.message_bus_chunks c where c.message_id = m.id), case when m.payload is null then 'none' else 'inline' end))
            from public.message_bus m), 'nothing')";
        self.admin
            .query_one(sql, &[&base64(&body())])
            .await
            .unwrap()
            .get(0)
    }
}

/// Every complete message has exactly the chunks of its manifest, and no chunk stands alone.
pub(crate) async fn nothing_is_half_visible(admin: &Client) {
    let sql = "
            select format('%s %s', m.status, m.transaction_id) from public.message_bus m
            where m.status = 'complete' and (
              (m.payload is not null and (sha256(m.payload) <> substring(m.manifest from 101 for 32)
                or exists (select from public.message_bus_chunks c where c.message_id = m.id)))
              or (m.payload is null and (
                bus_internal.chunks_fault(m.id, m.manifest) is not null
                or exists (select from public.message_bus_chunks c where c.message_id = m.id and (
                  c.seq >= m.chunk_count or c.sha256 <> encode(sha256(c.body), 'hex'))))))
            union all
            select 'chunks of a message that was given up' from public.message_bus m
            where m.status = 'error' and exists (select from public.message_bus_chunks c where c.message_id = m.id)";
    let rows = admin.query(sql, &[]).await.unwrap();
    let torn: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(torn.is_empty(), "half visible: {torn:?}");
}

/// Two writers that begin.
#[tokio::test]
async fn two_writers_begin() {
    run("
        Nothing TakeOver  TakeOver  | busy: pending, chunks none          | new: pending, chunks none
        Nothing Begin     Begin     | new: pending, chunks none           | new: pending, chunks none
        Nothing Put       Put       | exists: complete, chunks inline     | created: complete, chunks inline
        Nothing Put       PutOther  | conflict: complete, chunks inline   | created: complete, chunks inline
        Nothing Put       TakeOver  | complete: complete, chunks inline   | new: pending, chunks none
        Nothing TakeOver  Put       | busy: pending, chunks none          | created: complete, chunks inline
    ")
    .await;
}

/// Two that take over.
#[tokio::test]
async fn two_writers_take_over() {
    run("
        Lapsed  TakeOver  TakeOver  | busy: pending, chunks 0             | resume: pending, chunks 0
        Lapsed  Restart   TakeOver  | busy: pending, chunks none          | resume: pending, chunks 0
        Lapsed  TakeOver  Restart   | busy: pending, chunks 0             | new: pending, chunks none
        Lapsed  Put       TakeOver  | complete: complete, chunks inline   | resume: pending, chunks 0
        Lapsed  TakeOver  Put       | busy: pending, chunks 0             | created: complete, chunks inline
    ")
    .await;
}

/// The old writer wakes up while somebody takes over.
#[tokio::test]
async fn a_writer_wakes_up_while_somebody_takes_over() {
    run("
        Lapsed  TakeOver  Chunk     | lease_lost: pending, chunks 0       | ok: pending, chunks 0*
        Lapsed  TakeOver  NextChunk | lease_lost: pending, chunks 0       | ok: pending, chunks 0 1*
        Lapsed  TakeOver  Renew     | lease_lost: pending, chunks 0       | ok: pending, chunks 0
        Lapsed  TakeOver  Commit    | lease_lost: pending, chunks 0       | ok: complete, chunks 0
        Lapsed  TakeOver  Abort     | lease_lost: pending, chunks 0       | ok: error, chunks none
        Lapsed  Restart   NextChunk | lease_lost: pending, chunks none    | ok: pending, chunks 0 1*
        Lapsed  Put       Commit    | lease_lost: complete, chunks inline | ok: complete, chunks 0
        Lapsed  Put       NextChunk | lease_lost: complete, chunks inline | ok: pending, chunks 0 1*
    ")
    .await;
}

/// Somebody takes over while the old writer is at work.
#[tokio::test]
async fn somebody_takes_over_while_the_writer_works() {
    run("
        Lapsed  Chunk     TakeOver  | busy: pending, chunks 0*            | resume: pending, chunks 0
        Lapsed  NextChunk TakeOver  | busy: pending, chunks 0 1*          | resume: pending, chunks 0
        Lapsed  NextChunk Restart   | busy: pending, chunks 0 1*          | new: pending, chunks none
        Lapsed  Renew     TakeOver  | busy: pending, chunks 0             | resume: pending, chunks 0
        Lapsed  Commit    TakeOver  | complete: complete, chunks 0        | resume: pending, chunks 0
        Lapsed  Commit    Put       | exists: complete, chunks 0          | created: complete, chunks inline
        Lapsed  Commit    PutOther  | conflict: complete, chunks 0        | created: complete, chunks inline
        Lapsed  Abort     TakeOver  | new: pending, chunks none           | resume: pending, chunks 0
    ")
    .await;
}

/// One writer whose calls cross, as after a timeout and a retry.
#[tokio::test]
async fn calls_of_one_writer_cross() {
    run("
        Live    Chunk     Chunk     | ok: pending, chunks 0*              | ok: pending, chunks 0*
        Live    NextChunk Chunk     | ok: pending, chunks 0* 1*           | ok: pending, chunks 0*
        Live    NextChunk NextChunk | ok: pending, chunks 0 1*            | ok: pending, chunks 0 1*
        Live    Chunk     Commit    | mismatch: pending, chunks 0*        | ok: complete, chunks 0
        Live    NextChunk Commit    | ok: complete, chunks 0              | ok: complete, chunks 0
        Live    Commit    Chunk     | lease_lost: complete, chunks 0      | ok: pending, chunks 0*
        Live    Commit    NextChunk | lease_lost: complete, chunks 0      | ok: pending, chunks 0 1*
        Live    Commit    Commit    | ok: complete, chunks 0              | ok: complete, chunks 0
        Live    Commit    Abort     | lease_lost: complete, chunks 0      | ok: error, chunks none
        Live    Chunk     Abort     | ok: error, chunks none              | ok: error, chunks none
        Live    NextChunk Abort     | ok: error, chunks none              | ok: error, chunks none
        Live    Abort     Chunk     | lease_lost: error, chunks none      | ok: pending, chunks 0*
        Live    Abort     Commit    | lease_lost: error, chunks none      | ok: complete, chunks 0
        Live    Begin     NextChunk | ok: pending, chunks 0 1*            | ok: pending, chunks 0 1*
        Live    NextChunk Begin     | resume: pending, chunks 0 1*        | resume: pending, chunks 0
    ")
    .await;
}

/// Deleting and purging.
#[tokio::test]
async fn delete_under_a_writer() {
    run("
        Live    Delete    NextChunk | lease_lost: nothing                 | ok: pending, chunks 0 1*
        Live    Delete    Commit    | lease_lost: nothing                 | ok: complete, chunks 0
        Live    Delete    Renew     | lease_lost: nothing                 | ok: pending, chunks 0
        Live    Delete    TakeOver  | new: pending, chunks none           | busy: pending, chunks 0
        Live    Delete    Put       | created: complete, chunks inline    | busy: pending, chunks 0
        Live    NextChunk Delete    | ok: nothing                         | ok: nothing
        Live    Chunk     Delete    | ok: nothing                         | ok: nothing
        Live    Commit    Delete    | ok: nothing                         | ok: nothing
        Live    Delete    Delete    | not_found: nothing                  | ok: nothing
        Lapsed  Purge     TakeOver  | new: pending, chunks none           | resume: pending, chunks 0
        Lapsed  Purge     NextChunk | lease_lost: nothing                 | ok: pending, chunks 0 1*
        Lapsed  Purge     Commit    | lease_lost: nothing                 | ok: complete, chunks 0
        Lapsed  Purge     Put       | created: complete, chunks inline    | created: complete, chunks inline
        Lapsed  Purge     Delete    | not_found: nothing                  | ok: nothing
    ")
    .await;
}

/// It never waits, and takes nothing that somebody works on.
#[tokio::test]
async fn purge() {
    run("
        Lapsed  NextChunk Purge     | ok: pending, chunks 0 1*            | ok: pending, chunks 0
        Lapsed  TakeOver  Purge     | ok: pending, chunks 0               | ok: pending, chunks 0
        Lapsed  Commit    Purge     | ok: complete, chunks 0              | ok: pending, chunks 0
        Lapsed  Purge     Purge     | ok: nothing                         | ok: pending, chunks 0
    ")
    .await;
}

async fn run(table: &str) {
    let races: Vec<Race> = table.trim().lines().map(race).collect();
    let mut arena = Arena::new().await;
    let mut cells = Cells::default();
    for (before, first, second, outcomes) in &races {
        for (keep, (told, left)) in [true, false].into_iter().zip(outcomes) {
            arena.prepare(*before).await;
            let (told_first, told_second, waited) = arena.race(*first, *second, keep).await;
            let case = || {
                format!(
                    "{before:?}: {first:?} ({}), then {second:?}, kept: {keep}",
                    told_first.body
                )
            };
            cells.check(told_first.status == "200", case);
            cells.equal(&told_second.word(), told, || {
                format!("{}: {}", case(), told_second.body)
            });
            cells.equal(&arena.left().await, left, case);
            cells.check(*second != Purge || !waited, || {
                format!("{}: a purge waits", case())
            });
        }
    }
    cells.judge(8 * races.len());
}

/// A line of a table.
fn race(line: &str) -> Race {
    let (steps, outcomes) = line.split_once('|').unwrap();
    let steps: Vec<&str> = steps.split_whitespace().collect();
    let named = |name: &str| {
        *Step::ALL
            .iter()
            .find(|step| format!("{step:?}") == name)
            .unwrap()
    };
    let before = [Nothing, Live, Lapsed]
        .into_iter()
        .find(|before| format!("{before:?}") == steps[0]);
    let outcomes = outcomes.split('|').map(|outcome| {
        let (told, left) = outcome.split_once(':').unwrap();
        (told.trim().to_owned(), left.trim().to_owned())
    });
    (
        before.unwrap(),
        named(steps[1]),
        named(steps[2]),
        outcomes.collect(),
    )
}
