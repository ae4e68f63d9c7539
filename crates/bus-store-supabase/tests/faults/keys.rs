//! Keys that the project refuses: what to do about it is said, the key is not.

use bus_store::{ListQuery, Store, StoreErrorKind as Kind};
use bus_store_supabase::SupabaseConfig;
use bus_testkit::{Project, Server};
use chrono::TimeDelta;
use rstest::rstest;
use secrecy::SecretString;

use crate::kit::{Body, PATIENT, Rig, config, key, message, publish, store};

/// What is wrong with the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Unknown,
    Expired,
    BadSignature,
    Publishable,
    AnonJwt,
    ExpiredUser,
    BadSignatureOfUser,
}

fn tampered(jwt: &str) -> String {
    let (head, signature) = jwt.rsplit_once('.').unwrap();
    let flipped: String = signature.chars().rev().collect();
    format!("{head}.{flipped}")
}

impl Wrong {
    fn config(self, project: &Project) -> (SupabaseConfig, String) {
        let minute = TimeDelta::minutes(1);
        let secret = match self {
            Self::Unknown => format!("{}x", project.secret_key()),
            Self::Expired => project.jwt("service_role", None, -minute),
            Self::BadSignature => tampered(&project.service_jwt()),
            Self::Publishable => project.publishable_key().to_owned(),
            Self::AnonJwt => project.anon_jwt(),
            Self::ExpiredUser => project.jwt("authenticated", Some("ada"), -minute),
            Self::BadSignatureOfUser => tampered(&project.user_jwt("ada")),
        };
        let config = if matches!(self, Self::ExpiredUser | Self::BadSignatureOfUser) {
            let token = SecretString::from(secret.clone());
            config(project.url(), project.publishable_key(), PATIENT)
                .with_access_token(&token)
                .unwrap()
        } else {
            config(project.url(), &secret, PATIENT)
        };
        (config, secret)
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Expired | Self::ExpiredUser => "expired at",
            Self::Publishable => "publishable",
            Self::AnonJwt => "anon key",
            _ => "check that it",
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_key_that_is_refused_is_told_apart(
    #[values(Server::Postrust, Server::Lite)] server: Server,
    #[values(
        Wrong::Unknown,
        Wrong::Expired,
        Wrong::BadSignature,
        Wrong::Publishable,
        Wrong::AnonJwt,
        Wrong::ExpiredUser,
        Wrong::BadSignatureOfUser
    )]
    wrong: Wrong,
) {
    let rig = Rig::on(Project::take(server).await.unwrap(), PATIENT).await;
    // Small: a server that refuses a request before it has read it whole may cut it off.
    let body = Body::cut("small".into(), Body::CHUNK);
    publish(rig.direct.as_ref(), "there", &body).await;
    let (config, secret) = wrong.config(&rig.project);
    let locked_out = store(config);
    let (new, there) = (message("new"), key("there"));
    let query = ListQuery::new(there.principal.clone());
    let errors = [
        locked_out.check().await.unwrap_err(),
        locked_out.begin(&new).await.unwrap_err(),
        locked_out
            .put(&new, &body.manifest, &body.chunks)
            .await
            .unwrap_err(),
        locked_out.open(&there).await.unwrap_err(),
        locked_out.list(&query).await.unwrap_err(),
        locked_out.delete(&there).await.unwrap_err(),
    ];
    for error in errors {
        let error = rig.failed(Err::<(), _>(error), Kind::Denied);
        assert!(!error.is_transient());
        let shown = format!("{error} {error:?} {locked_out:?}");
        assert!(shown.contains(wrong.advice()), "{shown}");
        assert!(!shown.contains(&secret), "{shown}");
    }
    rig.whole(&there, &body).await;
    rig.absent(&new.key, &body).await;
}

/// A token that ends in the middle of an upload: a new one of the same user goes on.
#[tokio::test]
async fn a_user_whose_token_ends_goes_on_with_a_new_one() {
    let rig = Rig::shared().await;
    let body = Body::of(2, 1);
    let as_ada = |token: String| {
        let config = config(rig.project.url(), rig.project.publishable_key(), PATIENT);
        store(
            config
                .with_access_token(&SecretString::from(token))
                .unwrap(),
        )
    };
    let new = message("hers");
    let before = as_ada(rig.project.user_jwt("ada"));
    let token = crate::kit::begin_new(before.as_ref(), &new).await.token;
    crate::kit::send(before.as_ref(), &token, &body, 0..1).await;
    let ended = as_ada(
        rig.project
            .jwt("authenticated", Some("ada"), -TimeDelta::seconds(1)),
    );
    let refused = ended.put_chunk(&token, 1, body.chunks[1].clone()).await;
    rig.failed(refused, Kind::Denied);
    let after = as_ada(rig.project.user_jwt("ada"));
    crate::kit::send(after.as_ref(), &token, &body, 1..2).await;
    let record = after.commit(&token, &body.manifest).await.unwrap();
    assert_eq!(record.principal.as_str(), "ada");
    rig.whole(&record.key(), &body).await;
}
