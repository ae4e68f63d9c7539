//! Secrets are never in `Debug`.

use bus_model::{CompressionType, Digest, Retrieval};

#[test]
fn the_token_of_a_retrieval_is_not_shown() {
    let mut retrieval = Retrieval {
        path: "/v1/messages/txn_1/payload".into(),
        token: Some("very-secret".into()),
        expires_at: chrono::DateTime::UNIX_EPOCH,
        sha256: Digest::of(b"payload"),
        manifest_sha256: Digest::of(b"manifest"),
        encoding: CompressionType::Zstd,
        stored_bytes: 42,
        content_type: "application/json".into(),
    };
    for shown in [format!("{retrieval:?}"), format!("{retrieval:#?}")] {
        assert!(!shown.contains("very-secret"), "{shown}");
        assert!(
            shown.contains("[secret]") && shown.contains("txn_1"),
            "{shown}"
        );
    }
    retrieval.token = None;
    assert!(!format!("{retrieval:?}").contains("[secret]"));
}
