//! Requests made to hurt: too deep, too big, contradictory, out of range. Each is answered, soon, and nothing of it stays.

use bus_testkit::{Project, Server};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::calls::{Args, Call};
use crate::cells::Cells;
use crate::who::{Answer, Who, become_sql, call_setup, call_sql, direct_sql};
use crate::world::{Target, base64, chunk_request, chunks, held, manifest, plan, seed};

/// As the servers limit a user's calls.
const AS_HOSTED: &str = "set local statement_timeout = '8s';";

async fn ask(client: &Client, call: &Call) -> Answer {
    let setup = format!(
        "{AS_HOSTED}{}{}",
        call_setup(call),
        become_sql(Who::User("alice"))
    );
    direct_sql(client, &setup, &call_sql(call), false).await
}

/// What a caller may be told: an outcome, or an error that blames the request.
fn blames_the_request(answer: &Answer) -> bool {
    let word = answer.word();
    answer.status == "200"
        || ["PT4", "22", "23", "54"]
            .iter()
            .any(|class| word.starts_with(class))
}

/// 92 bytes of a manifest, with these numbers, and as many entries as follow.
fn forged(chunk_size: u64, payload_size: u64, count: u32, entries: &[u8]) -> String {
    let mut bytes = manifest(&chunks("alice")).to_bytes()[..92].to_vec();
    bytes[8..16].copy_from_slice(&chunk_size.to_be_bytes());
    bytes[16..24].copy_from_slice(&payload_size.to_be_bytes());
    bytes[88..92].copy_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(entries);
    base64(&bytes)
}

fn manifests(t: &Target) -> Vec<Call> {
    let huge = [0xff_u8; 40];
    let forged = [
        forged(16, 28, u32::MAX, &[]),
        forged(1, u64::from(u32::MAX), u32::MAX, &[]),
        forged(1, 2_147_483_647, 2_147_483_647, &[]),
        forged(0, 28, 2, &[0; 80]),
        forged(u64::MAX, 28, 1, &[0; 40]),
        forged(16, u64::MAX, 1, &[0; 40]),
        forged(16, 16, 1, &huge),
        forged(16, 32, 2, &[0x7f; 80]),
        // Well formed: a hundred thousand chunks that are not there.
        forged(16, 1_600_000, 100_000, &[0; 4_000_000]),
        base64(b"BUSM"),
        String::new(),
        "no base64 at all!".to_owned(),
    ];
    let mut calls = Vec::new();
    for manifest in forged {
        let mut commit = held("alice", &t.pending);
        commit["manifest"] = json!(manifest);
        calls.push(Call::new("bus_commit", "manifest", Args::Request(commit)));
        let mut put = plan("alice", "k9", Uuid::from_u128(7), "x");
        put["manifest"] = json!(manifest);
        calls.push(Call::new(
            "bus_put",
            "manifest",
            Args::Body(put, b"x".to_vec()),
        ));
    }
    calls
}

#[tokio::test]
async fn a_forged_manifest_is_refused() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let mut cells = Cells::default();
    for (place, call) in manifests(&targets[0]).iter().enumerate() {
        let answer = ask(&client, call).await;
        let word = answer.word();
        let refused = blames_the_request(&answer) && !["ok", "created"].contains(&word.as_str());
        cells.check(refused, || format!("{} {place}: {answer:?}", call.function));
    }
    cells.judge(24);
}

#[tokio::test]
async fn bombs_of_json_are_refused_and_the_session_goes_on() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    seed(&client).await;
    let deep = "[".repeat(200_000);
    let closed = format!("{deep}{}", "]".repeat(200_000));
    let mut cells = Cells::default();
    for text in [
        deep.as_str(),
        &closed,
        "{",
        "",
        "null",
        "7",
        "\"x\"",
        "[]",
        "[1,2]",
        "{\"limit\":{}}",
        "\u{1}",
    ] {
        for function in [
            "bus_begin",
            "bus_renew",
            "bus_commit",
            "bus_abort",
            "bus_record",
            "bus_open",
            "bus_body",
            "bus_touch",
            "bus_acknowledge",
            "bus_delete",
            "bus_list",
            "bus_purge",
            "bus_audit_append",
            "bus_audit_query",
            "bus_audit_purge",
            "bus_history_append",
            "bus_history_page",
            "bus_prefs_set",
            "bus_prefs_get",
        ] {
            let setup = format!("{AS_HOSTED}{}", become_sql(Who::User("alice")));
            let sql = format!("select public.{function}({})", crate::who::quote(text));
            let answer = direct_sql(&client, &setup, &sql, false).await;
            let shown: String = text.chars().take(20).collect();
            cells.check(blames_the_request(&answer), || {
                format!("{function} of {shown}: {answer:?}")
            });
        }
    }
    // Deep metadata of a message is kept or refused, as its writer's own.
    let mut put = plan("alice", "k9", Uuid::from_u128(7), "x");
    put["metadata"] = json!(format!("{{\"a\":{closed}}}"));
    let answer = ask(
        &client,
        &Call::new("bus_begin", "metadata", Args::Request(put)),
    )
    .await;
    cells.check(blames_the_request(&answer), || {
        format!("deep metadata: {}", answer.word())
    });
    cells.judge(200);
}

