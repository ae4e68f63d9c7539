//! One call of a function: a request as JSON, its answer as a type.

use std::time::Duration;

use bus_store::{StoreError, StoreErrorKind as Kind};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::task::spawn_blocking;

use crate::{
    errors::Call,
    http::{Expect, Http},
    row,
};

/// The largest answer that is not a chunk, in bytes: a page of records with large metadata.
const MAX_ANSWER: usize = 64 << 20;
/// From this size on, bytes are worked on beside the reactor.
const LARGE: usize = 128 << 10;
/// How long a call may take that goes through many rows. Supabase cuts them at a minute.
pub(crate) const PATIENT: Duration = Duration::from_secs(60);

/// What a JSON answer may be.
pub(crate) fn answer(patience: Option<Duration>) -> Expect {
    Expect {
        limit: MAX_ANSWER,
        bytes: 0,
        patience,
    }
}

impl Http {
    /// Calls `function`.
    pub(crate) async fn call<T: DeserializeOwned + Send + 'static>(
        &self,
        function: &'static str,
        request: &impl Serialize,
    ) -> Result<T, StoreError> {
        self.call_for(function, request, None).await
    }

    /// Calls `function`, which may take this long.
    pub(crate) async fn call_for<T: DeserializeOwned + Send + 'static>(
        &self,
        function: &'static str,
        request: &impl Serialize,
        patience: Option<Duration>,
    ) -> Result<T, StoreError> {
        let call = Call::of(function);
        let body = row::body_of(&row::text_of(request)?)?;
        let turn = self.turn().await?;
        let body = self.post(turn, call, body, answer(patience)).await?;
        read(call, body).await
    }

    /// Calls `function` with stored bytes beside the request.
    pub(crate) async fn call_with<T: DeserializeOwned + Send + 'static>(
        &self,
        function: &'static str,
        request: &impl Serialize,
        bytes: Bytes,
    ) -> Result<T, StoreError> {
        let call = Call::of(function);
        let request = row::text_of(request)?;
        let turn = self.turn().await?;
        let body = beside(bytes.len(), move || row::body_with(&request, &bytes)).await?;
        let body = self.post(turn, call, body, answer(None)).await?;
        read(call, body).await
    }

    /// The same with the bytes as they are.
    pub(crate) async fn call_raw<T: DeserializeOwned + Send + 'static>(
        &self,
        function: &'static str,
        request: &impl Serialize,
        bytes: Bytes,
    ) -> Result<T, StoreError> {
        let call = Call::of(function);
        let request = row::text_of(request)?;
        let body = self
            .post_raw(call, Some(&request), bytes, answer(None))
            .await?;
        read(call, body).await
    }
}

async fn read<T: DeserializeOwned + Send + 'static>(
    call: Call,
    body: Bytes,
) -> Result<T, StoreError> {
    beside(body.len(), move || row::answer_of(call, &body)).await
}

/// Does `work` here, or, where it is over many bytes, beside the reactor.
async fn beside<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    if bytes < LARGE {
        return work();
    }
    spawn_blocking(work).await.map_err(|error| {
        StoreError::new(Kind::Internal, "a call was cut off, since its runtime ends")
            .with_source(error)
    })?
}
