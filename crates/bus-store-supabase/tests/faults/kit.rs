//! What the scenarios share: a project behind a proxy, bodies, and what has to hold after every fault.

use std::{error::Error as _, fmt::Debug, ops::Range, sync::Arc, time::Duration};

use bus_client::MessageBusClient;
use bus_model::{
    Attributes, ByteSize, ChunkEntry, CompressionType, Digest, Hasher, Manifest, MessageKey,
    Principal, TransactionId,
};
use bus_store::{
    Begin, DurableChunk, NewMessage, Plan, PutOutcome, Store, StoreError, StoreErrorKind as Kind,
    StoredChunk, Upload, UploadToken,
};
use bus_store_supabase::{SupabaseConfig, SupabaseStore};
use bus_testkit::{FaultProxy, JWT_SECRET, Project, Server, random_payload};
use bytes::Bytes;
use futures::TryStreamExt as _;
use secrecy::SecretString;

/// The lease of writers that are not meant to lose it.
pub(crate) const LEASE: Duration = Duration::from_secs(600);
/// Longer than anything here takes on a machine that does other things as well.
pub(crate) const PATIENT: Duration = Duration::from_secs(60);
/// What a call may take that is going to be left without an answer.
pub(crate) const HASTY: Duration = Duration::from_secs(1);
/// A rate at which bytes take no time.
const AT_ONCE: u64 = 1 << 40;

/// A project, a proxy in front of it, and a store on either way.
pub(crate) struct Rig {
    pub(crate) project: Project,
    pub(crate) proxy: FaultProxy,
    /// Through the proxy.
    pub(crate) store: Arc<SupabaseStore>,
    /// Around it.
    pub(crate) direct: Arc<SupabaseStore>,
}

impl Rig {
    /// On a project of the shared stack, for faults that leave it as it is.
    pub(crate) async fn shared() -> Self {
        Self::shared_with(PATIENT).await
    }

    /// The same; calls through the proxy may take this long.
    pub(crate) async fn shared_with(call: Duration) -> Self {
        Self::on(Project::take(Server::Postrust).await.unwrap(), call).await
    }

    /// On a project with a database of its own.
    pub(crate) async fn own(server: Server) -> Self {
        Self::on(Project::own(server).await.unwrap(), PATIENT).await
    }

    pub(crate) async fn on(project: Project, call: Duration) -> Self {
        let proxy = FaultProxy::start(project.addr()).await.unwrap();
        let key = project.secret_key();
        Self {
            store: store(config(&proxy.url(), key, call)),
            direct: store(config(project.url(), key, PATIENT)),
            proxy,
            project,
        }
    }

    /// A store that asks the project with this key, around the proxy.
    pub(crate) fn store_with_key(&self, key: &str) -> Arc<SupabaseStore> {
        store(config(self.project.url(), key, PATIENT))
    }

    /// A client through the proxy, whose chunks are of [`Body::CHUNK`] bytes.
    pub(crate) fn client(&self) -> MessageBusClient {
        client(self.store.clone())
    }

    /// What `result` failed with; it has to be of `kind`, and to hold no secret.
    pub(crate) fn failed<T: Debug>(&self, result: Result<T, StoreError>, kind: Kind) -> StoreError {
        let error = match result {
            Ok(value) => panic!("an error of kind {kind:?} was expected, not {value:?}"),
            Err(error) => error,
        };
        assert_eq!(error.kind(), kind, "{error:?}");
        self.no_secret_in(&error);
        error
    }

    /// A fault of the way or of the server: the same call may succeed later.
    pub(crate) fn transient<T: Debug>(
        &self,
        result: Result<T, StoreError>,
        kind: Kind,
    ) -> StoreError {
        let error = self.failed(result, kind);
        assert!(error.is_transient(), "{error:?}");
        error
    }

