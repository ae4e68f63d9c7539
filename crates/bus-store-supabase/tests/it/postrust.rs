//! The conformance suite and the model test on postrust, behind the gateway.

use bus_testkit::Server;

use crate::support::Fixture;

async fn harness() -> Fixture {
    Fixture::take(Server::Postrust).await
}

bus_store::conformance_suite!(harness);
