//! A server that takes smaller requests than the store sends, and no gateway before it: a real 413.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bus_client::ClientErrorKind;
use bus_store::{PutOutcome, Store, StoreErrorKind as Kind};
use bus_testkit::{JWT_SECRET, Project, cache_dir, free_port};

use crate::kit::{Body, PATIENT, Rig, begin_new, client, config, message, store};

/// What it takes, in bytes: less than a chunk.
const MOST: usize = 32 << 10;

/// A postrust of its own on the database of a project.
struct Strict {
    child: Child,
    url: String,
}

impl Strict {
    fn start(project: &Project) -> Self {
        let program = cache_dir().join("postrust-3.1.0/bin/postrust");
        let database = project
            .database_url()
            .replace("//postgres@", "//authenticator@");
        let port = free_port().unwrap();
        let child = Command::new(program)
            .env("PGRST_DB_URI", database)
            .env("PGRST_DB_ANON_ROLE", "anon")
            .env("PGRST_JWT_SECRET", JWT_SECRET)
            .env("PGRST_COMPAT_MODE", "true")
            .env("PGRST_MAX_BODY_SIZE", MOST.to_string())
            .env("PGRST_SERVER_HOST", "127.0.0.1")
            .env("PGRST_SERVER_PORT", port.to_string())
            .env("PGRST_ADMIN_SERVER_PORT", free_port().unwrap().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postrust is installed: cargo xtask ci --install");
        let url = format!("http://127.0.0.1:{port}");
        Self { child, url }
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_request_that_is_too_large_for_the_server_is_told_and_smaller_ones_pass() {
    let rig = Rig::shared().await;
    let strict = Strict::start(&rig.project);
    let config = config(&strict.url, &rig.project.service_jwt(), PATIENT).with_rest_prefix("");
    let store = store(config);
    let until = Instant::now() + PATIENT;
    while let Err(error) = store.check().await {
        assert!(Instant::now() < until, "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let (new, body) = (message("large"), Body::of(2, 1));
    let token = begin_new(store.as_ref(), &new).await.token;
    let sent = store.put_chunk(&token, 0, body.chunks[0].clone()).await;
    let error = rig.failed(sent, Kind::TooLarge);
    assert!(!error.is_transient());
    assert!(error.to_string().contains("smaller chunks"), "{error}");
    store.abort(&token, "too large").await.unwrap();
    let (put, one) = (message("put"), Body::of(1, 2));
    rig.failed(
        store.put(&put, &one.manifest, &one.chunks).await,
        Kind::TooLarge,
    );
    let told = client(store.clone())
        .publish(by_client(), body.payload.clone())
        .await
        .unwrap_err();
    assert_eq!(told.kind(), ClientErrorKind::TooLarge);
    rig.absent(&new.key, &body).await;
    rig.absent(&put.key, &one).await;

    // As the advice says.
    let mut new = message("smaller");
    new.plan.chunk_size = 16 << 10;
    let smaller = Body::cut(one.payload.clone(), 16 << 10);
    let put = store
        .put(&new, &smaller.manifest, &smaller.chunks)
        .await
        .unwrap();
    assert!(matches!(put, PutOutcome::Created(_)), "{put:?}");
    rig.whole(&new.key, &smaller).await;
}

fn by_client() -> bus_client::Message {
    bus_client::Message::new("session".parse().unwrap(), "tool".parse().unwrap())
}
