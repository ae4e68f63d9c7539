//! [`MessageBusClient`] and its builder: a thin facade over a store.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bus_codec::DEFAULT_CHUNK_SIZE;
use bus_model::{
    ByteSize, CompressionType, MessageBusRecord, MessageKey, Principal, TransactionId, Ttl,
};
use bus_store::{
    ListQuery, Page, PurgeOptions, PurgeReport, Records, Stats, Store, StoreExt as _, VerifyReport,
};
use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;

use crate::{
    ClientError, ClientErrorKind, Fetched, Message, Published, Route, Source,
    accesses::Accesses,
    backend::{self, Opened},
    publish,
    settings::{Settings, SettingsError, StoreSpec},
};

/// Publishes payloads to a store and fetches them back. Cheap to clone; clones share everything.
///
/// Nothing is opened before it is needed, so that a bad setting or a store that is away never
/// stops somebody who only wanted inline delivery.
///
/// # Cancellation
/// Every future may be dropped. A publish that is dropped gives its upload up in the background;
/// nothing becomes visible.
#[derive(Clone)]
pub struct MessageBusClient {
    core: Arc<Core>,
    principal: Principal,
}

struct Core {
    given: Option<Settings>,
    settings: OnceLock<Result<Settings, SettingsError>>,
    tuning: Tuning,
    enabled: Option<bool>,
    spec: Option<StoreSpec>,
    opened: OnceCell<Opened>,
    accesses: Accesses,
}

/// What only a builder sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    pub(crate) level: Option<i32>,
    pub(crate) chunk_size: u32,
    pub(crate) parallelism: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            level: None,
            chunk_size: DEFAULT_CHUNK_SIZE,
            parallelism: cores.clamp(1, 4),
        }
    }
}

impl MessageBusClient {
    /// A client made by hand. Without [`ClientBuilder::store`] or [`ClientBuilder::store_spec`] it
    /// uses the store that its settings name.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client by the environment and `.env` ([`Settings::from_env`]), read on first use.
    ///
    /// `MESSAGE_BUS_ENABLED` must be true for it to publish, as in the original. A setting that is
    /// not legal is an error of every call that needs it; [`MessageBusClient::route`] then sends
    /// inline.
    #[must_use]
    pub fn from_env() -> Self {
        Self {
            core: Arc::new(Core {
                given: None,
                settings: OnceLock::new(),
                tuning: Tuning::default(),
                enabled: None,
                spec: None,
                opened: OnceCell::new(),
                accesses: Accesses::default(),
            }),
            principal: Principal::default(),
        }
    }

    /// The same client for another principal. It shares the store and all settings.
    #[must_use]
    pub fn with_principal(&self, principal: Principal) -> Self {
        Self {
            core: Arc::clone(&self.core),
            principal,
        }
    }

    /// Whose messages this client writes and reads.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The settings, read on first use (blocking then, a small file).
    ///
    /// # Errors
    /// [`ClientErrorKind::Settings`] where one is not legal.
    pub fn settings(&self) -> Result<&Settings, ClientError> {
        let core = &self.core;
        let settings = core.settings.get_or_init(|| match &core.given {
            Some(settings) => Ok(settings.clone()),
            None => Settings::from_env().inspect_err(
                |error| tracing::error!(%error, "message bus settings are not legal; sending inline"),
            ),
        });
        settings.as_ref().map_err(|error| error.clone().into())
    }

