//! The conformance suite of the records on both servers, behind the gateway.

use bus_store::{Records, records::conformance::RecordsHarness};
use bus_store_supabase::SupabaseStore;
use bus_testkit::{Project, Server};

use crate::support::config;

struct Fixture {
    store: SupabaseStore,
    other: SupabaseStore,
    /// Ours for as long as this lives.
    _project: Project,
}

impl Fixture {
    async fn take(server: Server) -> Self {
        let project = Project::take(server).await.unwrap();
        Self {
            store: SupabaseStore::new(config(&project)).unwrap(),
            other: SupabaseStore::new(config(&project)).unwrap(),
            _project: project,
        }
    }
}

impl RecordsHarness for Fixture {
    fn records(&self) -> Records {
        self.store.records()
    }

    fn second(&self) -> Option<Records> {
        Some(self.other.records())
    }
}

mod lite {
    use super::{Fixture, Server};

    async fn harness() -> Fixture {
        Fixture::take(Server::Lite).await
    }

    bus_store::records_conformance_suite!(harness);
}

mod postrust {
    use super::{Fixture, Server};

    async fn harness() -> Fixture {
        Fixture::take(Server::Postrust).await
    }

    bus_store::records_conformance_suite!(harness);
}