    /// No text of `error` holds a secret, and none repeats another.
    pub(crate) fn no_secret_in(&self, error: &StoreError) {
        let mut texts = vec![error.to_string(), format!("{error:?}")];
        assert!(!texts[0].is_empty());
        let mut source = error.source();
        while let Some(cause) = source {
            assert!(
                !texts[0].contains(&cause.to_string()),
                "{} repeats {cause}",
                texts[0]
            );
            texts.push(format!("{cause} {cause:?}"));
            source = cause.source();
        }
        let secrets = [self.project.secret_key(), JWT_SECRET, "eyJ", "upload_token"];
        for (text, secret) in texts
            .iter()
            .flat_map(|text| secrets.map(|secret| (text, secret)))
        {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }

    /// Whether the message can be read; where it can, it is `body`, byte for byte.
    pub(crate) async fn visible(&self, key: &MessageKey, body: &Body) -> bool {
        let opened = match self.direct.open(key).await {
            Ok(opened) => opened,
            Err(error) => {
                let absent = matches!(error.kind(), Kind::NotFound | Kind::NotComplete);
                assert!(absent, "{error:?}");
                return false;
            }
        };
        assert_eq!(opened.manifest, body.manifest);
        assert_eq!(opened.record.checksum, Some(body.manifest.payload_digest()));
        let all = 0..body.manifest.chunk_count();
        let read = read(&*self.direct, key, all).await.unwrap();
        assert!(read == body.bytes(), "other bytes than were published");
        true
    }

    /// Fails unless the message is there, whole.
    pub(crate) async fn whole(&self, key: &MessageKey, body: &Body) {
        assert!(
            self.visible(key, body).await,
            "{} is not there",
            key.transaction_id
        );
        self.nothing_half().await;
    }

    /// Fails if the message can be seen.
    pub(crate) async fn absent(&self, key: &MessageKey, body: &Body) {
        assert!(
            !self.visible(key, body).await,
            "{} is there",
            key.transaction_id
        );
        self.nothing_half().await;
    }

    /// Looks behind the functions, into the tables: what is there is whole, or pending.
    pub(crate) async fn nothing_half(&self) {
        let client = self.project.connect().await.unwrap();
        let row = client.query_one(HALVES, &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "");
    }

    /// A number from the database.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let client = self.project.connect().await.unwrap();
        client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Waits until so many requests for `function` have come to the gateway, and what they do is done.
    pub(crate) async fn arrived(&self, function: &str, count: u64) {
        let busy = "select count(*) from pg_stat_activity where datname = current_database()
            and pid <> pg_backend_pid() and state = 'active' and backend_type = 'client backend'";
        let wait = async {
            while self.project.gateway().count(function) < count || self.number(busy).await > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENT, wait)
            .await
            .expect("what was sent arrives");
    }

    /// As if the writers had been silent for longer than their leases.
    pub(crate) async fn leases_run_out(&self) {
        let sql = "update public.message_bus set lease_expires_at = now() - interval '1 second'
            where status = 'pending'";
        self.project.sql(sql).await.unwrap();
    }

    /// The store works for messages of either size, in both directions.
    pub(crate) async fn works(&self, name: &str) {
        works(self.store.as_ref(), name).await;
        self.nothing_half().await;
    }
}

/// What is in the tables and must not be, in words.
const HALVES: &str = "
select coalesce(string_agg(what, '; '), '') from (
  select 'a chunk without its message' as what from public.message_bus_chunks c
    where not exists (select from public.message_bus m where m.id = c.message_id)
  union all
  select 'a complete message without all its chunks: ' || m.transaction_id from public.message_bus m
    where m.status = 'complete' and m.payload is null and (
      m.chunk_count <> (select count(*) from public.message_bus_chunks c where c.message_id = m.id)
      or m.compressed_size_bytes <>
        (select sum(octet_length(c.body)) from public.message_bus_chunks c where c.message_id = m.id))
  union all
  select 'chunks of a message that has none: ' || m.transaction_id from public.message_bus m
    where (m.status = 'error' or m.payload is not null)
      and exists (select from public.message_bus_chunks c where c.message_id = m.id)
) faults";

pub(crate) fn config(url: &str, key: &str, call: Duration) -> SupabaseConfig {
    SupabaseConfig::new(url, &SecretString::from(key))
        .unwrap()
        .with_call_timeout(call, AT_ONCE)
        .with_connect_timeout(call)
        .with_raw_chunks_from(usize::MAX)
}

pub(crate) fn store(config: SupabaseConfig) -> Arc<SupabaseStore> {
    Arc::new(SupabaseStore::new(config).unwrap())
}

pub(crate) fn client(store: Arc<dyn Store>) -> MessageBusClient {
    MessageBusClient::builder()
        .store(store)
        .compression(CompressionType::None)
        .chunk_size(Body::CHUNK as u32)
        .max_payload(ByteSize::mib(64))
        .build()
}

/// Publishes a small and a larger message and reads both back.
pub(crate) async fn works(store: &dyn Store, name: &str) {
    for (part, chunks) in [("small", 1), ("large", 3)] {
        let new = message(&format!("{name}-{part}"));
        let body = Body::of(chunks, 99);
        let put = store.put(&new, &body.manifest, &body.chunks).await.unwrap();
        assert!(matches!(put, PutOutcome::Created(_)), "{put:?}");
        let all = 0..body.manifest.chunk_count();
        assert!(read(store, &new.key, all).await.unwrap() == body.bytes());
    }
}

/// A payload in raw chunks.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) payload: Bytes,
    pub(crate) manifest: Manifest,
    pub(crate) chunks: Vec<StoredChunk>,
}

