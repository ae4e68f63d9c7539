//! What is there before anybody asks: for each principal a message in every state, and its other records.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bus_model::{ChunkEntry, CompressionType, Digest, Manifest};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::calls::{Args, Call};
use crate::tables::TABLES;
use crate::who::{Who, become_sql, call_setup, call_sql, direct_sql};

/// Where every chunk ends.
pub(crate) const CHUNK: u64 = 16;

/// A message, by all that it can be asked for with.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) txn: String,
    pub(crate) id: Uuid,
    pub(crate) token: Uuid,
}

/// The records of a principal; or names and ids of the same shape that belong to nothing.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) principal: String,
    /// Of two chunks.
    pub(crate) complete: Message,
    /// Of one, within its row.
    pub(crate) inline: Message,
    /// Of which chunk 0 is there.
    pub(crate) pending: Message,
    pub(crate) failed: Message,
    pub(crate) expired: Message,
    pub(crate) audit: Uuid,
    pub(crate) conversation: String,
    pub(crate) preference: String,
}

impl Target {
    /// Names with `prefix`, ids at random.
    fn named(principal: &str, prefix: &str) -> Self {
        let message = |state: &str| Message {
            txn: format!("{prefix}-{state}"),
            id: Uuid::now_v7(),
            token: Uuid::new_v4(),
        };
        Self {
            principal: principal.to_owned(),
            complete: message("complete"),
            inline: message("inline"),
            pending: message("pending"),
            failed: message("failed"),
            expired: message("expired"),
            audit: Uuid::now_v7(),
            conversation: format!("{prefix}-talk"),
            preference: format!("{prefix}-color"),
        }
    }

    /// The same principal, but nothing of what it names is there. Names are as long as those of the real one.
    pub(crate) fn ghost(&self) -> Self {
        Self::named(&self.principal, "g0")
    }

    /// `text` as it would be had the ghost's names been this one's.
    pub(crate) fn as_if_real(&self, text: &str) -> String {
        let prefix = self.complete.txn.split('-').next().unwrap();
        text.replace("g0-", &format!("{prefix}-"))
    }

