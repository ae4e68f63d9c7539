//! A connection: made, asked by the simple protocol only, and listened to.
//!
//! The simple protocol needs no named statements, so it works behind a pooler that gives each transaction another
//! server connection.

use std::{error::Error as _, future::poll_fn, io, time::Duration};

use tokio::{sync::mpsc, time::timeout};
use tokio_postgres::{
    AsyncMessage, Client, Error, SimpleQueryMessage, SimpleQueryRow, error::SqlState,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{DatabaseUrl, MigrateError, error::cause, tls};

/// Names, addresses and handshakes together may take this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the server said beside its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) severity: String,
    pub(crate) message: String,
}

/// An open connection to one database. Dropping it ends what was going on; the server takes an unfinished step back.
pub struct Database {
    pub(crate) client: Client,
    notices: mpsc::UnboundedReceiver<Notice>,
    server: String,
    user: String,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Connects, which may take 20 s.
    ///
    /// # Errors
    /// Where nobody answers, TLS fails, or the server does not let the user in.
    pub async fn connect(url: &DatabaseUrl) -> Result<Self, MigrateError> {
        let (mode, path) = (url.tls, url.root_certificates.clone());
        let connector = tokio::task::spawn_blocking(move || tls::connector(mode, path.as_deref()))
            .await
            .map_err(|error| unreachable(url, "the program is ending", Some(error.into())))??;
        match timeout(PATIENCE, Self::open(url, connector)).await {
            Ok(opened) => opened.map_err(|error| connect_error(url, error)),
            Err(_) => Err(unreachable(
                url,
                "it took the connection but did not answer within 20 s",
                None,
            )),
        }
    }

    async fn open(url: &DatabaseUrl, connector: MakeRustlsConnect) -> Result<Self, Error> {
        let (client, mut connection) = url.config.connect(connector).await?;
        let (sender, notices) = mpsc::unbounded_channel();
        // Ends with the client, or with the connection.
        tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notice(notice)) => {
                        let severity = notice.severity().to_owned();
                        let message = notice.message().to_owned();
                        // Nobody listens any more: then nobody misses it.
                        let _ = sender.send(Notice { severity, message });
                    }
                    Ok(_) => {}
                    // The client's next call tells.
                    Err(_) => break,
                }
            }
        });
        Ok(Self {
            client,
            notices,
            server: url.to_string(),
            user: url.user().to_owned(),
        })
    }

    /// Host, port and database.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The user it is connected as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Runs statements; what they answer is passed over.
    pub(crate) async fn execute(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }

    /// The rows that `sql` answers.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<SimpleQueryRow>, Error> {
        let messages = self.client.simple_query(sql).await?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    /// The first column of the first row; `None` where it is null or there is none.
    pub(crate) async fn value(&self, sql: &str) -> Result<Option<String>, Error> {
        let rows = self.rows(sql).await?;
        Ok(rows.first().and_then(|row| row.get(0)).map(str::to_owned))
    }

    /// What the server said beside its answers since this was asked last.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.notices.try_recv().ok()).collect()
    }

    /// An error of something that is no step.
    pub(crate) fn error(&self, doing: &str, error: Error) -> MigrateError {
        if is_lost(&error) {
            return MigrateError::Lost {
                server: self.server.clone(),
                doing: doing.to_owned(),
                source: cause(error),
            };
        }
        MigrateError::Server {
            doing: doing.to_owned(),
            source: cause(error),
        }
    }
}

/// A text as SQL writes it.
pub(crate) fn literal(text: &str) -> String {
    // The E form reads backslashes the same whatever standard_conforming_strings says.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Whether the connection, not the statement, is what failed.
pub(crate) fn is_lost(error: &Error) -> bool {
    let shut_down = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    match error.code() {
        Some(code) => shut_down.contains(code),
        None => true,
    }
}

fn unreachable(
    url: &DatabaseUrl,
    advice: &'static str,
    source: Option<crate::error::Cause>,
) -> MigrateError {
    MigrateError::Unreachable {
        server: url.to_string(),
        advice,
        source,
    }
}

fn connect_error(url: &DatabaseUrl, error: Error) -> MigrateError {
    let Some(code) = error.code() else {
        return if let Some(advice) = login_advice(&error) {
            MigrateError::Denied {
                server: url.to_string(),
                user: url.user().to_owned(),
                advice,
                source: cause(error),
            }
        } else if is_tls(&error) {
            MigrateError::Tls {
                server: url.to_string(),
                mode: url.tls.name(),
                advice: tls_advice(url),
                source: cause(error),
            }
        } else {
            unreachable(
                url,
                "check host and port, and that the network lets you through (the direct address of a hosted project is IPv6 only: use its session pooler)",
                cause(error),
            )
        };
    };
    let denied = |advice, error| MigrateError::Denied {
        server: url.to_string(),
        user: url.user().to_owned(),
        advice,
        source: cause(error),
    };
    let text = error
        .as_db_error()
        .map_or("", |db| db.message())
        .to_lowercase();
    if *code == SqlState::INVALID_PASSWORD {
        denied(
            "the password is wrong (a hosted project: Database settings, reset password)",
            error,
        )
    } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        denied(
            "there is no such user, or pg_hba.conf has no line for it from here",
            error,
        )
    } else if text.contains("tenant or user not found") {
        denied(
            "behind the pooler of a hosted project the user is postgres.PROJECT_ID",
            error,
        )
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        MigrateError::NoDatabase {
            server: url.to_string(),
            source: cause(error),
        }
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        unreachable(
            url,
            "all its connections are in use: try again later",
            cause(error),
        )
    } else if is_lost(&error) {
        unreachable(
            url,
            "it is starting or stopping: try again later",
            cause(error),
        )
    } else {
        MigrateError::Server {
            doing: format!("connecting to {url}"),
            source: cause(error),
        }
    }
}

/// What keeps the driver, not the server, from logging in.
fn login_advice(error: &Error) -> Option<&'static str> {
    // The driver has no other way to tell these apart.
    let beneath = error.source().map(ToString::to_string);
    if beneath.as_deref() == Some("password missing") {
        Some("it asks for a password, and the URL holds none")
    } else if error.to_string() == "authentication error" {
        Some("it wants users to log in in a way that is not known here")
    } else {
        None
    }
}

fn is_tls(error: &Error) -> bool {
    let beneath = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    let inner = beneath.and_then(io::Error::get_ref);
    let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    inner.is_some() || error.to_string().contains("TLS")
}

fn tls_advice(url: &DatabaseUrl) -> &'static str {
    if url.tls.checks_certificate() {
        "give the authority's certificate with sslrootcert=FILE (a hosted project: Database settings, SSL), and the host as the certificate names it"
    } else {
        "the server offers none: turn it on there, or, in a network that you trust, use sslmode=disable"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_end_early() {
        assert_eq!(literal("it's"), "E'it''s'");
        assert_eq!(literal(r"\'"), r"E'\\'''");
    }
}
