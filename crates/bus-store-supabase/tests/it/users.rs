//! With the token of a user: its `sub` is the principal, whatever the caller says.

use std::sync::Arc;

use bus_client::{ClientErrorKind, Source};
use bus_model::{MessageKey, Principal};
use bus_store::{Store, StoreErrorKind};
use bus_store_supabase::{SupabaseConfig, SupabaseStore};
use bus_testkit::{Project, Server, random_payload};
use chrono::TimeDelta;
use rstest::rstest;
use secrecy::SecretString;

use crate::support::{
    config,
    writing::{client, published},
};

fn secret(text: impl Into<String>) -> SecretString {
    SecretString::from(text.into())
}

/// A store that acts as `sub`.
fn as_user(project: &Project, sub: &str) -> Arc<dyn Store> {
    Arc::new(with_token(project, project.user_jwt(sub)))
}

/// The publishable key and a token beside it, as hosted projects want it.
fn with_token(project: &Project, token: String) -> SupabaseStore {
    let key = secret(project.publishable_key());
    let config = SupabaseConfig::new(project.url(), &key).unwrap();
    let config = config.with_access_token(&secret(token)).unwrap();
    SupabaseStore::new(config).unwrap()
}

#[rstest]
#[tokio::test]
async fn a_user_publishes_and_fetches_as_itself(
    #[values(Server::Postrust, Server::Lite)] server: Server,
    #[values(10, 350_000)] len: usize,
) {
    let project = Project::take(server).await.unwrap();
    let user = client(as_user(&project, "user-1"));
    let payload = random_payload(len, 5);
    let message = published("m");
    let id = message.transaction_id.clone().unwrap();
    let stored = user
        .publish(message, Source::bytes(payload.clone()))
        .await
        .unwrap();
    assert_eq!(stored.record.principal.as_str(), "user-1");
    assert!(user.fetch(&id).await.unwrap().bytes().await.unwrap() == payload);
    user.acknowledge(&id).await.unwrap();
    // Another user finds nothing; whoever holds the secret key finds it under that principal.
    let other = client(as_user(&project, "user-2"));
    let refused = other.fetch(&id).await.unwrap_err();
    assert_eq!(refused.kind(), ClientErrorKind::NotFound);
    let all = SupabaseStore::new(config(&project)).unwrap();
    let key = MessageKey::new(Principal::new("user-1").unwrap(), id.clone());
    assert_eq!(
        all.record(&key).await.unwrap().payload_size_bytes,
        len as u64
    );
    user.delete(&id).await.unwrap();
    assert_eq!(
        all.record(&key).await.unwrap_err().kind(),
        StoreErrorKind::NotFound
    );
}

/// A user that names somebody else gets its own all the same.
#[tokio::test]
async fn a_user_cannot_name_another_principal() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let victim = client(as_user(&project, "victim"));
    let id = published("m").transaction_id.unwrap();
    victim
        .publish(published("m"), Source::bytes("secret"))
        .await
        .unwrap();
    let thief =
        client(as_user(&project, "thief")).with_principal(Principal::new("victim").unwrap());
    let refused = thief.fetch(&id).await.unwrap_err();
    assert_eq!(refused.kind(), ClientErrorKind::NotFound);
    let stored = thief
        .publish(published("m"), Source::bytes("mine"))
        .await
        .unwrap();
    assert!(stored.created);
    assert_eq!(stored.record.principal.as_str(), "thief");
    assert_eq!(
        victim.fetch(&id).await.unwrap().bytes().await.unwrap(),
        "secret"
    );
}

/// What cannot act for anybody is told what it is.
#[rstest]
#[case::publishable(|p: &Project| p.publishable_key().to_owned(), "a publishable key has the role anon")]
#[case::anon(|p: &Project| p.anon_jwt(), "this is the project's anon key")]
#[case::expired(|p: &Project| p.jwt("service_role", None, TimeDelta::hours(-1)), "expired at")]
#[case::revoked(|_: &Project| "sb_secret_other".to_owned(), "was not revoked")]
#[tokio::test]
async fn a_key_that_may_not_use_the_store_is_told_why(
    #[case] key: fn(&Project) -> String,
    #[case] why: &str,
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let project = Project::take(server).await.unwrap();
    let key = key(&project);
    let config = SupabaseConfig::new(project.url(), &secret(key.clone())).unwrap();
    let store = SupabaseStore::new(config).unwrap();
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Denied, "{error:?}");
    let shown = format!("{error} {error:?}");
    assert!(error.to_string().contains(why), "{error}");
    assert!(!shown.contains(&key), "{shown}");
}

/// A token that says nobody's name acts for nobody.
#[rstest]
#[tokio::test]
async fn a_token_without_a_user_is_told_so(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let project = Project::take(server).await.unwrap();
    let token = project.jwt("authenticated", None, TimeDelta::hours(1));
    let error = with_token(&project, token).check().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Denied, "{error:?}");
    assert!(error.to_string().contains("names no user"), "{error}");
}

/// The older keys are JWTs. Hosted projects take one in both headers, @supabase/lite as a token only.
#[rstest]
#[tokio::test]
async fn the_older_service_key_sees_all(#[values(Server::Postrust, Server::Lite)] server: Server) {
    let project = Project::take(server).await.unwrap();
    let jwt = project.service_jwt();
    let store = match server {
        Server::Lite => with_token(&project, jwt),
        Server::Postrust => {
            let config = SupabaseConfig::new(project.url(), &secret(jwt)).unwrap();
            SupabaseStore::new(config).unwrap()
        }
    };
    store.check().await.unwrap();
    assert_eq!(store.info().await.unwrap().principal, None);
    let named = client(Arc::new(store)).with_principal(Principal::new("somebody").unwrap());
    let stored = named
        .publish(published("m"), Source::bytes("x"))
        .await
        .unwrap();
    assert_eq!(stored.record.principal.as_str(), "somebody");
}
