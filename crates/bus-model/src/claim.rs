//! The claim: what travels instead of a payload that is too big.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{CompressionType, Digest, SessionId, ToolName, TransactionId};

/// A claim on a stored message. On the wire it is exactly the five keys of the original.
///
/// How to redeem it ([`Retrieval`]) travels beside it, so that an old client still understands it.
/// A claim holds no path and no address: it is redeemed only where the frame itself says that it
/// is one, at the daemon that sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The transaction id of the message.
    pub message_bus_transaction_id: TransactionId,
    /// Size of the payload in bytes.
    pub payload_size_bytes: u64,
    /// Always true.
    pub retrieval_required: bool,
    /// The session that the message belongs to.
    pub session_id: SessionId,
    /// The tool that produced it.
    pub tool_name: ToolName,
}

impl Claim {
    /// A claim on `transaction_id`.
    #[must_use]
    pub fn new(
        transaction_id: TransactionId,
        payload_size_bytes: u64,
        session_id: SessionId,
        tool_name: ToolName,
    ) -> Self {
        Self {
            message_bus_transaction_id: transaction_id,
            payload_size_bytes,
            retrieval_required: true,
            session_id,
            tool_name,
        }
    }
}

/// How to redeem a claim at the daemon that sent it, and what to check it against.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retrieval {
    /// Path of the payload at the daemon that sent the frame; never another address.
    pub path: String,
    /// Capability that redeems it, where the daemon hands one out. A secret: not in `Debug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// From when on it is no longer served.
    pub expires_at: DateTime<Utc>,
    /// SHA-256 of the payload.
    pub sha256: Digest,
    /// SHA-256 of the manifest, so that a range is verified too.
    pub manifest_sha256: Digest,
    /// How the body is encoded.
    pub encoding: CompressionType,
    /// Size of the stored body in bytes.
    pub stored_bytes: u64,
    /// The media type of the payload.
    pub content_type: String,
}

impl fmt::Debug for Retrieval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retrieval")
            .field("path", &self.path)
            .field("token", &self.token.as_ref().map(|_| "[secret]"))
            .field("expires_at", &self.expires_at)
            .field("sha256", &self.sha256)
            .field("manifest_sha256", &self.manifest_sha256)
            .field("encoding", &self.encoding)
            .field("stored_bytes", &self.stored_bytes)
            .field("content_type", &self.content_type)
            .finish()
    }
}
