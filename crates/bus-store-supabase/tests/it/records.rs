//! The conformance suite of the records on both servers, behind the gateway.

use bus_model::{Principal, ProviderName};
use bus_store::{
    Records, StoreErrorKind,
    records::{
        AuditEntry, AuditId, AuditQuery, Content, ConversationKey, NewEntry, Outcome,
        PreferenceValue, Role, RouteTaken, conformance::RecordsHarness,
    },
};
use bus_store_supabase::{SupabaseConfig, SupabaseStore};
use bus_testkit::{Project, Server};
use chrono::Utc;
use rstest::rstest;
use secrecy::SecretString;

use crate::support::config;

struct Fixture {
    store: SupabaseStore,
    other: SupabaseStore,
    /// Ours for as long as this lives.
    _project: Project,
}

impl Fixture {
    async fn take(server: Server) -> Self {
        let project = Project::take(server).await.unwrap();
        Self {
            store: SupabaseStore::new(config(&project)).unwrap(),
            other: SupabaseStore::new(config(&project)).unwrap(),
            _project: project,
        }
    }
}

impl RecordsHarness for Fixture {
    fn records(&self) -> Records {
        self.store.records()
    }

    fn second(&self) -> Option<Records> {
        Some(self.other.records())
    }
}

mod lite {
    use super::{Fixture, Server};

    async fn harness() -> Fixture {
        Fixture::take(Server::Lite).await
    }

    bus_store::records_conformance_suite!(harness);
}

mod postrust {
    use super::{Fixture, Server};

    async fn harness() -> Fixture {
        Fixture::take(Server::Postrust).await
    }

    bus_store::records_conformance_suite!(harness);
}

/// With a user's token everything is that user's, whatever principal the caller names.
#[rstest]
#[tokio::test]
async fn a_users_token_decides_the_principal(
    #[values(Server::Lite, Server::Postrust)] server: Server,
) {
    let project = Project::take(server).await.unwrap();
    let records = |user: &str| {
        let key = SecretString::from(project.publishable_key());
        let token = SecretString::from(project.user_jwt(user));
        let config = SupabaseConfig::new(project.url(), &key).unwrap();
        let config = config.with_access_token(&token).unwrap();
        SupabaseStore::new(config).unwrap().records()
    };
    let (alice, bob) = (records("alice"), records("bob"));
    let (named, name) = (Principal::new("bob").unwrap(), "n".parse().unwrap());
    let value = PreferenceValue::new("1").unwrap();
    alice.preferences.set(&named, &name, &value).await.unwrap();
    let missing = bob.preferences.get(&named, &name).await.unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::NotFound);
    assert!(alice.preferences.get(&named, &name).await.is_ok());

    let key = ConversationKey::new(named.clone(), "talk".parse().unwrap());
    let said = NewEntry {
        id: "e".parse().unwrap(),
        role: Role::USER,
        content: Content::Inline("secret".to_owned()),
        metadata: bus_model::Metadata::new(),
    };
    let place = alice.history.append(&key, &said).await.unwrap().sequence;
    let missing = bob.history.entry(&key, place).await.unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::NotFound);
    // The same id of another user is new: nobody learns that it is taken.
    assert!(bob.history.append(&key, &said).await.unwrap().created);

    let entry = AuditEntry {
        principal: named.clone(),
        ..entry()
    };
    alice
        .audit
        .append(std::slice::from_ref(&entry))
        .await
        .unwrap();
    let query = AuditQuery::new(named);
    let seen = alice.audit.query(&query).await.unwrap().entries;
    assert_eq!(
        (seen[0].id, seen[0].principal.as_str()),
        (entry.id, "alice")
    );
    assert!(bob.audit.query(&query).await.unwrap().entries.is_empty());
    assert_eq!(bob.audit.append(&[entry]).await.unwrap(), 1);
}

fn entry() -> AuditEntry {
    AuditEntry {
        id: AuditId::mint(),
        at: Utc::now(),
        principal: Principal::default(),
        session_id: "s".parse().unwrap(),
        request_id: "r".into(),
        transaction_id: None,
        tool_name: "t".parse().unwrap(),
        provider_name: ProviderName::default(),
        payload_size_bytes: 1,
        frame_bytes: 1,
        route: RouteTaken::INLINE,
        reason: "it fits".into(),
        skipped: Vec::new(),
        tool_ms: None,
        store_ms: None,
        total_ms: 1,
        outcome: Outcome::OK,
        error_message: None,
    }
}
