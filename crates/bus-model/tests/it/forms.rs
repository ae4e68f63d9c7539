//! The serde forms: what is on the wire and in listings. A change of a snapshot is a change of
//! what others read.

use bus_model::{
    Attributes, Claim, CompressionType, ContentType, Digest, FORMAT_VERSION, MessageBusRecord,
    MessageId, MessageKey, MessageStatus, Principal, Priority, ProviderName, Retrieval, SessionId,
    ToolName, TransactionId, Ttl,
};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn at(ms: i64) -> DateTime<Utc> {
    // 2026-01-01T00:00:00Z
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_767_225_600_000 + ms)
}

fn complete() -> MessageBusRecord {
    let mut metadata = bus_model::Metadata::new();
    metadata.insert("request_id".into(), "r-1".into());
    MessageBusRecord {
        id: MessageId::from(uuid::Uuid::from_u128(
            0x0191_b3c4_1d2e_7f00_8000_0000_0000_abcd,
        )),
        transaction_id: TransactionId::new("txn_00000000000000000000000000000001").expect("legal"),
        session_id: SessionId::new("session-1").expect("legal"),
        tool_name: ToolName::new("read_file").expect("legal"),
        provider_name: ProviderName::default(),
        payload: None,
        payload_size_bytes: 5_000_000,
        compression_type: CompressionType::Zstd,
        compressed_size_bytes: Some(1_234_567),
        checksum: Some(Digest::of(b"payload")),
        status: MessageStatus::Complete,
        error_message: None,
        created_at: at(0),
        accessed_at: at(1_500),
        expires_at: at(172_800_000),
        metadata,
        format_version: FORMAT_VERSION,
        content_type: ContentType::json(),
        priority: Priority::Normal,
        principal: Principal::default(),
        chunk_count: 3,
        chunk_size_bytes: 2_097_152,
        encoded_sha256: Some(Digest::of(b"encoded")),
        manifest_sha256: Some(Digest::of(b"manifest")),
        acknowledged_at: Some(at(2_000)),
        lease_expires_at: None,
        encryption: None,
        key_id: None,
    }
}

fn pending() -> MessageBusRecord {
    MessageBusRecord {
        payload_size_bytes: 0,
        compressed_size_bytes: None,
        checksum: None,
        status: MessageStatus::Pending,
        chunk_count: 0,
        encoded_sha256: None,
        manifest_sha256: None,
        acknowledged_at: None,
        lease_expires_at: Some(at(60_000)),
        ..complete()
    }
}

fn retrieval() -> Retrieval {
    Retrieval {
        path: "/v1/messages/txn_1/payload".into(),
        token: Some("capability".into()),
        expires_at: at(0),
        sha256: Digest::of(b"payload"),
        manifest_sha256: Digest::of(b"manifest"),
        encoding: CompressionType::Zstd,
        stored_bytes: 42,
        content_type: "application/json".into(),
    }
}

/// `value` as JSON, and whether it reads back as itself.
fn form<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) -> Value {
    let form = serde_json::to_value(value).expect("JSON");
    let read: T = serde_json::from_value(form.clone()).expect("its own form");
    assert_eq!(&read, value);
    form
}

#[test]
fn a_claim_has_exactly_the_five_keys_of_the_original() {
    let wanted = json!({
        "message_bus_transaction_id": "txn_00000000000000000000000000000001",
        "payload_size_bytes": 5_000_000,
        "retrieval_required": true,
        "session_id": "session-1",
        "tool_name": "read_file",
    });
    assert_eq!(form(&complete().claim()), wanted);
}

#[test]
fn a_claim_with_more_keys_is_still_one() {
    let mut claim = form(&complete().claim());
    claim["future"] = json!("key");
    assert!(serde_json::from_value::<Claim>(claim.clone()).is_ok());
    claim
        .as_object_mut()
        .expect("an object")
        .remove("session_id");
    assert!(serde_json::from_value::<Claim>(claim).is_err());
}

#[test]
fn a_claim_with_an_illegal_id_is_none() {
    let mut claim = form(&complete().claim());
    claim["message_bus_transaction_id"] = json!("../../etc/passwd");
    assert!(serde_json::from_value::<Claim>(claim).is_err());
}

#[test]
fn a_complete_record() {
    insta::assert_json_snapshot!(form(&complete()));
}

#[test]
fn a_pending_record() {
    insta::assert_json_snapshot!(form(&pending()));
}

#[test]
fn a_record_that_was_given_up() {
    let mut record = pending();
    record.status = MessageStatus::Error;
    record.error_message = Some("the tool failed".into());
    record.lease_expires_at = None;
    insta::assert_json_snapshot!(form(&record));
}

/// The original's names, each of which a client of it may look for.
#[test]
fn a_record_has_every_field_of_the_original() {
    let mut record = complete();
    record.payload = Some(Bytes::from_static(b"\x00\xffpayload"));
    let form = form(&record);
    assert_eq!(form["payload"], json!("AP9wYXlsb2Fk"));
    for name in [
        "id",
        "transaction_id",
        "session_id",
        "tool_name",
        "provider_name",
        "payload",
        "payload_size_bytes",
        "compression_type",
        "compressed_size_bytes",
        "checksum",
        "status",
        "error_message",
        "created_at",
        "accessed_at",
        "expires_at",
        "metadata",
    ] {
        assert!(form.get(name).is_some(), "{name}");
    }
}

#[test]
fn a_payload_that_is_not_base64_is_refused() {
    let mut form = form(&complete());
    form["payload"] = json!("not base64!");
    assert!(serde_json::from_value::<MessageBusRecord>(form).is_err());
}

#[test]
fn a_retrieval() {
    insta::assert_json_snapshot!(form(&retrieval()));
}

#[test]
fn a_retrieval_without_a_capability_has_no_such_key() {
    let mut bare = retrieval();
    bare.token = None;
    assert!(form(&bare).get("token").is_none());
}

#[test]
fn attributes() {
    let mut attributes = Attributes::new(complete().session_id, complete().tool_name);
    attributes.metadata = complete().metadata;
    insta::assert_json_snapshot!(form(&attributes));
}

#[test]
fn attributes_need_only_a_session_and_a_tool() {
    let least = json!({"session_id": "s", "tool_name": "t"});
    let read: Attributes = serde_json::from_value(least).expect("enough");
    let session = SessionId::new("s").expect("legal");
    let tool = ToolName::new("t").expect("legal");
    assert_eq!(read, Attributes::new(session, tool));
    assert_eq!(read.ttl, Ttl::default());
    let none = json!({"session_id": "s"});
    assert!(serde_json::from_value::<Attributes>(none).is_err());
}

#[test]
fn a_key() {
    let key = complete().key();
    let wanted = json!({
        "principal": "default",
        "transaction_id": "txn_00000000000000000000000000000001",
    });
    assert_eq!(form(&key), wanted);
    assert_eq!(
        key,
        MessageKey::new(key.principal.clone(), key.transaction_id.clone())
    );
}
