//! The slots of the shared stack: whoever holds one has a database and its server for itself.

use super::background;
use super::children::{Life, Process};
use super::schema::{self, Migrations};
use super::server::{self, Plan, Server};
use super::sql::{batch, connect};
use super::stack::{self, Stack};
use crate::free_port;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Slots of each server: as many tests at once, of all processes. A slot is made when it is first needed.
const SLOTS: i32 = 6;

/// Shorter than a test may take (300 s, .config/nextest.toml), so that whoever waits in vain can say so.
const WAIT_LIMIT: Duration = Duration::from_secs(240);

/// A slot that is ours until the lock's connection is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) plan: Plan,
    /// Of the server.
    pub(crate) pid: u32,
    /// The connection that holds the advisory lock.
    lock: Option<Client>,
}

impl Slot {
    /// Gives it back now. Without this PostgreSQL does so soon, once it sees that the connection is closed; but
    /// whoever asks before that gets another slot, which may have to be made.
    pub(crate) fn give_back(&mut self) {
        if let Some(lock) = self.lock.take() {
            background::finish(Duration::from_secs(1), async move {
                let _ = lock.batch_execute("select pg_advisory_unlock_all()").await;
            });
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    port: u16,
    process: Process,
    /// Which migrations its database has.
    digest: String,
}

/// Waits for a free slot, brings it up to date and empties it.
pub(crate) async fn take(stack: &Stack, server: Server) -> Result<Slot> {
    let migrations = Migrations::read()?;
    let admin = connect(stack.port, "postgres", "postgres").await?;
    let number = lock_one(&admin, server).await?;
    let name = format!("{}_{number}", server.name());
    let file = stack.folder.join("slots").join(format!("{name}.json"));
    let mut plan = Plan {
        server,
        postgres_port: stack.port,
        database: name.clone(),
        folder: stack.folder.join("slots").join(&name),
        port: 0,
        life: Life::Detached,
    };
    let state = read(&file);
    let current = state
        .as_ref()
        .filter(|state| state.digest == migrations.digest());
    let process = match current {
        Some(state) if state.process.alive() => {
            plan.port = state.port;
            state.process
        }
        current => {
            let keeps_database = current.is_some();
            if let Some(state) = &state {
                state.process.signal("KILL");
            }
            prepare(&admin, &mut plan, keeps_database, &migrations).await?;
            start(stack, &plan, &file, &migrations).await?
        }
    };
    let client = connect(stack.port, &name, "postgres").await?;
    schema::empty(&client).await?;
    Ok(Slot {
        plan,
        pid: process.pid,
        lock: Some(admin),
    })
}

async fn prepare(
    admin: &Client,
    plan: &mut Plan,
    keeps: bool,
    migrations: &Migrations,
) -> Result<()> {
    if !keeps || !schema::exists(admin, &plan.database).await? {
        schema::remove(admin, &plan.database).await?;
        schema::create(plan.postgres_port, &plan.database, migrations).await?;
    }
    plan.port = free_port()?;
    Ok(())
}

async fn start(
    stack: &Stack,
    plan: &Plan,
    file: &Path,
    migrations: &Migrations,
) -> Result<Process> {
    fs::create_dir_all(&plan.folder)?;
    let child = server::start(plan, migrations).await?;
    let process = Process::of(child.id())?;
    stack::note_process(
        &stack.folder,
        &format!("server-{}", plan.database),
        process,
        "KILL",
    )?;
    let state = State {
        port: plan.port,
        process,
        digest: migrations.digest().to_owned(),
    };
    // Last: a slot without a state is made anew.
    fs::write(file, serde_json::to_vec(&state)?)?;
    Ok(process)
}

async fn lock_one(admin: &Client, server: Server) -> Result<i32> {
    let class = match server {
        Server::Lite => 25_206,
        Server::Postrust => 25_207,
    };
    let start = Instant::now();
    loop {
        for number in 0..SLOTS {
            let ask = format!("select pg_try_advisory_lock({class}, {number})");
            if admin.query_one(&ask, &[]).await?.get(0) {
                return Ok(number);
            }
        }
        if start.elapsed() > WAIT_LIMIT {
            bail!(
                "all {SLOTS} slots of {} were taken for {WAIT_LIMIT:?}",
                server.name()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn read(file: &Path) -> Option<State> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// Removes the databases of tests that were killed; makes one of our own, whose lock the connection holds.
pub(crate) async fn own_database(port: u16, name: &str, migrations: &Migrations) -> Result<Client> {
    let admin = connect(port, "postgres", "postgres").await?;
    batch(
        &admin,
        &format!("select pg_advisory_lock(25208, hashtext('{name}'))"),
    )
    .await?;
    let stale = admin
        .query(
            "select datname from pg_database
             where datname like 'own\\_%' and pg_try_advisory_lock(25208, hashtext(datname))",
            &[],
        )
        .await?;
    for row in stale {
        let database: &str = row.get(0);
        schema::remove(&admin, database).await?;
        batch(
            &admin,
            &format!("select pg_advisory_unlock(25208, hashtext('{database}'))"),
        )
        .await?;
    }
    schema::create(port, name, migrations).await?;
    Ok(admin)
}
