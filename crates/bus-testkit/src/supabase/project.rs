//! A project: what a hosted one gives its user, made of real servers on this machine.

use super::background;
use super::children::Life;
use super::gateway::{Database, Gateway, Rules};
use super::keys::{self, PUBLISHABLE_KEY, SECRET_KEY};
use super::place::OwnFolder;
use super::postgres::Postgres;
use super::schema::{self, HOSTED_ROLES, Migrations};
use super::server::{self, Plan, Server};
use super::slots::{self, Slot};
use super::sql::batch;
use super::stack::Stack;
use crate::free_port;
use anyhow::{Result, bail};
use chrono::TimeDelta;
use std::net::SocketAddr;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_postgres::Client;

/// Like one hosted project: a database with all our migrations, one REST server, the gateway's address and keys.
#[derive(Debug)]
pub struct Project {
    url: String,
    database_url: String,
    plan: Plan,
    gateway: Gateway,
    postgres: Arc<Postgres>,
    held: Held,
}

/// What ends with the project.
#[derive(Debug)]
enum Held {
    /// A slot of the shared stack goes back.
    Slot { slot: Slot },
    /// A server and a database of our own go away.
    Own {
        server: Option<Child>,
        /// Holds the database's lock; none where the whole cluster goes.
        database: Option<Client>,
        migrations: Migrations,
        _folder: OwnFolder,
    },
}

impl Project {
    /// A project of the shared stack, emptied (all tables of `public`), ours alone until dropped or until the process
    /// ends. Its schema, grants and server must stay as they are.
    ///
    /// The stack is started where it does not run.
    ///
    /// # Errors
    /// Where something is not installed (the message says how to), or does not start (with its log).
    pub async fn take(server: Server) -> Result<Self> {
        let stack = Stack::get().await?;
        background::here(async move {
            let slot = slots::take(stack, server).await?;
            let plan = slot.plan.clone();
            let postgres = Arc::new(stack.postgres()?);
            Self::assemble(plan, postgres, Held::Slot { slot }, 0).await
        })
        .await
    }

