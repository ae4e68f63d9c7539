//! What is asked: requests as JSON.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bus_model::{
    CompressionType, ContentType, Digest, FORMAT_VERSION, Manifest, MessageKey, MessageStatus,
    Principal, Priority, ProviderName, SessionId, ToolName, TransactionId,
};
use bus_store::{ListQuery, NewMessage, PurgeOptions, StoreError, UploadToken};
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::text_of;

/// The last millisecond of the year 9999: what the database takes for "never".
const LAST_MS: u64 = 253_402_300_799_999;

/// What `bus_begin` and `bus_put` are asked.
#[derive(Debug, Serialize)]
pub(crate) struct NewRow<'a> {
    principal: &'a Principal,
    transaction_id: &'a TransactionId,
    session_id: &'a SessionId,
    tool_name: &'a ToolName,
    provider_name: &'a ProviderName,
    content_type: &'a ContentType,
    priority: Priority,
    metadata: String,
    format_version: u16,
    compression_type: CompressionType,
    chunk_size_bytes: u64,
    expected_sha256: Option<Digest>,
    expected_size_bytes: Option<u64>,
    upload_token: Uuid,
    lease_ms: u64,
    ttl_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
}

impl<'a> NewRow<'a> {
    pub(crate) fn of(
        message: &'a NewMessage,
        upload_token: Uuid,
        manifest: Option<&Manifest>,
    ) -> Result<Self, StoreError> {
        let NewMessage {
            key,
            attributes,
            plan,
        } = message;
        Ok(Self {
            principal: &key.principal,
            transaction_id: &key.transaction_id,
            session_id: &attributes.session_id,
            tool_name: &attributes.tool_name,
            provider_name: &attributes.provider_name,
            content_type: &attributes.content_type,
            priority: attributes.priority,
            metadata: text_of(&attributes.metadata)?,
            format_version: FORMAT_VERSION,
            compression_type: plan.encoding,
            chunk_size_bytes: plan.chunk_size,
            expected_sha256: plan.expected_digest,
            expected_size_bytes: plan.expected_size,
            upload_token,
            lease_ms: millis(plan.lease),
            ttl_ms: attributes.ttl.as_millis().min(LAST_MS),
            manifest: manifest.map(manifest_text),
        })
    }
}

/// What a writer shows.
#[derive(Debug, Serialize)]
pub(crate) struct WriterRow<'a> {
    principal: &'a Principal,
    id: Uuid,
    upload_token: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl<'a> WriterRow<'a> {
    pub(crate) fn of(token: &'a UploadToken) -> Self {
        Self {
            principal: &token.principal,
            id: token.id.as_uuid(),
            upload_token: token.fence,
            seq: None,
            sha256: None,
            manifest: None,
            reason: None,
        }
    }

    pub(crate) fn chunk(mut self, seq: i32, digest: Digest) -> Self {
        self.seq = Some(seq);
        self.sha256 = Some(digest);
        self
    }

    pub(crate) fn manifest(mut self, manifest: &Manifest) -> Self {
        self.manifest = Some(manifest_text(manifest));
        self
    }

    /// PostgreSQL's texts hold no NUL.
    pub(crate) fn reason(mut self, reason: &str) -> Self {
        self.reason = Some(reason.replace('\0', "\u{fffd}"));
        self
    }
}

/// What is found by its key.
#[derive(Debug, Serialize)]
pub(crate) struct KeyRow<'a> {
    principal: &'a Principal,
    transaction_id: &'a TransactionId,
}

impl<'a> KeyRow<'a> {
    pub(crate) fn of(key: &'a MessageKey) -> Self {
        Self {
            principal: &key.principal,
            transaction_id: &key.transaction_id,
        }
    }
}

/// What is found by its id.
#[derive(Debug, Serialize)]
pub(crate) struct IdRow<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) id: Uuid,
}

/// Several keys.
#[derive(Debug, Serialize)]
pub(crate) struct KeysRow<'a> {
    keys: Vec<(&'a Principal, &'a TransactionId)>,
}

impl<'a> KeysRow<'a> {
    pub(crate) fn of(keys: &'a [MessageKey]) -> Self {
        let pair = |key: &'a MessageKey| (&key.principal, &key.transaction_id);
        Self {
            keys: keys.iter().map(pair).collect(),
        }
    }
}

/// What `bus_list` is asked.
#[derive(Debug, Serialize)]
pub(crate) struct ListRow<'a> {
    principal: &'a Principal,
    limit: u32,
    session_id: Option<&'a SessionId>,
    tool_name: Option<&'a ToolName>,
    provider_name: Option<&'a ProviderName>,
    status: Option<MessageStatus>,
    from_ms: Option<i64>,
    before_ms: Option<i64>,
    after: Option<(i64, Uuid)>,
}

impl<'a> ListRow<'a> {
    pub(crate) fn of(query: &'a ListQuery) -> Self {
        Self {
            principal: &query.principal,
            limit: query.limit,
            session_id: query.session_id.as_ref(),
            tool_name: query.tool_name.as_ref(),
            provider_name: query.provider_name.as_ref(),
            status: query.status,
            from_ms: query.created_from.map(ceiling_ms),
            before_ms: query.created_before.map(ceiling_ms),
            after: query
                .after
                .map(|after| (after.created_ms, after.id.as_uuid())),
        }
    }
}

/// What `bus_purge` is asked.
#[derive(Debug, Serialize)]
pub(crate) struct PurgeRow {
    limit: u32,
    acknowledged_after_ms: Option<u64>,
}

impl PurgeRow {
    pub(crate) fn of(options: &PurgeOptions) -> Self {
        Self {
            limit: options.limit,
            acknowledged_after_ms: options.acknowledged_after.map(millis),
        }
    }
}

fn manifest_text(manifest: &Manifest) -> String {
    STANDARD.encode(manifest.to_bytes())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis())
        .unwrap_or(LAST_MS)
        .min(LAST_MS)
}

/// Records hold whole milliseconds, so a time between two of them is as good as the later one.
fn ceiling_ms(time: DateTime<Utc>) -> i64 {
    let ms = time.timestamp_millis();
    let whole = time.timestamp_subsec_nanos().is_multiple_of(1_000_000);
    if whole { ms } else { ms.saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_between_two_milliseconds_is_the_later_one() {
        let at = |nanos| DateTime::from_timestamp(1, nanos).expect("a time");
        assert_eq!(ceiling_ms(at(5_000_000)), 1005);
        assert_eq!(ceiling_ms(at(5_000_001)), 1006);
    }

    #[test]
    fn no_time_is_beyond_what_the_database_takes() {
        assert_eq!(millis(Duration::MAX), LAST_MS);
        assert_eq!(millis(Duration::from_secs(60)), 60_000);
    }
}
