//! Digests and their texts.

use bus_model::{Digest, Hasher};
use proptest::prelude::*;
use rstest::rstest;

/// SHA-256 of `abc`, from FIPS 180-4.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn the_digest_is_sha_256() {
    assert_eq!(Digest::of(b"abc").to_string(), ABC);
    assert_eq!(
        format!("{:?}", Digest::of(b"abc")),
        format!("Digest({ABC})")
    );
}

#[rstest]
#[case::lower(ABC, true)]
#[case::upper(&ABC.to_uppercase(), true)]
#[case::empty("", false)]
#[case::short(&ABC[1..], false)]
#[case::long(&format!("{ABC}0"), false)]
#[case::not_hexadecimal(&ABC.replace('b', "g"), false)]
#[case::sign(&ABC.replace("ba", "+a"), false)]
#[case::space(&ABC.replace("ba", " a"), false)]
#[case::not_ascii(&"ä".repeat(32), false)]
fn texts(#[case] text: &str, #[case] legal: bool) {
    assert_eq!(text.parse::<Digest>().is_ok(), legal);
    let json = serde_json::to_string(text).expect("JSON");
    assert_eq!(serde_json::from_str::<Digest>(&json).is_ok(), legal);
}

#[test]
fn a_digest_is_always_shown_in_lower_case() {
    let parsed: Digest = ABC.to_uppercase().parse().expect("a digest");
    assert_eq!(parsed.to_string(), ABC);
}

#[rstest]
#[case::alone("sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:")]
#[case::beside_others("sha-512=:AAAA:, sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=: ")]
fn repr_digests(#[case] field: &str) {
    let digest = Digest::from_repr_digest(field).expect("well-formed");
    assert_eq!(digest, Some(Digest::of(b"abc")));
}

#[rstest]
#[case("")]
#[case("sha-512=:AAAA:")]
#[case("md5=:AAAA:, unixsum=:AAAA:")]
#[case("garbage")]
fn fields_without_a_sha_256(#[case] field: &str) {
    assert_eq!(Digest::from_repr_digest(field), Ok(None));
}

#[rstest]
#[case::no_colons("sha-256=ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")]
#[case::one_colon("sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")]
#[case::hexadecimal(&format!("sha-256=:{ABC}:"))]
#[case::short("sha-256=:AAAA:")]
#[case::empty("sha-256=::")]
#[case::only_a_colon("sha-256=:")]
fn malformed_repr_digests(#[case] field: &str) {
    let error = Digest::from_repr_digest(field).unwrap_err().to_string();
    assert!(error.contains("the base64 of 32 bytes"), "{error}");
    assert!(!error.contains("hexadecimal"), "{error}");
}

proptest! {
    #[test]
    fn digests_read_back(bytes in any::<[u8; 32]>()) {
        let digest = Digest::from(bytes);
        prop_assert_eq!(digest.as_bytes(), &bytes);
        prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        prop_assert_eq!(Digest::from_repr_digest(&digest.to_repr_digest()), Ok(Some(digest)));
    }

    #[test]
    fn hashing_piece_by_piece_is_hashing_the_whole(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..8)) {
        let mut hasher = Hasher::new();
        for piece in &pieces {
            hasher.update(piece);
        }
        prop_assert_eq!(hasher.finish(), Digest::of(&pieces.concat()));
    }

    #[test]
    fn no_field_makes_the_parser_panic(field in "\\PC{0,100}|sha-256=[:A-Za-z0-9+/=, ]{0,60}") {
        let _ = Digest::from_repr_digest(&field);
    }
}
