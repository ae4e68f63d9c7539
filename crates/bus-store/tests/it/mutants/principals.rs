//! Stores that tell one principal of another.

use std::ops::Range;

use async_trait::async_trait;
use bus_model::{MessageBusRecord, MessageId, MessageKey, Principal};
use bus_store::{ChunkStream, Store, StoreError, StoreErrorKind};

use super::is_found;
use crate::support::wrapper::{Fault, Inner};

/// Finds chunks by the message's id alone.
#[derive(Debug)]
struct ForgetsPrincipal;

#[async_trait]
impl Fault for ForgetsPrincipal {
    async fn chunks(
        &self,
        s: &Inner,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError> {
        let owner = s.last_token(id).map(|token| token.principal);
        let owner = owner.as_ref().unwrap_or(principal);
        s.store.chunks(owner, id, range).await
    }
}

#[tokio::test]
async fn forgetting_the_principal_is_found() {
    is_found(|| ForgetsPrincipal, &["a_stranger_gets_no_chunks"]).await;
}

/// Refuses what is somebody else's in other words than what is not there.
#[derive(Debug)]
struct TellsStrangers;

#[async_trait]
impl Fault for TellsStrangers {
    async fn record(&self, s: &Inner, key: &MessageKey) -> Result<MessageBusRecord, StoreError> {
        let answer = s.store.record(key).await;
        let Err(error) = &answer else { return answer };
        let tokens: Vec<_> = {
            let memory = s.memory.lock().expect("not poisoned");
            memory.tokens.values().cloned().collect()
        };
        for token in tokens {
            let other = MessageKey::new(token.principal, key.transaction_id.clone());
            if s.store.record(&other).await.is_ok() {
                return Err(StoreError::new(StoreErrorKind::Denied, error.to_string()));
            }
        }
        answer
    }
}

#[tokio::test]
async fn telling_strangers_that_there_is_something_is_found() {
    is_found(|| TellsStrangers, &["a_stranger_finds_nothing"]).await;
}
