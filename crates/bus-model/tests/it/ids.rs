//! Which ids and names are legal, whatever way they come in.

use bus_model::{
    ContentType, IdError, MessageId, MessageKey, Principal, ProviderName, SessionId, ToolName,
    TransactionId,
};
use proptest::prelude::*;
use rstest::rstest;
use serde::de::DeserializeOwned;

/// Whether `text` is taken by both the parser and serde, which have to agree.
fn is_legal<T>(text: &str) -> bool
where
    T: std::str::FromStr<Err = IdError> + DeserializeOwned + PartialEq + std::fmt::Debug + ToString,
{
    let parsed = text.parse::<T>();
    let json = serde_json::to_string(text).expect("a text is JSON");
    let read = serde_json::from_str::<T>(&json);
    assert_eq!(
        parsed.is_ok(),
        read.is_ok(),
        "{text:?}: the parser and serde differ"
    );
    if let (Ok(parsed), Ok(read)) = (&parsed, &read) {
        assert_eq!(parsed, read);
        assert_eq!(parsed.to_string(), text);
    }
    parsed.is_ok()
}

#[rstest]
#[case::one("a", true)]
#[case::minted("txn_0123456789abcdef0123456789abcdef", true)]
#[case::all_kinds("AZaz09._-", true)]
#[case::dots("...", true)]
#[case::this_folder(".", false)]
#[case::the_folder_above("..", false)]
#[case::longest(&"x".repeat(128), true)]
#[case::empty("", false)]
#[case::too_long(&"x".repeat(129), false)]
#[case::slash("a/b", false)]
#[case::space("a b", false)]
#[case::newline("a\n", false)]
#[case::nul("a\0", false)]
#[case::percent("%61", false)]
#[case::not_ascii("ä", false)]
#[case::looks_like_ascii("а", false)]
fn transaction_ids(#[case] text: &str, #[case] legal: bool) {
    assert_eq!(is_legal::<TransactionId>(text), legal);
}

#[rstest]
#[case::usual("default", true)]
#[case::uuid("6f9619ff-8b86-d011-b42d-00c04fc964ff", true)]
#[case::visible("!#/:@~", true)]
#[case::longest(&"x".repeat(128), true)]
#[case::empty("", false)]
#[case::too_long(&"x".repeat(129), false)]
#[case::space("a b", false)]
#[case::tab("a\tb", false)]
#[case::delete("a\u{7f}", false)]
#[case::not_ascii("ä", false)]
fn principals(#[case] text: &str, #[case] legal: bool) {
    assert_eq!(is_legal::<Principal>(text), legal);
}

#[rstest]
#[case::usual("read_file", true)]
#[case::spaces(" a b ", true)]
#[case::not_ascii("Größe 日本 \u{1F600}", true)]
#[case::quotes("\"'\\%_*", true)]
#[case::longest(&"x".repeat(256), true)]
#[case::longest_in_bytes(&"ß".repeat(128), true)]
#[case::empty("", false)]
#[case::too_long(&"x".repeat(257), false)]
#[case::too_long_in_bytes(&"ß".repeat(129), false)]
#[case::nul("a\0b", false)]
#[case::newline("a\nb", false)]
#[case::escape("a\u{1b}[31m", false)]
#[case::c1_control("a\u{85}", false)]
fn names(#[case] text: &str, #[case] legal: bool) {
    assert_eq!(is_legal::<SessionId>(text), legal);
    assert_eq!(is_legal::<ToolName>(text), legal);
    assert_eq!(is_legal::<ProviderName>(text), legal);
}