    /// A database and a REST server of its own on the shared PostgreSQL: its schema and grants may be broken.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub async fn own(server: Server) -> Result<Self> {
        Self::own_at(server, 0).await
    }

    /// As [`Self::own`], with the gateway on this port (0: a free one).
    ///
    /// # Errors
    /// As [`Self::take`]; also where the port is taken.
    pub async fn own_at(server: Server, port: u16) -> Result<Self> {
        let stack = Stack::get().await?;
        background::here(async move {
            let migrations = Migrations::read()?;
            let name = own_name();
            let lock = slots::own_database(stack.port, &name, &migrations).await?;
            let postgres = Arc::new(stack.postgres()?);
            Self::with_server(server, postgres, name, Some(lock), migrations, port).await
        })
        .await
    }

    /// The same on a PostgreSQL of its own, which may be killed and started again.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub async fn own_postgres(server: Server) -> Result<Self> {
        Self::on(server, Postgres::options().start().await?).await
    }

    /// The same on this PostgreSQL, which was made with other options; it needs no roles yet.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub async fn on(server: Server, postgres: Postgres) -> Result<Self> {
        background::here(async move {
            let migrations = Migrations::read()?;
            postgres.sql("postgres", HOSTED_ROLES).await?;
            schema::create(postgres.port(), "project", &migrations).await?;
            let postgres = Arc::new(postgres);
            Self::with_server(server, postgres, "project".to_owned(), None, migrations, 0).await
        })
        .await
    }

    async fn with_server(
        server: Server,
        postgres: Arc<Postgres>,
        database: String,
        lock: Option<Client>,
        migrations: Migrations,
        port: u16,
    ) -> Result<Self> {
        let folder = OwnFolder::new()?;
        let plan = Plan {
            server,
            postgres_port: postgres.port(),
            database,
            folder: folder.path().to_path_buf(),
            port: free_port()?,
            life: Life::WithUs("KILL"),
        };
        let child = server::start(&plan, &migrations).await?;
        let held = Held::Own {
            server: Some(child),
            database: lock,
            migrations,
            _folder: folder,
        };
        Self::assemble(plan, postgres, held, port).await
    }

    async fn assemble(plan: Plan, postgres: Arc<Postgres>, held: Held, port: u16) -> Result<Self> {
        let rules = match plan.server {
            Server::Lite => Rules::Open,
            Server::Postrust => Rules::Hosted,
        };
        let database = Database::new(plan.postgres_port, &plan.database);
        let gateway = Gateway::start(port, plan.addr(), rules, database).await?;
        Ok(Self {
            url: format!("http://{}", gateway.addr()),
            database_url: postgres.url(&plan.database),
            plan,
            gateway,
            postgres,
            held,
        })
    }

    /// The value for `SUPABASE_URL`; REST is under `{url}/rest/v1`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the gateway listens, for a proxy in front of it.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.gateway.addr()
    }

    /// The gateway: counts, and answers that no server gives.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The REST server itself, behind the gateway. Postrust serves at its root there, and asks for a JWT.
    #[must_use]
    pub fn server_addr(&self) -> SocketAddr {
        self.plan.addr()
    }

    /// `sb_secret_...`: the service role.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        SECRET_KEY
    }

    /// `sb_publishable_...`: anon.
    #[must_use]
    pub fn publishable_key(&self) -> &str {
        PUBLISHABLE_KEY
    }

    /// The legacy key of the service role, a JWT.
    #[must_use]
    pub fn service_jwt(&self) -> String {
        self.jwt("service_role", None, TimeDelta::days(3650))
    }

    /// The legacy key of anon, a JWT.
    #[must_use]
    pub fn anon_jwt(&self) -> String {
        self.jwt("anon", None, TimeDelta::days(3650))
    }

    /// The token of a signed-in user, valid for an hour.
    #[must_use]
    pub fn user_jwt(&self, sub: &str) -> String {
        self.jwt("authenticated", Some(sub), TimeDelta::hours(1))
    }

    /// Any JWT of this project; `expires_in` may be negative.
    #[must_use]
    pub fn jwt(&self, role: &str, sub: Option<&str>, expires_in: TimeDelta) -> String {
        keys::jwt(role, sub, expires_in)
    }

    /// `postgres://`, as superuser, straight to the database.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The name of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.plan.database
    }

    /// Runs statements straight in the database, as superuser, in one transaction.
    ///
    /// # Errors
    /// With the first error of the server.
    pub async fn sql(&self, statements: &str) -> Result<()> {
        batch(&self.connect().await?, statements).await
    }

    /// A connection straight to the database, as superuser.
    ///
    /// # Errors
    /// Where PostgreSQL is down.
    pub async fn connect(&self) -> Result<Client> {
        self.postgres.connect(&self.plan.database).await
    }

    /// Its PostgreSQL. Only that of [`Self::own_postgres`] can be stopped.
    #[must_use]
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The process id of the REST server, to measure its memory.
    #[must_use]
    pub fn server_pid(&self) -> Option<u32> {
        match &self.held {
            Held::Own { server, .. } => server.as_ref().map(Child::id),
            Held::Slot { slot } => Some(slot.pid),
        }
    }

    /// Ends the REST server with SIGKILL; the gateway goes on and answers 502.
    ///
    /// # Errors
    /// Where the server is of the shared stack.
    pub async fn stop_server(&mut self) -> Result<()> {
        let Held::Own { server, .. } = &mut self.held else {
            bail!("this server is shared: take Project::own to stop one");
        };
        if let Some(mut child) = server.take() {
            child.kill()?;
            background::blocking(move || Ok(child.wait()?)).await?;
        }
        Ok(())
    }

    /// Ends the REST server with SIGKILL, and starts it again on its port. It has read the schema anew.
    ///
    /// On lite the migrations run once more, which take back what it grants.
    ///
    /// # Errors
    /// Where the server is of the shared stack, or does not start (with its log).
    pub async fn restart_server(&mut self) -> Result<()> {
        self.stop_server().await?;
        let plan = self.plan.clone();
        if let Held::Own {
            server, migrations, ..
        } = &mut self.held
        {
            let migrations = migrations.clone();
            let child = background::here(async move { server::start(&plan, &migrations).await });
            *server = Some(child.await?);
        }
        Ok(())
    }

    /// The end of the server's log.
    #[must_use]
    pub fn server_log(&self) -> String {
        server::log_of(&self.plan.folder)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let (server, database) = match &mut self.held {
            Held::Slot { slot } => return slot.give_back(),
            Held::Own {
                server, database, ..
            } => (server, database),
        };
        if let Some(mut child) = server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(admin) = database.take() {
            let name = self.plan.database.clone();
            background::finish(Duration::from_secs(10), async move {
                // What stays is removed by the next one.
                let _ = schema::remove(&admin, &name).await;
            });
        }
    }
}

fn own_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("own_{}_{number}", std::process::id())
}
