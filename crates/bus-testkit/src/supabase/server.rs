//! The REST servers: one process for one database, of a program that others wrote.

use super::background;
use super::children::{self, Life, Process};
use super::keys::SECRET_KEY;
use super::schema::Migrations;
use super::sql::connect;
use super::{lite, postrust};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const START_LIMIT: Duration = Duration::from_secs(60);

/// Which server answers `/rest/v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// `@supabase/lite`, from npm: Supabase's own small one.
    Lite,
    /// `postrust`, behind the kit's gateway: the closest stand-in for a hosted project.
    Postrust,
}

impl Server {
    /// Both, for tables of cases.
    pub const ALL: [Self; 2] = [Self::Lite, Self::Postrust];

    /// As it is called in names of files and databases.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lite => "lite",
            Self::Postrust => "postrust",
        }
    }
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) server: Server,
    pub(crate) postgres_port: u16,
    pub(crate) database: String,
    /// Its configuration and log.
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    pub(crate) life: Life,
}

impl Plan {
    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}

/// Starts a server and waits until it answers with the rights that the migrations gave, and no others.
pub(crate) async fn start(plan: &Plan, migrations: &Migrations) -> Result<Child> {
    let starting = plan.clone();
    let child = background::blocking(move || launch(&starting)).await?;
    let process = Process::of(child.id());
    wait_until_ready(plan, process.with_context(|| fault(plan))?).await?;
    if plan.server == Server::Lite {
        // Its first request granted everything to everybody. This is what takes it back.
        let client = connect(plan.postgres_port, &plan.database, "postgres").await?;
        migrations.apply(&client).await?;
    }
    Ok(child)
}

fn launch(plan: &Plan) -> Result<Child> {
    fs::create_dir_all(&plan.folder)
        .with_context(|| format!("making {}", plan.folder.display()))?;
    let command: Command = match plan.server {
        Server::Lite => lite::command(plan)?,
        Server::Postrust => postrust::command(plan)?,
    };
    children::start(&command, None, plan.life, &plan.log())
}

async fn wait_until_ready(plan: &Plan, process: Process) -> Result<()> {
    let path = match plan.server {
        Server::Lite => lite::PROBE,
        Server::Postrust => postrust::PROBE,
    };
    let start = Instant::now();
    loop {
        match status(plan.addr(), path).await {
            Ok(code) if code < 500 => return Ok(()),
            _ if !process.alive() => bail!("{}", fault(plan)),
            _ if start.elapsed() > START_LIMIT => bail!("{}", fault(plan)),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn fault(plan: &Plan) -> String {
    let tail = children::tail(&plan.log());
    format!(
        "{} did not start for {}:\n{tail}",
        plan.server.name(),
        plan.database
    )
}

/// The status of a GET, read from the first line of the answer.
async fn status(addr: SocketAddr, path: &str) -> Result<u16> {
    let ask = async {
        let mut stream = TcpStream::connect(addr).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\napikey: {SECRET_KEY}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let line = String::from_utf8_lossy(&answer);
        let code = line
            .split(' ')
            .nth(1)
            .context("an answer without a status")?;
        anyhow::Ok(code.parse()?)
    };
    tokio::time::timeout(Duration::from_secs(10), ask).await?
}

/// A log of a server, for whoever looks at a failure.
pub(crate) fn log_of(folder: &Path) -> String {
    children::tail(&folder.join("server.log"))
}
