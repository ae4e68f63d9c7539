//! A project, a store in it, and the levers of the suite.

pub(crate) mod aged;
pub(crate) mod writing;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bus_store::{Store, conformance::Harness};
use bus_store_supabase::{SupabaseConfig, SupabaseStore};
use bus_testkit::{Project, Server};
use secrecy::SecretString;

use self::aged::Aged;

/// An emptied project and a store in it, by its secret key.
pub(crate) struct Fixture {
    pub(crate) project: Project,
    store: Aged,
    other: Aged,
}

impl Fixture {
    pub(crate) async fn take(server: Server) -> Self {
        Self::with(Project::take(server).await.unwrap(), |config| config)
    }

    /// The same, whose chunks go up as raw bytes, as PostgREST takes them.
    pub(crate) async fn take_raw(server: Server) -> Self {
        let project = Project::take(server).await.unwrap();
        project.gateway().octet_stream(true);
        Self::with(project, |config| config.with_raw_chunks_from(0))
    }

    fn with(project: Project, configured: fn(SupabaseConfig) -> SupabaseConfig) -> Self {
        let store = Aged::new(store(configured(config(&project))));
        let other = store.beside(self::store(configured(config(&project))));
        Self {
            project,
            store,
            other,
        }
    }
}

#[async_trait]
impl Harness for Fixture {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    /// Makes all that is there older; what the store tells is corrected for it.
    async fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        let older = |column: &str| format!("{column} = {column} - interval '{by} milliseconds'");
        let columns = [
            "created_at",
            "accessed_at",
            "expires_at",
            "acknowledged_at",
            "lease_expires_at",
        ];
        let columns = columns.map(older).join(", ");
        let update = format!("update public.message_bus set {columns}");
        self.project.sql(&update).await.unwrap();
        self.store.advance(by);
    }

    fn second_store(&self) -> Option<Arc<dyn Store>> {
        Some(Arc::new(self.other.clone()))
    }
}

/// How the project is reached with its secret key.
pub(crate) fn config(project: &Project) -> SupabaseConfig {
    let key = SecretString::from(project.secret_key());
    SupabaseConfig::new(project.url(), &key).unwrap()
}

pub(crate) fn store(config: SupabaseConfig) -> Arc<dyn Store> {
    Arc::new(SupabaseStore::new(config).unwrap())
}
