//! What the database itself refuses: statements that take too long, locks, deadlocks, sessions that are ended.

use std::time::Duration;

use bus_store::{Store, StoreError, StoreErrorKind as Kind, UploadToken};
use bus_testkit::{Project, Server};

use crate::kit::{Body, PATIENT, Rig, begin_new, message, send, store};

/// A message that is pending with two of its three chunks.
struct Pending {
    new: bus_store::NewMessage,
    body: Body,
    token: UploadToken,
}

impl Pending {
    async fn new(rig: &Rig, name: &str) -> Self {
        let (new, body) = (message(name), Body::of(3, 1));
        let token = begin_new(rig.direct.as_ref(), &new).await.token;
        send(rig.direct.as_ref(), &token, &body, 0..2).await;
        Self { new, body, token }
    }

    async fn chunk(&self, store: &dyn Store) -> Result<(), StoreError> {
        store
            .put_chunk(&self.token, 2, self.body.chunks[2].clone())
            .await
    }

    /// The rest; nothing that happened before shows.
    async fn finish(self, rig: &Rig) {
        rig.absent(&self.new.key, &self.body).await;
        self.chunk(rig.store.as_ref()).await.unwrap();
        rig.store
            .commit(&self.token, &self.body.manifest)
            .await
            .unwrap();
        rig.whole(&self.new.key, &self.body).await;
    }

    fn row(&self) -> String {
        format!("id = '{}'", self.token.id)
    }
}

/// A session that begins a transaction and runs `$sql` in it; what it holds is free once it is dropped or told so.
macro_rules! holding {
    ($rig:expr, $sql:expr) => {{
        let client = $rig.project.connect().await.unwrap();
        client
            .batch_execute(&format!("begin; {}", $sql))
            .await
            .unwrap();
        client
    }};
}

/// Waits until a statement of the server waits for a lock.
async fn somebody_waits(rig: &Rig) {
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    let wait = async {
        while rig.number(waiting).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENT, wait)
        .await
        .expect("a statement waits for the lock");
}

/// A setting of every session of the server in this database.
async fn set(rig: &mut Rig, setting: &str) {
    let database = rig.project.database();
    let sql = format!("alter database \"{database}\" set {setting}");
    let client = rig.project.connect().await.unwrap();
    client
        .batch_execute("set default_transaction_read_only = off")
        .await
        .unwrap();
    client.batch_execute(&sql).await.unwrap();
    rig.project.restart_server().await.unwrap();
}

fn tells_of_the_time_limit(rig: &Rig, result: Result<(), StoreError>) {
    let error = rig.failed(result, Kind::Timeout);
    assert!(
        !error.is_transient(),
        "the same statement would take as long again"
    );
    assert!(error.to_string().contains("statement timeout"), "{error}");
}

/// A chunk and a put that run into the time limit, since somebody holds what they need.
async fn statements_time_out(rig: &Rig) {
    let pending = Pending::new(rig, "pending").await;
    let holder = holding!(
        rig,
        format!(
            "select from public.message_bus where {} for update",
            pending.row()
        )
    );
    tells_of_the_time_limit(rig, pending.chunk(rig.store.as_ref()).await);
    let commit = rig
        .store
        .commit(&pending.token, &pending.body.manifest)
        .await;
    tells_of_the_time_limit(rig, commit.map(drop));
    holder
        .batch_execute("rollback; begin; lock table public.message_bus")
        .await
        .unwrap();
    let (new, body) = (message("put"), Body::of(1, 2));
    let put = rig.store.put(&new, &body.manifest, &body.chunks).await;
    tells_of_the_time_limit(rig, put.map(drop));
    tells_of_the_time_limit(rig, rig.store.open(&new.key).await.map(drop));
    holder.batch_execute("rollback").await.unwrap();
    rig.absent(&new.key, &body).await;
    pending.finish(rig).await;
    rig.works("afterwards").await;
}

#[tokio::test]
async fn a_statement_timeout_of_lite_is_told_as_such() {
    let mut rig = Rig::own(Server::Lite).await;
    let database = rig.project.database();
    let sql = format!("alter role lite in database \"{database}\" set statement_timeout = '400ms'");
    rig.project.sql(&sql).await.unwrap();
    rig.project.restart_server().await.unwrap();
    statements_time_out(&rig).await;
}

/// With a role that has a limit of its own, which takes a cluster of its own.
#[tokio::test]
async fn a_statement_timeout_of_a_role_is_told_as_such() {
    let mut rig = Rig::on(
        Project::own_postgres(Server::Postrust).await.unwrap(),
        PATIENT,
    )
    .await;
    let role = "create role hasty nologin inherit bypassrls;
        grant service_role to hasty; grant hasty to authenticator;
        grant usage on schema public to hasty;
        alter role authenticator set statement_timeout = '400ms'";
    rig.project.sql(role).await.unwrap();
    rig.project.restart_server().await.unwrap();
    let jwt = rig.project.jwt("hasty", None, chrono::TimeDelta::hours(1));
    rig.store = store(crate::kit::config(&rig.proxy.url(), &jwt, PATIENT));
    statements_time_out(&rig).await;
}

