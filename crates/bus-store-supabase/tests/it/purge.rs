//! A purge is bounded in bytes as well: a statement that runs out of its time has deleted nothing.

use bus_store::{PurgeOptions, Store as _};
use bus_store_supabase::SupabaseStore;
use bus_testkit::{Project, Server};

use crate::support::config;

/// Expired messages that say of themselves that they have this many MiB; their chunks do not matter.
async fn expired(project: &Project, mib: &[u64]) {
    for (number, mib) in mib.iter().enumerate() {
        let row = format!(
            "insert into public.message_bus (transaction_id, session_id, tool_name, provider_name,
               compression_type, compressed_size_bytes, checksum, status, expires_at, principal, content_type,
               format_version, chunk_count, chunk_size_bytes, encoded_sha256, manifest, manifest_sha256,
               upload_token, lease_ms, ttl_ms)
             values ('m{number}', 's', 't', 'p', 'none', {mib}::bigint * 1048576, repeat('0', 64), 'complete',
               now() - interval '1 day', 'default', 'a/b', 1, 1, 1, repeat('0', 64), 'x', repeat('0', 64),
               gen_random_uuid(), 1, 1)"
        );
        project.sql(&row).await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_ends_with_the_message_that_makes_it_256_mib() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let store = SupabaseStore::new(config(&project)).unwrap();
    expired(&project, &[200, 200, 200]).await;
    let options = PurgeOptions::default();
    let first = store.purge(&options).await.unwrap();
    assert_eq!((first.expired, first.freed_bytes), (2, 400 << 20));
    assert!(first.more, "{first:?}");
    let rest = store.purge(&options).await.unwrap();
    assert_eq!((rest.expired, rest.more), (1, false), "{rest:?}");
}

#[tokio::test]
async fn a_message_larger_than_a_batch_goes_alone() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let store = SupabaseStore::new(config(&project)).unwrap();
    expired(&project, &[9000, 9000]).await;
    for _ in 0..2 {
        let purged = store.purge(&PurgeOptions::default()).await.unwrap();
        assert_eq!((purged.expired, purged.more), (1, true), "{purged:?}");
    }
    let last = store.purge(&PurgeOptions::default()).await.unwrap();
    assert_eq!((last.removed(), last.more), (0, false), "{last:?}");
}
