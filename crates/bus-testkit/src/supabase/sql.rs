//! Connections to PostgreSQL, and errors that say what the server said.

use super::background;
use anyhow::{Context, Result};
use std::time::Duration;
use tokio_postgres::{Client, Config, NoTls};

/// A connection without TLS or password; its task runs on the kit's runtime.
pub(crate) async fn connect(port: u16, database: &str, user: &str) -> Result<Client> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user(user)
        .dbname(database);
    config
        .connect_timeout(Duration::from_secs(10))
        .application_name("bus-testkit");
    let (client, connection) = background::here(async move { Ok(config.connect(NoTls).await?) })
        .await
        .with_context(|| format!("connecting to database {database} on port {port}"))?;
    background::runtime().spawn(connection);
    Ok(client)
}

/// Runs a batch; the error says what the server said.
pub(crate) async fn batch(client: &Client, statements: &str) -> Result<()> {
    client
        .batch_execute(statements)
        .await
        .map_err(|error| explain(&error, statements))
}

/// tokio-postgres' own message is only "db error".
pub(crate) fn explain(error: &tokio_postgres::Error, statements: &str) -> anyhow::Error {
    let Some(server) = error.as_db_error() else {
        return anyhow::anyhow!("{error:?}");
    };
    let line = match server.position() {
        Some(tokio_postgres::error::ErrorPosition::Original(at)) => {
            let before = statements.chars().take(*at as usize);
            format!(" at line {}", 1 + before.filter(|&c| c == '\n').count())
        }
        _ => String::new(),
    };
    let place = server
        .where_()
        .map(|place| format!("\n{place}"))
        .unwrap_or_default();
    let detail = server
        .detail()
        .map(|detail| format!(": {detail}"))
        .unwrap_or_default();
    anyhow::anyhow!(
        "{} ({}){line}{detail}{place}",
        server.message(),
        server.code().code()
    )
}

/// An identifier, as SQL wants it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