#[tokio::test]
async fn numbers_out_of_range_are_cut_or_refused() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let t = &targets[0];
    let part = chunks("alice")[0].clone();
    let numbers = [
        "-9223372036854775808",
        "-1",
        "0",
        "2147483648",
        "9223372036854775807",
        "9223372036854775808",
        "1e400",
        "1.5",
        "null",
        "true",
        "\"x\"",
        "[]",
    ]
    .map(|n| serde_json::from_str::<Value>(n).unwrap_or(json!(n)));
    let mut cells = Cells::default();
    for number in &numbers {
        let mut calls = Vec::new();
        for field in [
            "lease_ms",
            "ttl_ms",
            "chunk_size_bytes",
            "expected_size_bytes",
            "format_version",
        ] {
            let mut request = plan("alice", "k9", Uuid::from_u128(7), "x");
            request[field] = number.clone();
            calls.push(Call::new("bus_begin", field, Args::Request(request)));
        }
        let mut chunk = chunk_request("alice", &t.pending, 0, &part);
        chunk["seq"] = number.clone();
        calls.push(Call::new(
            "bus_put_chunk",
            "seq",
            Args::Body(chunk, part.clone()),
        ));
        for (function, field) in [
            ("bus_list", "limit"),
            ("bus_list", "from_ms"),
            ("bus_list", "before_ms"),
            ("bus_list", "after"),
            ("bus_purge", "limit"),
            ("bus_purge", "acknowledged_after_ms"),
            ("bus_audit_query", "limit"),
            ("bus_audit_purge", "older_than_ms"),
            ("bus_history_page", "limit"),
            ("bus_history_entry", "seq"),
            ("bus_prefs_list", "limit"),
            ("bus_doctor", "budget_ms"),
        ] {
            calls.push(Call::new(
                function,
                field,
                Args::Request(json!({ "conversation_id": "c", field: number })),
            ));
        }
        for call in &calls {
            let answer = ask(&client, call).await;
            cells.check(blames_the_request(&answer), || {
                format!("{} {} {number}: {answer:?}", call.function, call.about)
            });
        }
    }
    cells.judge(200);
}

/// What is asked for in bulk is answered in bounds.
#[tokio::test]
async fn pages_and_batches_are_bounded_whatever_is_asked_for() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    // 40 records with 1 MB of metadata each, and 10,500 that may be purged.
    let fill = "
        insert into public.message_bus (transaction_id, session_id, tool_name, provider_name, compression_type, status,
          expires_at, principal, content_type, format_version, chunk_size_bytes, upload_token, lease_ms, ttl_ms, metadata)
        select 'm' || i, 's', 't', 'p', 'none', 'error', case when i <= 40 then now() + interval '1 day' else now() end,
          'alice', 'text/plain', 1, 16, gen_random_uuid(), 1, 1,
          case when i <= 40 then json_build_object('a', repeat('x', 1000000)) else '{}' end
        from generate_series(1, 10540) i";
    client.batch_execute(fill).await.unwrap();
    let page = json!({ "limit": 1_000_000, "status": "error", "from_ms": 0 });
    let answer = ask(&client, &Call::new("bus_list", "all", Args::Request(page))).await;
    assert!(
        answer.body.len() < 11_000_000,
        "a page of {} bytes",
        answer.body.len()
    );
    let page: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(page["more"], true);
    let purge = Call::new(
        "bus_purge",
        "all",
        Args::Request(json!({ "limit": 4_000_000_000_u32 })),
    );
    let answer = ask(&client, &purge).await;
    let purged: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (purged["failed"].as_i64(), purged["more"].as_bool()),
        (Some(10_000), Some(true)),
        "{}",
        answer.body
    );
    let keys: Vec<Value> = (0..50_000)
        .map(|i| json!(["alice", format!("m{i}")]))
        .collect();
    let touch = Call::new("bus_touch", "all", Args::Request(json!({ "keys": keys })));
    assert_eq!(ask(&client, &touch).await.word(), "ok");
}
