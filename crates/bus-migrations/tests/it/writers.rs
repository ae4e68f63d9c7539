//! Steps while writers run: nobody gets an error, and nothing is lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bus_migrations::{Migrator, steps};
use bus_testkit::Postgres;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::{first, migrate, migrate_with, server, value};

/// Two chunks, and the manifest of a message that has `n` of them.
const KIT: &str = "
create schema kit;
create function kit.chunk() returns bytea language sql immutable as $$ select '0123456789'::bytea $$;
create function kit.manifest(n integer) returns text language sql immutable as $$
  select encode('BUSM'::bytea || int2send(1::smallint) || '\\x0000'::bytea || int8send(10) || int8send(10 * n)
    || sha256(string_agg(kit.chunk(), '')) || sha256(string_agg(kit.chunk(), '')) || int4send(n)
    || string_agg(int8send(10) || sha256(kit.chunk()), ''), 'base64') from generate_series(1, n)
$$;
grant usage on schema kit to service_role;
";

/// A client as the store is one: the service role, one statement a call.
struct Writer {
    client: Client,
    name: usize,
    manifests: [String; 2],
    chunk_sha256: String,
}

impl Writer {
    async fn new(postgres: &Postgres, name: usize) -> Self {
        let client = postgres.connect("app").await.unwrap();
        client.batch_execute("set role service_role").await.unwrap();
        let kit = "select kit.manifest(1), kit.manifest(2), encode(sha256(kit.chunk()), 'hex')";
        let row = client.query_one(kit, &[]).await.unwrap();
        Self {
            manifests: [row.get(0), row.get(1)],
            chunk_sha256: row.get(2),
            client,
            name,
        }
    }

    /// Calls a function that answers JSON; the outcome must be one of `expected`.
    async fn call(&self, sql: &str, request: &Value, body: bool, expected: &[&str]) -> Value {
        let request = request.to_string();
        let chunk = "MDEyMzQ1Njc4OQ==";
        let row = if body {
            self.client.query_one(sql, &[&request, &chunk]).await
        } else {
            self.client.query_one(sql, &[&request]).await
        };
        let row = row.unwrap_or_else(|error| panic!("{sql}: {:?}", error.as_db_error()));
        let answer: Value = serde_json::from_str(row.get(0)).unwrap();
        assert!(
            expected.contains(&answer["outcome"].as_str().unwrap()),
            "{sql}: {answer}"
        );
        answer
    }

    fn plan(&self, txn: &str, token: &str) -> Value {
        json!({
            "principal": "p", "transaction_id": txn, "session_id": "s", "tool_name": "t", "provider_name": "v",
            "content_type": "x/y", "priority": "normal", "metadata": "{}", "format_version": 1,
            "compression_type": "none", "chunk_size_bytes": 10, "upload_token": token, "lease_ms": 60000,
            "ttl_ms": 3_600_000
        })
    }

    /// A message in chunks and one in a single round trip.
    async fn write(&self, round: usize) {
        let token = format!("00000000-0000-4000-8000-{:06}{round:06}", self.name);
        let txn = format!("chunks-{}-{round}", self.name);
        let begun = self
            .call(
                "select public.bus_begin($1)",
                &self.plan(&txn, &token),
                false,
                &["new"],
            )
            .await;
        let upload = json!({"principal": "p", "id": begun["id"], "upload_token": token});
        for seq in 0..2 {
            let mut chunk = upload.clone();
            chunk["seq"] = seq.into();
            chunk["sha256"] = self.chunk_sha256.clone().into();
            self.call("select public.bus_put_chunk($1, $2)", &chunk, true, &["ok"])
                .await;
        }
        self.call("select public.bus_renew($1)", &upload, false, &["ok"])
            .await;
        let mut commit = upload;
        commit["manifest"] = self.manifests[1].clone().into();
        self.call("select public.bus_commit($1)", &commit, false, &["ok"])
            .await;

        let mut put = self.plan(&format!("put-{}-{round}", self.name), &token);
        put["manifest"] = self.manifests[0].clone().into();
        self.call("select public.bus_put($1, $2)", &put, true, &["created"])
            .await;
        if round.is_multiple_of(5) {
            self.call(
                "select public.bus_purge($1)",
                &json!({"limit": 100}),
                false,
                &["ok"],
            )
            .await;
        }
    }
}

/// Starts `count` writers, which go on until `stop`; each answers how many rounds it wrote.
fn start(
    postgres: &Arc<Postgres>,
    count: usize,
    stop: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<usize>> {
    (0..count)
        .map(|name| {
            let (postgres, stop) = (Arc::clone(postgres), Arc::clone(stop));
            tokio::spawn(async move {
                let writer = Writer::new(&postgres, name).await;
                let mut rounds = 0;
                while !stop.load(Ordering::Relaxed) {
                    writer.write(rounds).await;
                    rounds += 1;
                }
                rounds
            })
        })
        .collect()
}

async fn written(writers: Vec<tokio::task::JoinHandle<usize>>) -> usize {
    let mut rounds = 0;
    for writer in writers {
        rounds += writer.await.unwrap();
    }
    rounds
}

async fn whole(postgres: &Postgres) -> usize {
    let whole = "select count(*) from public.message_bus m where status = 'complete'
        and coalesce(payload, (select string_agg(body, '' order by seq) from public.message_bus_chunks c where c.message_id = m.id))
          = convert_to(repeat('0123456789', chunk_count), 'UTF8')";
    value(postgres, "app", whole)
        .await
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_notice_nothing_of_the_steps() {
    let postgres = Arc::new(server(15).await);
    // The tables of messages and their functions.
    migrate_with(&postgres.url("app"), &first(5)).await.unwrap();
    postgres.sql("app", KIT).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers = start(&postgres, 4, &stop);
    migrate(&postgres, "app").await.unwrap();
    // Every step again, also the first, as on a database whose history was lost: they may run on what is there.
    for _ in 0..5 {
        postgres
            .sql("app", "truncate supabase_migrations.schema_migrations")
            .await
            .unwrap();
        let report = migrate_with(&postgres.url("app"), &Migrator::default())
            .await
            .unwrap();
        assert_eq!(report.applied.len(), steps().len());
    }
    stop.store(true, Ordering::Relaxed);
    let rounds = written(writers).await;
    assert!(rounds > 0);
    assert_eq!(whole(&postgres).await, 2 * rounds);
}
