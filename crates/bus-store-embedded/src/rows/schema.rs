//! The tables of messages, which format 1 has, and the header.

/// Says in the header of the file that it is a bus index ("busm").
pub(crate) const APPLICATION_ID: i32 = 0x6275_736d;

/// The newest format of the index that this build reads and the one that it writes. Format 1 lacks
/// the tables of the [`records`](crate::records).
pub(crate) const FORMAT: i32 = 2;

/// Makes the tables in an empty database.
///
/// - `num` keeps the other tables' keys small; outside the index a message goes by `id`.
/// - The unique key `(principal, transaction_id)` is what makes publishing idempotent.
/// - A chunk row is written only after its bytes are durable.
/// - Inline bodies have a table of their own, so that listing does not page over them.
/// - `trash` names the files that must go; a row is in it from the moment that its message is not.
pub(crate) const CREATE: &str = "
CREATE TABLE messages (
    num INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    principal TEXT NOT NULL,
    transaction_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    tool_name TEXT NOT NULL,
    provider_name TEXT NOT NULL,
    content_type TEXT NOT NULL,
    priority TEXT NOT NULL,
    metadata TEXT NOT NULL,
    ttl_ms INTEGER NOT NULL,
    status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 2),
    body INTEGER NOT NULL CHECK (body BETWEEN 0 AND 2),
    encoding INTEGER NOT NULL,
    chunk_size INTEGER NOT NULL,
    expected_sha256 BLOB,
    expected_size INTEGER,
    fence BLOB NOT NULL,
    lease_ms INTEGER NOT NULL,
    lease_expires_ms INTEGER,
    created_ms INTEGER NOT NULL,
    accessed_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    acknowledged_ms INTEGER,
    error_message TEXT,
    format_version INTEGER NOT NULL,
    payload_size INTEGER NOT NULL,
    payload_sha256 BLOB,
    encoded_size INTEGER,
    encoded_sha256 BLOB,
    manifest_sha256 BLOB,
    chunk_count INTEGER NOT NULL,
    UNIQUE (principal, transaction_id)
) STRICT;
CREATE INDEX messages_by_time ON messages (principal, created_ms, id);
CREATE INDEX messages_by_session ON messages (principal, session_id, created_ms, id);
CREATE INDEX messages_by_tool ON messages (principal, tool_name, created_ms, id);
CREATE INDEX messages_by_expiry ON messages (status, expires_ms) WHERE status <> 0;
CREATE INDEX messages_by_lease ON messages (lease_expires_ms) WHERE status = 0;
CREATE INDEX messages_by_acknowledgement ON messages (acknowledged_ms)
    WHERE acknowledged_ms IS NOT NULL;

CREATE TABLE chunks (
    message INTEGER NOT NULL REFERENCES messages (num) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    len INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    PRIMARY KEY (message, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE inline_bodies (
    message INTEGER PRIMARY KEY REFERENCES messages (num) ON DELETE CASCADE,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE trash (
    id BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;
";