    /// Whether this client publishes. False also where its settings are not legal.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.core.enabled.unwrap_or_else(|| {
            self.settings()
                .is_ok_and(|settings| settings.enabled == Some(true))
        })
    }

    /// Whether a frame of this size, as it would be sent, goes by claim. The name is the
    /// original's.
    #[must_use]
    pub fn should_use_message_bus(&self, frame_bytes: u64) -> bool {
        self.route(frame_bytes) == Route::Publish
    }

    /// How a frame of this size, as it would be sent, is to go.
    #[must_use]
    pub fn route(&self, frame_bytes: u64) -> Route {
        match self.settings() {
            Ok(settings) => Route::of(frame_bytes, settings.threshold_bytes, self.is_enabled()),
            Err(_) => Route::of(frame_bytes, Settings::default().threshold_bytes, false),
        }
    }

    /// The store, opened on first use. A failure is not remembered: the next call tries again.
    ///
    /// # Errors
    /// [`ClientErrorKind::Settings`], or what the store says.
    pub async fn store(&self) -> Result<Arc<dyn Store>, ClientError> {
        Ok(Arc::clone(&self.opened().await?.store))
    }

    /// The audit log, conversation history and preferences beside the store, opened with it.
    ///
    /// # Errors
    /// [`ClientErrorKind::Settings`], also for a store that was given to the builder without its
    /// records ([`ClientBuilder::records`]); or what the store says.
    pub async fn records(&self) -> Result<Records, ClientError> {
        self.opened().await?.records.clone().ok_or_else(|| {
            ClientError::new(
                ClientErrorKind::Settings,
                "the store of this client was given without records: give them to its builder, too",
            )
        })
    }

    async fn opened(&self) -> Result<&Opened, ClientError> {
        let core = &self.core;
        core.opened
            .get_or_try_init(async || {
                let spec = match &core.spec {
                    Some(spec) => spec.clone(),
                    None => self.settings()?.store_spec()?,
                };
                backend::open(spec).await
            })
            .await
    }

    /// Stores a payload; when this returns, it is whole, durable and visible.
    ///
    /// Memory is bounded by the chunk size, whatever the payload's size. A repeated publish of the
    /// same bytes under the same transaction id succeeds without writing.
    ///
    /// # Errors
    /// [`ClientErrorKind::Disabled`], [`ClientErrorKind::TooLarge`] (before the first byte where
    /// the length is declared), [`ClientErrorKind::Conflict`], [`ClientErrorKind::Busy`],
    /// [`ClientErrorKind::DigestMismatch`], [`ClientErrorKind::Source`], or what the store says.
    /// After an error nothing is visible and no space is kept.
    pub async fn publish(
        &self,
        message: Message,
        source: impl Into<Source>,
    ) -> Result<Published, ClientError> {
        if !self.is_enabled() {
            self.settings()?;
            return Err(ClientError::new(
                ClientErrorKind::Disabled,
                "the message bus is disabled: set MESSAGE_BUS_ENABLED=true to publish",
            ));
        }
        let job = publish::Job {
            store: self.store().await?,
            settings: self.settings()?,
            tuning: self.core.tuning,
            principal: &self.principal,
        };
        job.run(message, source.into()).await
    }

    /// Opens a message for reading; its payload is read by what this returns.
    ///
    /// # Errors
    /// [`ClientErrorKind::NotFound`], [`ClientErrorKind::Expired`],
    /// [`ClientErrorKind::NotComplete`], or what the store says.
    pub async fn fetch(&self, id: &TransactionId) -> Result<Fetched, ClientError> {
        let store = self.store().await?;
        let key = self.key(id);
        let open = store.open(&key).await?;
        self.core.accesses.note(&store, key);
        Fetched::new(
            store,
            open,
            self.core.tuning.parallelism,
            self.settings()?.checksum,
        )
    }

    /// The record of a message, whatever its status, without its payload.
    ///
    /// # Errors
    /// [`ClientErrorKind::NotFound`], or what the store says.
    pub async fn record(&self, id: &TransactionId) -> Result<MessageBusRecord, ClientError> {
        Ok(self.store().await?.record(&self.key(id)).await?)
    }

    /// A page of this principal's records, newest first; the query's principal is not looked at.
    ///
    /// # Errors
    /// [`ClientErrorKind::InvalidInput`] for a limit of 0, or what the store says.
    pub async fn list(&self, query: &ListQuery) -> Result<Page, ClientError> {
        let query = ListQuery {
            principal: self.principal.clone(),
            ..query.clone()
        };
        Ok(self.store().await?.list(&query).await?)
    }

    /// Removes a message of any status and frees its space.
    ///
    /// # Errors
    /// [`ClientErrorKind::NotFound`], or what the store says.
    pub async fn delete(&self, id: &TransactionId) -> Result<(), ClientError> {
        Ok(self.store().await?.delete(&self.key(id)).await?)
    }

    /// Notes that the receiver has the payload; a second call keeps the first time.
    ///
    /// # Errors
    /// [`ClientErrorKind::NotFound`], [`ClientErrorKind::Expired`],
    /// [`ClientErrorKind::NotComplete`], or what the store says.
    pub async fn acknowledge(&self, id: &TransactionId) -> Result<DateTime<Utc>, ClientError> {
        Ok(self.store().await?.acknowledge(&self.key(id)).await?)
    }

    /// Removes what is expired or orphaned, of every principal, batch by batch.
    ///
    /// # Errors
    /// What the store says; the batches before are done.
    pub async fn purge(&self, options: &PurgeOptions) -> Result<PurgeReport, ClientError> {
        Ok(self.store().await?.purge_all(options).await?)
    }

    /// Counts over all principals.
    ///
    /// # Errors
    /// What the store says.
    pub async fn stats(&self) -> Result<Stats, ClientError> {
        Ok(self.store().await?.stats().await?)
    }

    /// Whether the store can be reached and used.
    ///
    /// # Errors
    /// What the store says.
    pub async fn check(&self) -> Result<(), ClientError> {
        Ok(self.store().await?.check().await?)
    }

    /// Reads every message of this principal and reports each damaged one.
    ///
    /// # Errors
    /// Only where the store as a whole cannot be read.
    pub async fn verify(&self) -> Result<VerifyReport, ClientError> {
        Ok(self.store().await?.verify(&self.principal).await?)
    }

    /// Stamps the accesses that are not stamped yet, best effort. They are coalesced and stamped
    /// about once a second; a program that is about to end calls this.
    pub async fn flush(&self) {
        if let Some(opened) = self.core.opened.get() {
            self.core.accesses.flush(opened.store.as_ref()).await;
        }
    }

    pub(crate) fn tuning(&self) -> Tuning {
        self.core.tuning
    }

    fn key(&self, id: &TransactionId) -> MessageKey {
        MessageKey::new(self.principal.clone(), id.clone())
    }
}

