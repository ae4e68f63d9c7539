//! The only module that names backends: from a [`StoreSpec`] to an open store.

use std::sync::Arc;

use bus_store::Store;

use crate::{ClientError, ClientErrorKind, settings::StoreSpec};

/// Opens the store. Blocking work is done off the reactor.
pub(crate) async fn open(spec: StoreSpec) -> Result<Arc<dyn Store>, ClientError> {
    match spec {
        #[cfg(feature = "embedded")]
        StoreSpec::Embedded(dir) => {
            let opened =
                tokio::task::spawn_blocking(move || bus_store_embedded::EmbeddedStore::open(dir))
                    .await
                    .map_err(|error| {
                        ClientError::new(
                            ClientErrorKind::Cancelled,
                            "opening the store was cut off",
                        )
                        .with_source(error)
                    })?;
            Ok(Arc::new(opened?))
        }
        #[cfg(feature = "memory")]
        StoreSpec::Memory => Ok(Arc::new(bus_store::MemoryStore::new())),
        #[allow(unreachable_patterns, reason = "reached where a feature is off")]
        other => Err(ClientError::new(
            ClientErrorKind::Settings,
            format!("this build of bus-client lacks the backend for {other:?}: enable its feature"),
        )),
    }
}
