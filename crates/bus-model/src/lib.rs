//! What bus talks about: ids, enums, records, claims and manifests.
//!
//! Nothing here does I/O or knows about async. Every type follows *parse, don't validate*: a
//! [`TransactionId`], a [`Principal`], a [`Digest`], a [`ByteSize`] or a [`Ttl`] that exists is
//! legal, whatever way it came in (also through serde).
//!
//! | module | holds |
//! |---|---|
//! | [`id`] | the ids and names of a message |
//! | [`digest`] | SHA-256 digests and a hasher |
//! | [`units`] | byte sizes and times to live |
//! | [`status`] | message status and its legal transitions |
//! | [`record`] | [`MessageBusRecord`] and what a caller says of a message |
//! | [`manifest`] | the ordered chunk digests of a stored body |
//! | [`claim`] | the small thing that travels instead of the payload |

pub mod claim;
pub mod digest;
pub mod encoding;
pub mod id;
pub mod manifest;
pub mod record;
pub mod status;
pub mod units;

pub use claim::{Claim, Retrieval};
pub use digest::{Digest, DigestParseError, Hasher};
pub use encoding::{CompressionType, EncodingParseError};
pub use id::{
    ContentType, IdError, MessageId, MessageKey, Principal, ProviderName, SessionId, ToolName,
    TransactionId,
};
pub use manifest::{ChunkEntry, FORMAT_VERSION, Manifest, ManifestError};
pub use record::{Attributes, MessageBusRecord, Metadata, Priority, PriorityParseError};
pub use status::{MessageStatus, StatusParseError, Transition};
pub use units::{ByteSize, Ttl, UnitError};
