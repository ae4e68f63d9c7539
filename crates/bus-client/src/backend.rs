//! The only module that names backends: from a [`StoreSpec`] to an open store.

use std::sync::Arc;

use bus_store::{Records, Store};

use crate::{ClientError, ClientErrorKind, settings::StoreSpec};

/// An open store and what is kept beside its messages.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    /// `None` for a store that was given without them.
    pub(crate) records: Option<Records>,
}

/// Opens the store. Blocking work is done off the reactor.
pub(crate) async fn open(spec: StoreSpec) -> Result<Opened, ClientError> {
    match spec {
        #[cfg(feature = "embedded")]
        StoreSpec::Embedded(dir) => {
            let opened =
                tokio::task::spawn_blocking(move || bus_store_embedded::EmbeddedStore::open(dir))
                    .await
                    .map_err(cut_off)?;
            let store = opened?;
            Ok(Opened {
                records: Some(store.records()),
                store: Arc::new(store),
            })
        }
        #[cfg(feature = "supabase")]
        StoreSpec::Supabase(settings) => {
            // It reads the certificates of the system.
            let opened = tokio::task::spawn_blocking(move || supabase::open(&settings));
            let store = opened.await.map_err(cut_off)??;
            Ok(Opened {
                records: Some(store.records()),
                store: Arc::new(store),
            })
        }
        #[cfg(feature = "memory")]
        StoreSpec::Memory => Ok(Opened {
            store: Arc::new(bus_store::MemoryStore::new()),
            records: Some(bus_store::records::MemoryRecords::new().records()),
        }),
        #[allow(unreachable_patterns, reason = "reached where a feature is off")]
        other => Err(ClientError::new(
            ClientErrorKind::Settings,
            format!("this build of bus-client lacks the backend for {other:?}: enable its feature"),
        )),
    }
}

#[cfg(any(feature = "embedded", feature = "supabase"))]
fn cut_off(error: tokio::task::JoinError) -> ClientError {
    ClientError::new(ClientErrorKind::Cancelled, "opening the store was cut off").with_source(error)
}

#[cfg(feature = "supabase")]
mod supabase {
    //! From settings to a store in a project. Nothing is asked of it here.

    use bus_store_supabase::{ConfigError, SupabaseConfig, SupabaseStore};

    use crate::{ClientError, ClientErrorKind, settings::SupabaseSettings};

    pub(super) fn open(settings: &SupabaseSettings) -> Result<SupabaseStore, ClientError> {
        let mut config = SupabaseConfig::new(&settings.url, &settings.key).map_err(refused)?;
        if let Some(token) = &settings.token {
            config = config.with_access_token(token).map_err(refused)?;
        }
        Ok(SupabaseStore::new(config)?)
    }

    fn refused(error: ConfigError) -> ClientError {
        let name = match &error {
            ConfigError::Key(_) => "SUPABASE_KEY",
            ConfigError::TokenNotJwt => "BUS_SUPABASE_TOKEN",
            _ => "SUPABASE_URL",
        };
        ClientError::new(
            ClientErrorKind::Settings,
            format!("{name} is not allowed: {error}"),
        )
    }
}
