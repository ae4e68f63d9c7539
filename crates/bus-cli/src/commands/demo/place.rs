//! Where the demo's messages go: a fresh embedded store, or the Supabase project of the environment.
//!
//! With `--store supabase`, `SUPABASE_URL` and `SUPABASE_KEY` are the only settings that are looked at, in the
//! environment and in `.env`. What is stored there is removed at the end, and lives for an hour where it cannot be.

use std::path::Path;

use anyhow::Context as _;
use bus_client::{
    ClientBuilder, ClientErrorKind, MessageBusClient,
    settings::{Env, Settings, StoreSpec},
};
use bus_model::{SessionId, Ttl};
use bus_store::ListQuery;

use crate::{
    exit::Failure,
    flags::{GlobalFlags, StoreFlag},
};

/// How long a message of the demo lives that nobody removes.
const TTL_MS: u64 = 3_600_000;

/// Which store the demo's daemon uses.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A fresh one in the demo's own folder.
    Embedded,
    /// A Supabase project, which may hold messages of others.
    Supabase(Box<Settings>),
}

impl Place {
    /// What the flags ask for.
    ///
    /// # Errors
    /// A usage error where they ask for another store or a daemon, or where the project's address or key is missing.
    pub(super) fn of(flags: &GlobalFlags) -> anyhow::Result<Self> {
        if flags.url.is_some() {
            return Err(refused(
                "bus demo runs a daemon of its own: leave --url away",
            ));
        }
        match &flags.store {
            None => Ok(Self::Embedded),
            Some(StoreFlag::Supabase) => Ok(Self::Supabase(Box::new(settings(&Env::load()?)?))),
            Some(_) => Err(refused(
                "bus demo makes a fresh embedded store of its own: leave --store away, or say --store supabase",
            )),
        }
    }

    /// What programs call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Supabase(_) => "supabase",
        }
    }

    /// What people read.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Embedded => "a fresh embedded store".to_owned(),
            Self::Supabase(settings) => {
                let url = settings
                    .supabase
                    .as_ref()
                    .map(|supabase| supabase.url.trim());
                format!("the Supabase project at {}", url.unwrap_or_default())
            }
        }
    }

    /// A client of it; `folder` is where a fresh store would be.
    pub(super) fn client(&self, folder: &Path) -> anyhow::Result<ClientBuilder> {
        let builder = MessageBusClient::builder();
        Ok(match self {
            Self::Embedded => builder.store_spec(StoreSpec::Embedded(folder.to_owned())),
            Self::Supabase(settings) => builder
                .settings(Settings::clone(settings))
                .ttl(Ttl::from_millis(TTL_MS)?),
        })
    }
}

/// Removes every message of these sessions. No two daemons give a session the same name, so that nobody else's messages
/// are touched, whoever the key makes us.
///
/// # Errors
/// What the store says; it goes on with the next message all the same.
pub(super) async fn remove(
    client: &MessageBusClient,
    sessions: &[SessionId],
) -> anyhow::Result<()> {
    let mut removed = Ok(());
    for session in sessions {
        if let Err(error) = remove_session(client, session).await {
            removed = Err(error)
                .context("messages of the demo stay in the project until they expire, in an hour");
        }
    }
    removed
}

async fn remove_session(client: &MessageBusClient, session: &SessionId) -> anyhow::Result<()> {
    let mut query = ListQuery::new(client.principal().clone());
    query.session_id = Some(session.clone());
    query.status = None;
    loop {
        let page = client.list(&query).await?;
        for record in &page.records {
            match client.delete(&record.transaction_id).await {
                Err(error) if error.kind() != ClientErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(()),
        }
    }
}

fn settings(env: &Env) -> anyhow::Result<Settings> {
    let settings = Settings::from_lookup(|name| match name {
        "MESSAGE_BUS_ENABLED" => Some("true".to_owned()),
        "SUPABASE_URL" | "SUPABASE_KEY" => env.get(name),
        _ => None,
    })?;
    if settings.supabase.is_none() {
        return Err(refused(
            "SUPABASE_URL and SUPABASE_KEY are not set: bus demo --store supabase uses the project that they name",
        ));
    }
    Ok(settings)
}

fn refused(message: &str) -> anyhow::Error {
    Failure::usage(message).into()
}