/// Two that wait for each other: one is told to try again, and then it works.
#[tokio::test]
async fn a_deadlock_is_contention_that_may_be_tried_again() {
    let rig = Rig::own(Server::Postrust).await;
    let pending = Pending::new(&rig, "pending").await;
    // The same place, not committed yet: the chunk waits for it, and then it waits for what the chunk holds.
    let place = format!(
        "set local deadlock_timeout = '60s';
        insert into public.message_bus_chunks
        select message_id, 2, stored_bytes, sha256, body from public.message_bus_chunks
        where seq = 1 and message_id = '{}'",
        pending.token.id
    );
    let holder = holding!(rig, place);
    let then = async {
        somebody_waits(&rig).await;
        let all = format!(
            "select from public.message_bus where {} for update",
            pending.row()
        );
        holder.batch_execute(&all).await
    };
    let (chunk, held) = tokio::join!(pending.chunk(rig.store.as_ref()), then);
    held.unwrap();
    let error = rig.transient(chunk, Kind::Contended);
    assert!(error.to_string().contains("try again"), "{error}");
    holder.batch_execute("rollback").await.unwrap();
    pending.finish(&rig).await;
    rig.works("afterwards").await;
}

/// One project through what else a session may meet: limits of locks, another isolation, an end, no room, read only.
#[tokio::test]
async fn what_sessions_meet_is_told_by_its_kind() {
    let mut rig = Rig::own(Server::Postrust).await;
    let locked = |pending: &Pending| {
        format!(
            "update public.message_bus set lease_ms = lease_ms where {}",
            pending.row()
        )
    };

    set(&mut rig, "lock_timeout = '200ms'").await;
    let pending = Pending::new(&rig, "lock-timeout").await;
    let holder = holding!(rig, locked(&pending));
    let error = rig.transient(pending.chunk(rig.store.as_ref()).await, Kind::Contended);
    assert!(error.to_string().contains("try again"), "{error}");
    holder.batch_execute("rollback").await.unwrap();
    pending.finish(&rig).await;

    set(&mut rig, "lock_timeout = 0").await;
    set(
        &mut rig,
        "default_transaction_isolation = 'repeatable read'",
    )
    .await;
    let pending = Pending::new(&rig, "isolation").await;
    let holder = holding!(rig, locked(&pending));
    let commit = async {
        somebody_waits(&rig).await;
        holder.batch_execute("commit").await
    };
    let chunk = pending.chunk(rig.store.as_ref());
    let (chunk, held) = tokio::join!(chunk, commit);
    held.unwrap();
    rig.transient(chunk, Kind::Contended);
    set(&mut rig, "default_transaction_isolation = 'read committed'").await;
    pending.finish(&rig).await;
    rig.works("afterwards").await;
}

/// An administrator ends the session of a call.
#[tokio::test]
async fn a_session_that_is_ended_is_a_fault_of_the_way() {
    let rig = Rig::own(Server::Postrust).await;
    let pending = Pending::new(&rig, "ended").await;
    let holder = holding!(
        rig,
        format!(
            "select from public.message_bus where {} for update",
            pending.row()
        )
    );
    let end = async {
        somebody_waits(&rig).await;
        rig.number(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'",
        )
        .await
    };
    let (chunk, ended) = tokio::join!(pending.chunk(rig.store.as_ref()), end);
    assert!(ended > 0);
    rig.transient(chunk, Kind::Unavailable);
    holder.batch_execute("rollback").await.unwrap();
    pending.finish(&rig).await;
    rig.works("afterwards").await;
}

/// As Supabase does to a project whose space is used up.
#[tokio::test]
async fn a_database_that_may_only_be_read_is_left_alone_and_still_read() {
    let mut rig = Rig::own(Server::Postrust).await;
    let body = Body::of(2, 9);
    let key = crate::kit::publish(rig.direct.as_ref(), "there", &body).await;
    let pending = Pending::new(&rig, "pending").await;
    set(&mut rig, "default_transaction_read_only = on").await;
    let error = rig.failed(pending.chunk(rig.store.as_ref()).await, Kind::Unavailable);
    assert!(
        !error.is_transient() && error.retry_after().is_some(),
        "{error:?}"
    );
    assert!(error.to_string().contains("enlarge its disk"), "{error}");
    rig.failed(rig.store.begin(&message("new")).await, Kind::Unavailable);
    assert!(rig.visible(&key, &body).await, "it may still be read");
    set(&mut rig, "default_transaction_read_only = off").await;
    pending.finish(&rig).await;
    rig.works("afterwards").await;
}
