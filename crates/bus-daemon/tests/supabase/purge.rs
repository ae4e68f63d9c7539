//! The purge of a daemon, on a project.

use std::time::Duration;

use bus_testkit::Server;
use rstest::rstest;

use crate::{
    site::Site,
    support::{PATIENCE, Setup},
};

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_purges_what_expired_and_keeps_the_rest(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let site = Site::on(server).await;
    let daemon = site.daemon().start().await;
    for txn in ["stale", "fresh"] {
        site.put(&daemon, txn, txn).await;
    }
    // Beyond its grace: a reader that began before the end has finished.
    let age = "update public.message_bus set expires_at = now() - interval '1 hour' where transaction_id = 'stale'";
    site.project.sql(age).await.unwrap();

    let purging: Setup = site
        .daemon()
        .config(|c| c.purge_interval = Duration::from_millis(20));
    let purging = purging.start().await;
    let purged = async {
        while site.rows().await > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, purged)
        .await
        .expect("the purge");
    let fresh = site.get(&purging, "/v1/messages/fresh/payload");
    assert_eq!(fresh.send().await.unwrap().text().await.unwrap(), "fresh");
    let stale = site.get(&purging, "/v1/messages/stale");
    assert_eq!(stale.send().await.unwrap().status(), 404);
}