impl Body {
    /// The size of a chunk, in bytes.
    pub(crate) const CHUNK: usize = 64 << 10;

    /// So many chunks, the last one shorter; bytes that depend on `seed`.
    pub(crate) fn of(chunks: usize, seed: u64) -> Self {
        Self::cut(
            random_payload(chunks * Self::CHUNK - 100, seed).into(),
            Self::CHUNK,
        )
    }

    /// `payload` in chunks of `step` bytes.
    pub(crate) fn cut(payload: Bytes, step: usize) -> Self {
        let chunks: Vec<StoredChunk> = (0..payload.len())
            .step_by(step)
            .map(|start| chunk(payload.slice(start..payload.len().min(start + step))))
            .collect();
        let mut encoded = Hasher::new();
        encoded.update(&payload);
        let entry = |chunk: &StoredChunk| ChunkEntry {
            stored_len: chunk.bytes.len() as u64,
            digest: chunk.digest,
        };
        let manifest = Manifest::new(
            CompressionType::None,
            step as u64,
            payload.len() as u64,
            Digest::of(&payload),
            encoded.finish(),
            chunks.iter().map(entry).collect(),
        );
        Self {
            manifest: manifest.unwrap(),
            payload,
            chunks,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<Bytes> {
        self.chunks
            .iter()
            .map(|chunk| chunk.bytes.clone())
            .collect()
    }
}

pub(crate) fn chunk(bytes: Bytes) -> StoredChunk {
    StoredChunk {
        digest: Digest::of(&bytes),
        bytes,
    }
}

pub(crate) fn key(name: &str) -> MessageKey {
    MessageKey::new(Principal::default(), TransactionId::new(name).unwrap())
}

/// A message under `name` in raw chunks of [`Body::CHUNK`].
pub(crate) fn message(name: &str) -> NewMessage {
    NewMessage {
        key: key(name),
        attributes: Attributes::new("session".parse().unwrap(), "tool".parse().unwrap()),
        plan: Plan {
            encoding: CompressionType::None,
            chunk_size: Body::CHUNK as u64,
            expected_digest: None,
            expected_size: None,
            lease: LEASE,
        },
    }
}

/// Begins what nobody has begun.
pub(crate) async fn begin_new(store: &dyn Store, new: &NewMessage) -> Upload {
    match store.begin(new).await.unwrap() {
        Begin::New(upload) => upload,
        other => panic!("a new upload was expected, not {other:?}"),
    }
}

/// Takes over what another writer left.
pub(crate) async fn resume(store: &dyn Store, new: &NewMessage) -> (Upload, Vec<DurableChunk>) {
    match store.begin(new).await.unwrap() {
        Begin::Resume(upload, durable) => (upload, durable),
        other => panic!("an upload to resume was expected, not {other:?}"),
    }
}

/// Uploads the chunks of `range`.
pub(crate) async fn send(store: &dyn Store, token: &UploadToken, body: &Body, range: Range<usize>) {
    for seq in range {
        let chunk = body.chunks[seq].clone();
        store.put_chunk(token, seq as u32, chunk).await.unwrap();
    }
}

/// Publishes `body` under `name` step by step.
pub(crate) async fn publish(store: &dyn Store, name: &str, body: &Body) -> MessageKey {
    let new = message(name);
    let token = begin_new(store, &new).await.token;
    send(store, &token, body, 0..body.chunks.len()).await;
    store.commit(&token, &body.manifest).await.unwrap();
    new.key
}

/// The stored bytes of the chunks in `range`.
pub(crate) async fn read(
    store: &dyn Store,
    key: &MessageKey,
    range: Range<u32>,
) -> Result<Vec<Bytes>, StoreError> {
    let opened = store.open(key).await?;
    let chunks = store
        .chunks(&key.principal, opened.record.id, range)
        .await?;
    chunks.try_collect().await
}
