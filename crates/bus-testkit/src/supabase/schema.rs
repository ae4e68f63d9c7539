//! What a project's database holds: the roles and rights of a hosted one, and our migrations.

use super::sql::{batch, connect, explain, quoted};
use crate::{repo_root, sha256_hex};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// The roles of hosted Supabase with its statement timeouts; once a cluster.
///
/// `lite` is how @supabase/lite logs in: it knows no timeout of a role, so its own role has one.
pub const HOSTED_ROLES: &str = "
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
create role lite login superuser;
alter role lite set statement_timeout = '8s';
";

/// What a hosted project grants on its own in each database: everything in `public`, to everybody. A migration that
/// forgets to revoke shows here.
pub const HOSTED_RIGHTS: &str = "
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
";

/// Held while a template is made or copied: PostgreSQL copies only what nobody is connected to.
const TEMPLATES: &str = "select pg_advisory_lock(25205, 1)";

/// The forward steps of the repository, as they are now.
#[derive(Debug, Clone)]
pub struct Migrations {
    steps: Vec<(PathBuf, String)>,
    digest: String,
}

impl Migrations {
    /// Reads `migrations/<timestamp>_<name>.sql`, in order.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn read() -> Result<Self> {
        let folder = repo_root().join("migrations");
        let entries =
            fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        paths.retain(|path| is_step(path));
        paths.sort();
        let mut steps = Vec::new();
        let mut all = format!("{HOSTED_ROLES}{HOSTED_RIGHTS}");
        for path in paths {
            let text =
                fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            all.push_str(&text);
            steps.push((path, text));
        }
        let digest = sha256_hex(all.as_bytes())[..12].to_owned();
        Ok(Self { steps, digest })
    }

    /// Names this set of steps: another text of any of them is another digest.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Each step's file and text, in order.
    #[must_use]
    pub fn steps(&self) -> &[(PathBuf, String)] {
        &self.steps
    }

    /// Runs every step, each in a transaction. They may run again on what they made.
    ///
    /// # Errors
    /// With the file, the line and what the server said.
    pub async fn apply(&self, client: &Client) -> Result<()> {
        for (path, text) in &self.steps {
            let done = client.batch_execute(text).await;
            done.map_err(|error| explain(&error, text))
                .with_context(|| format!("applying {}", path.display()))?;
        }
        Ok(())
    }
}

fn is_step(path: &std::path::Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.ends_with(".sql")
        && name.split('_').next().is_some_and(|stamp| {
            stamp.len() == 14 && stamp.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// Makes the database `name` with all migrations, from a template that is made once for each text of them.
pub(crate) async fn create(port: u16, name: &str, migrations: &Migrations) -> Result<()> {
    let admin = connect(port, "postgres", "postgres").await?;
    batch(&admin, TEMPLATES).await?;
    let template = format!("template_{}", migrations.digest());
    if !exists(&admin, &template).await? {
        make_template(port, &admin, &template, migrations).await?;
    }
    batch(
        &admin,
        &format!(
            "create database {} template {}",
            quoted(name),
            quoted(&template)
        ),
    )
    .await
}

/// Removes the database `name`, whoever uses it.
pub(crate) async fn remove(admin: &Client, name: &str) -> Result<()> {
    batch(
        admin,
        &format!("drop database if exists {} with (force)", quoted(name)),
    )
    .await
}

async fn make_template(
    port: u16,
    admin: &Client,
    name: &str,
    migrations: &Migrations,
) -> Result<()> {
    // Templates of earlier texts are not needed any more; whoever still wants one makes it again.
    let old = admin
        .query(
            "select datname from pg_database where datname like 'template\\_%'",
            &[],
        )
        .await?;
    for row in old {
        remove(admin, row.get(0)).await?;
    }
    // Under another name until it is whole.
    let draft = format!("draft_{}", migrations.digest());
    remove(admin, &draft).await?;
    batch(admin, &format!("create database {}", quoted(&draft))).await?;
    let client = connect(port, &draft, "postgres").await?;
    batch(&client, HOSTED_RIGHTS).await?;
    migrations.apply(&client).await?;
    drop(client);
    wait_until_unused(admin, &draft).await?;
    let rename = format!(
        "alter database {} rename to {}",
        quoted(&draft),
        quoted(name)
    );
    batch(admin, &rename).await
}

async fn wait_until_unused(admin: &Client, database: &str) -> Result<()> {
    let used = "select count(*) from pg_stat_activity where datname = $1";
    let start = Instant::now();
    while admin.query_one(used, &[&database]).await?.get::<_, i64>(0) > 0 {
        if start.elapsed() > Duration::from_secs(10) {
            bail!("somebody stays connected to {database}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

pub(crate) async fn exists(admin: &Client, database: &str) -> Result<bool> {
    let found = admin
        .query_opt("select from pg_database where datname = $1", &[&database])
        .await?;
    Ok(found.is_some())
}

/// Empties every table of `public`, once nothing of an earlier user is under way any more.
pub(crate) async fn empty(client: &Client) -> Result<()> {
    settle(client).await?;
    batch(
        client,
        "do $$
        declare
          tables text := (select string_agg(format('%I.%I', schemaname, tablename), ', ')
            from pg_catalog.pg_tables where schemaname = 'public');
        begin
          if tables is not null then
            execute 'truncate ' || tables || ' restart identity cascade';
          end if;
        end $$",
    )
    .await
    .context("emptying the tables")
}

/// Waits until no other session works in this database; ends those that go on.
async fn settle(client: &Client) -> Result<()> {
    let busy = "select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
          and backend_type = 'client backend' and state not in ('idle', 'disabled')";
    let start = Instant::now();
    while client.query_one(busy, &[]).await?.get::<_, i64>(0) > 0 {
        if start.elapsed() > Duration::from_secs(2) {
            let end = "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid()
                  and backend_type = 'client backend' and state <> 'idle'";
            client.query(end, &[]).await?;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
