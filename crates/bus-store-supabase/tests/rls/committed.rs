//! What is committed never changes, whoever asks: not by a caller, not by the owner of the tables.

use bus_testkit::{Project, Server};
use tokio_postgres::Client;

use crate::cells::Cells;
use crate::who::{Who, become_sql, direct_sql};
use crate::world::{Target, seed};

fn changes(t: &Target) -> Vec<String> {
    let (done, inline, open) = (t.complete.id, t.inline.id, t.pending.id);
    let chunk = "seq, stored_bytes, sha256, body";
    let bytes = "1, encode(sha256('x'), 'hex'), 'x'";
    let mut all = vec![
        format!("update public.message_bus_chunks set body = 'x', stored_bytes = 1 where message_id = '{done}'"),
        format!("update public.message_bus_chunks set sha256 = repeat('0', 64) where message_id = '{done}' and seq = 1"),
        format!("update public.message_bus_chunks set seq = seq + 5 where message_id = '{done}'"),
        format!("update public.message_bus_chunks set message_id = '{open}', seq = seq + 5 where message_id = '{done}'"),
        format!("update public.message_bus_chunks set message_id = '{done}', seq = seq + 5 where message_id = '{open}'"),
        format!("delete from public.message_bus_chunks where message_id = '{done}'"),
        format!("delete from public.message_bus_chunks where message_id = '{done}' and seq = 1"),
        format!("insert into public.message_bus_chunks (message_id, {chunk}) values ('{done}', 7, {bytes})"),
        format!("insert into public.message_bus_chunks (message_id, {chunk}) values ('{inline}', 0, {bytes})"),
        format!(
            "insert into public.message_bus_chunks (message_id, {chunk}) values ('{done}', 0, {bytes})
             on conflict (message_id, seq) do update set body = excluded.body"
        ),
    ];
    for (column, value) in [
        ("id", "gen_random_uuid()"),
        ("status", "'pending'"),
        ("payload", "'x'"),
        ("payload", "null"),
        ("payload_size_bytes", "1"),
        ("compression_type", "'gzip'"),
        ("compressed_size_bytes", "1"),
        ("checksum", "repeat('0', 64)"),
        ("format_version", "2"),
        ("chunk_count", "1"),
        ("chunk_size_bytes", "1"),
        ("encoded_sha256", "repeat('0', 64)"),
        ("manifest", "'x'"),
        ("manifest_sha256", "repeat('0', 64)"),
    ] {
        all.push(format!(
            "update public.message_bus set {column} = {value} where id in ('{done}', '{inline}')"
        ));
    }
    all
}

#[tokio::test]
async fn the_owner_of_the_tables_changes_nothing_that_is_committed() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let mut cells = Cells::default();
    for sql in changes(&targets[0]) {
        let answer = direct_sql(&client, "", &sql, false).await;
        cells.equal(&answer.word().as_str(), &"PT409", || {
            format!("{sql}: {}", answer.body)
        });
        for who in [
            Who::Anon,
            Who::User("alice"),
            Who::User("bob"),
            Who::Service,
        ] {
            let answer = direct_sql(&client, &become_sql(who), &sql, false).await;
            cells.check(answer.status == "error", || {
                format!("{who:?} {sql}: {}", answer.body)
            });
        }
    }
    cells.judge(100);
}

/// What must go on: stamps, another expiry, and going away as a whole.
#[tokio::test]
async fn a_committed_message_is_stamped_and_deleted_as_a_whole() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let client = project.connect().await.unwrap();
    let targets = seed(&client).await;
    let id = targets[0].complete.id;
    for set in [
        "accessed_at = now()",
        "acknowledged_at = now()",
        "expires_at = now()",
        "metadata = '{}'",
    ] {
        client
            .batch_execute(&format!(
                "update public.message_bus set {set} where id = '{id}'"
            ))
            .await
            .unwrap();
    }
    // The clean-up statement of the original, by the service role.
    let clean_up = "delete from public.message_bus where expires_at < now()";
    let answer = direct_sql(&client, &become_sql(Who::Service), clean_up, true).await;
    assert_eq!(answer.status, "200", "{}", answer.body);
    assert_eq!(count(&client, &format!("message_id = '{id}'")).await, 0);
    // And what is pending may be taken away chunk by chunk, by the owner.
    client
        .batch_execute(
            "delete from public.message_bus_chunks c using public.message_bus m
        where m.id = c.message_id and m.status = 'pending'",
        )
        .await
        .unwrap();
}

async fn count(client: &Client, filter: &str) -> i64 {
    let sql = format!("select count(*) from public.message_bus_chunks where {filter}");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}
