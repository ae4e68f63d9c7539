//! A schema that is not the one that this build knows: parts of it are missing, or it is newer.

use std::time::Duration;

use bus_client::ClientErrorKind;
use bus_store::{Store, StoreError, StoreErrorKind as Kind};
use bus_testkit::{Project, Server};
use rstest::rstest;

use crate::kit::{Body, PATIENT, Rig, begin_new, key, message, publish};

/// Runs `sql` and makes the server read the schema anew.
async fn change(rig: &mut Rig, sql: &str) {
    rig.project.sql(sql).await.unwrap();
    rig.project.restart_server().await.unwrap();
}

fn tells_to_migrate(rig: &Rig, result: Result<(), StoreError>) {
    let error = rig.failed(result, Kind::Denied);
    assert!(!error.is_transient());
    assert!(error.to_string().contains("bus migrate"), "{error}");
}

/// Function by function, then table by table; once it is migrated again, all works and nothing is lost.
#[rstest]
#[tokio::test]
async fn what_is_missing_is_told_and_comes_back(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let mut rig = Rig::own(server).await;
    let body = Body::of(2, 1);
    publish(rig.direct.as_ref(), "there", &body).await;
    let token = begin_new(rig.direct.as_ref(), &message("pending"))
        .await
        .token;
    let missing = "
        drop function public.bus_put(text, text);
        drop function public.bus_put_chunk(text, text);
        drop function public.bus_open(text);
        drop function public.bus_chunk(text, uuid, integer, integer)";
    change(&mut rig, missing).await;
    let new = message("new");
    // On lite a restart runs the migrations again: there they are missing only while it runs.
    if server == Server::Lite {
        rig.project.sql(missing).await.unwrap();
    }
    let id = rig.store.record(&key("there")).await.unwrap().id;
    let one = Body::of(1, 2);
    tells_to_migrate(
        &rig,
        rig.store
            .put(&new, &one.manifest, &one.chunks)
            .await
            .map(drop),
    );
    tells_to_migrate(
        &rig,
        rig.store.put_chunk(&token, 0, body.chunks[0].clone()).await,
    );
    tells_to_migrate(&rig, rig.store.open(&key("there")).await.map(drop));
    let chunks = rig.store.chunks(&new.key.principal, id, 0..1).await;
    tells_to_migrate(&rig, chunks.map(drop));
    let told = rig
        .client()
        .fetch(&"there".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(told.kind(), ClientErrorKind::Denied);

    migrate(&rig.project).await;
    rig.project.restart_server().await.unwrap();
    rig.whole(&key("there"), &body).await;
    rig.works("afterwards").await;
}

async fn migrate(project: &Project) {
    let migrations = bus_testkit::Migrations::read().unwrap();
    migrations
        .apply(&project.connect().await.unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_project_without_tables_is_told_to_migrate() {
    let mut rig = Rig::own(Server::Postrust).await;
    change(&mut rig, "drop table public.message_bus cascade").await;
    let (new, body) = (message("new"), Body::of(1, 1));
    let put = rig.store.put(&new, &body.manifest, &body.chunks).await;
    tells_to_migrate(&rig, put.map(drop));
    tells_to_migrate(&rig, rig.store.begin(&new).await.map(drop));
    tells_to_migrate(&rig, rig.store.open(&new.key).await.map(drop));
    tells_to_migrate(&rig, rig.store.stats().await.map(drop));
    migrate(&rig.project).await;
    rig.works("afterwards").await;
}

/// Nothing of ours is there: a project that nobody has migrated yet.
#[tokio::test]
async fn an_empty_project_is_told_to_migrate() {
    let mut rig = Rig::own(Server::Postrust).await;
    change(
        &mut rig,
        "drop schema public cascade; create schema public; drop schema bus_internal cascade",
    )
    .await;
    let new = message("new");
    tells_to_migrate(&rig, rig.store.check().await);
    tells_to_migrate(&rig, rig.store.begin(&new).await.map(drop));
    tells_to_migrate(&rig, rig.store.record(&new.key).await.map(drop));
}

/// A server that runs on while it is migrated: what it does not know yet, it knows soon.
#[tokio::test]
async fn a_server_that_runs_on_learns_of_the_migration() {
    let mut rig = Rig::own(Server::Postrust).await;
    change(&mut rig, "drop function public.bus_check(text)").await;
    tells_to_migrate(&rig, rig.store.check().await);
    migrate(&rig.project).await;
    let known = async {
        while rig.store.check().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENT, known)
        .await
        .expect("the schema is read anew by itself");
}

#[tokio::test]
async fn a_schema_from_the_future_is_refused() {
    let rig = Rig::own(Server::Postrust).await;
    let version = |number: u32| {
        format!(
            "create or replace function bus_internal.schema_version() returns integer
            language sql immutable set search_path = '' as 'select {number}'"
        )
    };
    rig.project.sql(&version(999)).await.unwrap();
    let error = rig.failed(rig.store.check().await, Kind::NewerFormat);
    assert!(error.to_string().contains("upgrade bus"), "{error}");
    assert_eq!(rig.store.info().await.unwrap().schema_version, 999);
    rig.project.sql(&version(0)).await.unwrap();
    tells_to_migrate(&rig, rig.store.check().await);
}

/// Rights that somebody took away.
#[tokio::test]
async fn a_function_that_may_not_be_called_is_denied() {
    let rig = Rig::own(Server::Postrust).await;
    rig.project
        .sql("revoke all on function public.bus_put(text, text) from service_role")
        .await
        .unwrap();
    let (new, body) = (message("new"), Body::of(1, 1));
    let put = rig.store.put(&new, &body.manifest, &body.chunks).await;
    let error = rig.failed(put, Kind::Denied);
    assert!(error.to_string().contains("bus migrate"), "{error}");
    migrate(&rig.project).await;
    rig.works("afterwards").await;
}