    pub(crate) fn messages(&self) -> [(&'static str, &Message); 5] {
        [
            ("complete", &self.complete),
            ("inline", &self.inline),
            ("pending", &self.pending),
            ("failed", &self.failed),
            ("expired", &self.expired),
        ]
    }

    fn messages_mut(&mut self) -> [&mut Message; 5] {
        [
            &mut self.complete,
            &mut self.inline,
            &mut self.pending,
            &mut self.failed,
            &mut self.expired,
        ]
    }

    /// What no answer to anybody else may hold: ids, tokens, and the name that is in all its texts.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let messages = self.messages();
        let ids = messages.iter().flat_map(|(_, m)| [m.id, m.token]);
        // `default` alone is a word that others use.
        let name = if self.principal == "default" {
            "default-"
        } else {
            &self.principal
        };
        ids.chain([self.audit])
            .map(|id| id.to_string())
            .chain([name.to_owned()])
            .collect()
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// The stored chunks of whatever message of `principal`.
pub(crate) fn chunks(principal: &str) -> [Vec<u8>; 2] {
    [
        format!("{principal:<16}").into_bytes(),
        b"and the rest".to_vec(),
    ]
}

/// A manifest of raw chunks.
pub(crate) fn manifest(chunks: &[Vec<u8>]) -> Manifest {
    let whole = chunks.concat();
    let entries = chunks.iter().map(|chunk| ChunkEntry {
        stored_len: chunk.len() as u64,
        digest: Digest::of(chunk),
    });
    let (size, digest) = (whole.len() as u64, Digest::of(&whole));
    Manifest::new(
        CompressionType::None,
        CHUNK,
        size,
        digest,
        digest,
        entries.collect(),
    )
    .unwrap()
}

/// What `bus_begin` and `bus_put` take; `of` is who its texts speak of.
pub(crate) fn plan(principal: &str, txn: &str, token: Uuid, of: &str) -> Value {
    json!({
        "principal": principal, "transaction_id": txn, "session_id": format!("{of}-session"),
        "tool_name": format!("{of}-tool"), "provider_name": "p", "content_type": "text/plain",
        "priority": "normal", "metadata": json!({ "of": of }).to_string(), "format_version": 1,
        "compression_type": "none", "chunk_size_bytes": CHUNK, "upload_token": token,
        "lease_ms": 600_000, "ttl_ms": 3_600_000,
    })
}

/// The same with the manifest that `bus_put` wants.
pub(crate) fn with_manifest(mut plan: Value, chunks: &[Vec<u8>]) -> Value {
    plan["manifest"] = json!(base64(&manifest(chunks).to_bytes()));
    plan
}

/// What the calls with an upload token take.
pub(crate) fn held(principal: &str, message: &Message) -> Value {
    json!({ "principal": principal, "id": message.id, "upload_token": message.token })
}

pub(crate) fn chunk_request(principal: &str, message: &Message, seq: u32, bytes: &[u8]) -> Value {
    let mut request = held(principal, message);
    request["seq"] = json!(seq);
    request["sha256"] = json!(Digest::of(bytes).to_string());
    request
}

pub(crate) fn audit_entry(principal: &str, id: Uuid, of: &str) -> Value {
    json!({ "entries": [{
        "id": id, "at_ms": 1_790_000_000_000_i64, "principal": principal, "session_id": format!("{of}-session"),
        "request_id": format!("\"{of}\""), "transaction_id": null, "tool_name": format!("{of}-tool"),
        "provider_name": "p", "payload_size_bytes": 1, "frame_bytes": 1, "route": "inline", "reason": "\"\"",
        "skipped": "[]", "tool_ms": 1, "store_ms": 1, "total_ms": 1, "outcome": "delivered", "error_message": null,
    }] })
}

pub(crate) fn history_entry(principal: &str, conversation: &str, of: &str) -> Value {
    let text = format!("hello from {of}");
    json!({
        "principal": principal, "conversation_id": conversation, "entry_id": "e1", "role": "user",
        "content": json!(text).to_string(), "size_bytes": text.len(),
        "sha256": Digest::of(text.as_bytes()).to_string(), "metadata": "{}",
    })
}

pub(crate) fn preference(principal: &str, name: &str, of: &str) -> Value {
    json!({ "principal": principal, "name": name, "value": format!("\"{of}\"") })
}

/// Empties all tables and fills them: for alice and bob, and for the principal that the service writes for.
pub(crate) async fn seed(client: &Client) -> [Target; 3] {
    client
        .batch_execute(&everywhere(|table| format!("delete from public.{table};")))
        .await
        .unwrap();
    let mut targets = [("alice", "k1"), ("bob", "k2"), ("default", "k3")]
        .map(|(principal, prefix)| Target::named(principal, prefix));
    for target in &mut targets {
        fill(client, target).await;
    }
    targets
}

async fn fill(client: &Client, t: &mut Target) {
    let p = t.principal.clone();
    let parts = chunks(&p);
    for message in [&t.inline, &t.expired] {
        let request = with_manifest(plan(&p, &message.txn, message.token, &p), &parts[..1]);
        write(
            client,
            "bus_put",
            Args::Body(request, parts[0].clone()),
            "created",
        )
        .await;
    }
    for message in [&mut t.complete, &mut t.pending, &mut t.failed] {
        let begun = Args::Request(plan(&p, &message.txn, message.token, &p));
        let answer = write(client, "bus_begin", begun, "new").await;
        message.id = answer["id"].as_str().unwrap().parse().unwrap();
        let chunk = Args::Body(chunk_request(&p, message, 0, &parts[0]), parts[0].clone());
        write(client, "bus_put_chunk", chunk, "ok").await;
    }
    let second = Args::Body(
        chunk_request(&p, &t.complete, 1, &parts[1]),
        parts[1].clone(),
    );
    write(client, "bus_put_chunk", second, "ok").await;
    let commit = with_manifest(held(&p, &t.complete), &parts);
    write(client, "bus_commit", Args::Request(commit), "ok").await;
    let mut abort = held(&p, &t.failed);
    abort["reason"] = json!(format!("{p} gave up"));
    write(client, "bus_abort", Args::Request(abort), "ok").await;
    write(
        client,
        "bus_audit_append",
        Args::Request(audit_entry(&p, t.audit, &p)),
        "ok",
    )
    .await;
    let entry = history_entry(&p, &t.conversation, &p);
    write(
        client,
        "bus_history_append",
        Args::Request(entry),
        "created",
    )
    .await;
    let preference = preference(&p, &t.preference, &p);
    write(client, "bus_prefs_set", Args::Request(preference), "ok").await;
    let past = "update public.message_bus set expires_at = now() - interval '1 hour' where transaction_id like '%-expired'";
    client.batch_execute(past).await.unwrap();
    for message in t.messages_mut() {
        let by_key =
            "select id::text from public.message_bus where principal = $1 and transaction_id = $2";
        let row = client.query_one(by_key, &[&p, &message.txn]).await.unwrap();
        message.id = row.get::<_, String>(0).parse().unwrap();
    }
}

/// A statement for every table of ours, in an order that references allow once triggers are off.
fn everywhere(statement: impl Fn(&str) -> String) -> String {
    let statements: String = TABLES.iter().map(|table| statement(table.name)).collect();
    format!("begin; set local session_replication_role = replica; {statements} commit;")
}

/// Keeps what is there now, for [`restore`] on the same connection.
pub(crate) async fn keep(client: &Client) {
    let keep =
        everywhere(|table| format!("create temporary table kept_{table} as table public.{table};"));
    client.batch_execute(&keep).await.unwrap();
}

/// All tables as they were at [`keep`].
pub(crate) async fn restore(client: &Client) {
    let restore = everywhere(|table| {
        format!(
            "delete from public.{table}; insert into public.{table} table pg_temp.kept_{table};"
        )
    });
    client.batch_execute(&restore).await.unwrap();
}

/// A call of the service role that must come out so.
async fn write(client: &Client, function: &'static str, args: Args, wanted: &str) -> Value {
    let call = Call::new(function, "seed", args);
    let setup = format!("{}{}", call_setup(&call), become_sql(Who::Service));
    let answer = direct_sql(client, &setup, &call_sql(&call), true).await;
    assert_eq!(answer.word(), wanted, "{function}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// Every row of a principal in every table, as one text: whether anything of it was changed.
pub(crate) async fn state_of(client: &Client, principal: &str) -> String {
    let p = crate::who::quote(principal);
    let mut state = String::new();
    for table in [
        "message_bus",
        "audit_log",
        "conversation_history",
        "user_preferences",
    ] {
        let sql = format!(
            "select string_agg(t::text, E'\\n' order by t::text) from public.{table} t where principal = {p}"
        );
        state.push_str(&crate::who::plain_sql(client, &sql).await.body);
    }
    let chunks = format!(
        "select string_agg(c::text, E'\\n' order by c::text) from public.message_bus_chunks c
         join public.message_bus m on m.id = c.message_id where m.principal = {p}"
    );
    state + &crate::who::plain_sql(client, &chunks).await.body
}