impl fmt::Debug for MessageBusClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageBusClient")
            .field("principal", &self.principal)
            .field("settings", &self.core.settings.get())
            .field("opened", &self.core.opened.get())
            .finish_non_exhaustive()
    }
}

/// Makes a [`MessageBusClient`] by hand. It is enabled unless it is told otherwise.
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    settings: Settings,
    tuning: Tuning,
    principal: Principal,
    enabled: bool,
    spec: Option<StoreSpec>,
    store: Option<Arc<dyn Store>>,
    records: Option<Records>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            tuning: Tuning::default(),
            principal: Principal::default(),
            enabled: true,
            spec: None,
            store: None,
            records: None,
        }
    }
}

impl ClientBuilder {
    /// Uses this store.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// What goes with the store that [`store`](Self::store) gives; a named store has its own.
    #[must_use]
    pub fn records(mut self, records: Records) -> Self {
        self.records = Some(records);
        self
    }

    /// Opens this store on first use.
    #[must_use]
    pub fn store_spec(mut self, spec: StoreSpec) -> Self {
        self.spec = Some(spec);
        self
    }

    /// Takes these settings. The setters below change single ones, so call them after this; the
    /// settings' own `enabled` counts only where it is false.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.enabled = settings.enabled.unwrap_or(true);
        self.settings = settings;
        self
    }

    /// Whose messages the client writes and reads.
    #[must_use]
    pub fn principal(mut self, principal: Principal) -> Self {
        self.principal = principal;
        self
    }

    /// Whether the client publishes. Reading works all the same.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Frames larger than this many bytes go by claim.
    #[must_use]
    pub fn threshold_bytes(mut self, bytes: u64) -> Self {
        self.settings.threshold_bytes = bytes;
        self
    }

    /// The largest payload.
    #[must_use]
    pub fn max_payload(mut self, size: ByteSize) -> Self {
        self.settings.max_payload = size;
        self
    }

    /// How bodies are encoded.
    #[must_use]
    pub fn compression(mut self, compression: CompressionType) -> Self {
        self.settings.compression = compression;
        self
    }

    /// The compression level; the encoding's own default (zstd 1, gzip 1) where it is not set.
    #[must_use]
    pub fn level(mut self, level: i32) -> Self {
        self.tuning.level = Some(level);
        self
    }

    /// Original size of a chunk in bytes, 2 MiB by default; 0 gives the default.
    #[must_use]
    pub fn chunk_size(mut self, bytes: u32) -> Self {
        self.tuning.chunk_size = if bytes == 0 {
            DEFAULT_CHUNK_SIZE
        } else {
            bytes
        };
        self
    }

    /// How many chunks of one payload are worked on at a time; the number of cores, at most 4, by
    /// default.
    #[must_use]
    pub fn parallelism(mut self, chunks: usize) -> Self {
        self.tuning.parallelism = chunks.max(1);
        self
    }

    /// Whether the whole payload's digest is checked on reading; chunks always are.
    #[must_use]
    pub fn checksum(mut self, checksum: bool) -> Self {
        self.settings.checksum = checksum;
        self
    }

    /// How long messages live that do not say so themselves.
    #[must_use]
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.settings.ttl = ttl;
        self
    }

    /// The client. Nothing is opened yet.
    #[must_use]
    pub fn build(self) -> MessageBusClient {
        let records = self.records;
        let opened = self.store.map(|store| Opened { store, records });
        let core = Core {
            given: Some(self.settings),
            settings: OnceLock::new(),
            tuning: self.tuning,
            enabled: Some(self.enabled),
            spec: self.spec,
            opened: OnceCell::new_with(opened),
            accesses: Accesses::default(),
        };
        MessageBusClient {
            core: Arc::new(core),
            principal: self.principal,
        }
    }
}