#[rstest]
#[case::json("application/json", true)]
#[case::parameter("text/plain; charset=utf-8", true)]
#[case::no_space("text/plain;charset=utf-8", true)]
#[case::space_before_parameter("text/plain ; charset=utf-8", true)]
#[case::vendor("application/vnd.acme+json", true)]
#[case::empty("", false)]
#[case::no_slash("json", false)]
#[case::no_type("/json", false)]
#[case::no_subtype("application/", false)]
#[case::two_slashes("a/b/c", false)]
#[case::header_injection("text/plain\r\nSet-Cookie: a=b", false)]
#[case::not_ascii("text/plain; name=ä", false)]
#[case::space_inside("text/pl ain", false)]
#[case::too_long(&format!("text/{}", "x".repeat(252)), false)]
#[case::longest(&format!("text/{}", "x".repeat(251)), true)]
fn content_types(#[case] text: &str, #[case] legal: bool) {
    assert_eq!(is_legal::<ContentType>(text), legal);
}

#[rstest]
#[case::hyphens("0191b3c4-1d2e-7f00-8000-00000000abcd", true)]
#[case::simple("0191b3c41d2e7f00800000000000abcd", true)]
#[case::empty("", false)]
#[case::short("0191b3c4", false)]
#[case::path("../0191b3c4-1d2e-7f00-8000-00000000abcd", false)]
fn message_ids(#[case] text: &str, #[case] legal: bool) {
    assert_eq!(text.parse::<MessageId>().is_ok(), legal);
}

#[test]
fn a_refusal_names_the_value_and_what_is_allowed() {
    let error = TransactionId::new("a b").expect_err("a space is not legal");
    assert_eq!(
        error.to_string(),
        "transaction id \"a b\" is not legal: 1 to 128 characters of A-Z a-z 0-9 . _ -, and neither . nor .."
    );
    let long = TransactionId::new("ä".repeat(10_000)).expect_err("too long");
    assert_eq!(long.value.chars().count(), 160);
}

#[test]
fn minted_ids_are_legal_and_all_different() {
    let minted = TransactionId::mint();
    let digits = minted
        .as_str()
        .strip_prefix("txn_")
        .expect("as the original made them");
    assert_eq!(digits.len(), 32);
    assert!(digits.bytes().all(|b| b.is_ascii_hexdigit()));
    assert!(is_legal::<TransactionId>(minted.as_str()));
    assert_ne!(minted, TransactionId::mint());
}

#[test]
fn minted_message_ids_sort_by_their_creation() {
    let minted: Vec<_> = (0..1000).map(|_| MessageId::mint()).collect();
    assert!(minted.windows(2).all(|two| two[0] < two[1]));
}

#[test]
fn defaults_are_legal() {
    assert!(is_legal::<Principal>(Principal::default().as_str()));
    assert!(is_legal::<ProviderName>(ProviderName::default().as_str()));
    for content_type in [
        ContentType::json(),
        ContentType::text(),
        ContentType::octets(),
    ] {
        assert!(is_legal::<ContentType>(content_type.as_str()));
    }
    assert_eq!(Principal::default().as_str(), "default");
    assert_eq!(ProviderName::default().as_str(), "unknown");
    assert_eq!(ContentType::default(), ContentType::octets());
}

#[test]
fn a_key_is_shown_with_its_principal() {
    let id = TransactionId::new("txn_1").expect("legal");
    assert_eq!(
        MessageKey::new(Principal::default(), id).to_string(),
        "default/txn_1"
    );
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused_but_never_changed(text in "\\PC{0,300}|[A-Za-z0-9._/; -]{0,140}") {
        is_legal::<TransactionId>(&text);
        is_legal::<Principal>(&text);
        is_legal::<SessionId>(&text);
        is_legal::<ContentType>(&text);
    }

    #[test]
    fn legal_transaction_ids_are_taken(
        text in "[A-Za-z0-9._-]{1,128}".prop_filter("names of folders", |text| text != "." && text != "..")
    ) {
        prop_assert!(is_legal::<TransactionId>(&text));
    }

    #[test]
    fn message_ids_read_back(bytes in any::<[u8; 16]>()) {
        let id = MessageId::from(uuid::Uuid::from_bytes(bytes));
        prop_assert_eq!(id.to_string().parse::<MessageId>(), Ok(id));
    }
}
