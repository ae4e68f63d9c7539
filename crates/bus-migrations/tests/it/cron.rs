//! The purge job, where pg_cron is and where it is not.

use std::time::{Duration, Instant};

use bus_testkit::Postgres;

use crate::support::{migrate, server, value};

/// Messages that expired an hour ago, and one that did not.
const MESSAGES: &str = "
insert into public.message_bus (transaction_id, session_id, tool_name, provider_name, payload, payload_size_bytes,
  compression_type, compressed_size_bytes, checksum, status, expires_at, principal, content_type, format_version,
  chunk_count, chunk_size_bytes, encoded_sha256, manifest, manifest_sha256, upload_token, lease_ms, ttl_ms)
select 'txn_' || n, 's', 't', 'p', 'abc', 3, 'none', 3, d, 'complete',
  now() + case when n = 0 then interval '1 hour' else interval '-1 hour' end, 'default', 'x/y', 1,
  1, 10, d, 'm', d, gen_random_uuid(), 1000, 1000
from generate_series(0, 50) n, (select encode(sha256('abc'), 'hex') as d) digest;
";

const JOBS: &str =
    "select string_agg(concat_ws(' ', jobname, schedule, command, active), ';') from cron.job";

#[tokio::test]
async fn the_job_is_scheduled_once_and_really_purges() {
    let postgres = Postgres::with_cron("app").await.unwrap();
    let report = migrate(&postgres, "app").await.unwrap();
    assert_eq!(report.warnings, Vec::<String>::new());
    migrate(&postgres, "app").await.unwrap();
    let jobs = value(&postgres, "app", JOBS).await.unwrap();
    assert_eq!(
        jobs,
        "bus-purge */5 * * * * select bus_internal.purge_all() t"
    );

    postgres.sql("app", MESSAGES).await.unwrap();
    // Debian's pg_cron counts in minutes: the same job, every minute.
    postgres
        .sql(
            "app",
            "select cron.schedule('bus-purge', '* * * * *', (select command from cron.job))",
        )
        .await
        .unwrap();
    let began = Instant::now();
    let left = "select count(*) from public.message_bus";
    while value(&postgres, "app", left).await.unwrap() != "1" {
        assert!(
            began.elapsed() < Duration::from_secs(150),
            "{}",
            postgres.log().unwrap()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let kept = value(
        &postgres,
        "app",
        "select transaction_id from public.message_bus",
    )
    .await;
    assert_eq!(kept.as_deref(), Some("txn_0"));
    // What the operator changed stays.
    migrate(&postgres, "app").await.unwrap();
    assert!(
        value(&postgres, "app", JOBS)
            .await
            .unwrap()
            .starts_with("bus-purge * * * * *")
    );
}

#[tokio::test]
async fn pg_cron_that_comes_later_is_found_by_the_next_run() {
    let postgres = Postgres::with_cron("postgres").await.unwrap();
    postgres.create_database("app").await.unwrap();
    // pg_cron works in one database of a server; this is another one.
    let report = migrate(&postgres, "app").await.unwrap();
    assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
    assert!(
        report.warnings[0].contains("cron.database_name"),
        "{:?}",
        report.warnings
    );

    let first = migrate(&postgres, "postgres").await.unwrap();
    assert!(first.warnings.is_empty());
    postgres
        .sql(
            "postgres",
            "select cron.unschedule('bus-purge'); drop extension pg_cron",
        )
        .await
        .unwrap();
    let second = migrate(&postgres, "postgres").await.unwrap();
    assert_eq!((second.applied.len(), second.warnings.len()), (0, 0));
    assert!(
        value(&postgres, "postgres", JOBS)
            .await
            .unwrap()
            .starts_with("bus-purge */5 * * * *")
    );
}

#[tokio::test]
async fn a_server_without_pg_cron_says_who_purges_instead() {
    // npm's PostgreSQL has no such extension.
    let postgres = server(17).await;
    let report = migrate(&postgres, "app").await.unwrap();
    let word = report.warnings.join("; ");
    assert!(
        word.contains("no purge job") && word.contains("no pg_cron") && word.contains("bus purge"),
        "{word}"
    );
    assert_eq!(report.warnings.len(), 1);
    let again = migrate(&postgres, "app").await.unwrap();
    assert_eq!(again.warnings, report.warnings);
}

#[tokio::test]
async fn purge_all_goes_on_until_nothing_is_left_or_its_time_is_over() {
    let postgres = server(15).await;
    migrate(&postgres, "app").await.unwrap();
    postgres.sql("app", MESSAGES).await.unwrap();
    let part = "select r ->> 'expired' || ' ' || (r ->> 'more') from (select bus_internal.purge_all('{\"batch\": 7, \"budget_ms\": 0}')::json as r) t";
    assert_eq!(value(&postgres, "app", part).await.unwrap(), "7 true");
    let rest = "select r ->> 'expired' || ' ' || (r ->> 'more') from (select bus_internal.purge_all('{\"batch\": 7}')::json as r) t";
    assert_eq!(value(&postgres, "app", rest).await.unwrap(), "43 false");
}

#[tokio::test]
async fn purge_all_passes_over_what_somebody_holds() {
    let postgres = server(15).await;
    migrate(&postgres, "app").await.unwrap();
    postgres.sql("app", MESSAGES).await.unwrap();
    let holder = postgres.connect("app").await.unwrap();
    holder
        .batch_execute(
            "begin; select from public.message_bus where transaction_id = 'txn_9' for update",
        )
        .await
        .unwrap();
    let purge = "set lock_timeout = '2s'; select bus_internal.purge_all()::json ->> 'expired'";
    assert_eq!(value(&postgres, "app", purge).await.unwrap(), "49");
}
