//! Statuses, priorities, encodings and the transitions that are legal.

use std::{fmt::Display, str::FromStr};

use bus_model::{
    CompressionType, MessageStatus,
    MessageStatus::{Complete, Error, Expired, Pending},
    Priority, Transition,
};
use rstest::rstest;
use serde::{Serialize, de::DeserializeOwned};

/// All four statuses, from and to: which changes are legal.
#[rstest]
fn transitions(
    #[values(Pending, Complete, Error, Expired)] from: MessageStatus,
    #[values(Pending, Complete, Error, Expired)] to: MessageStatus,
) {
    let wanted = match (from, to) {
        (Pending, Complete) => Some(Transition::Commit),
        (Pending, Error) => Some(Transition::Abort),
        (Complete, Expired) => Some(Transition::Expire),
        _ => None,
    };
    assert_eq!(Transition::between(from, to), wanted);
}

#[test]
fn every_transition_is_found_by_its_ends() {
    for transition in Transition::ALL {
        let (from, to) = (transition.from(), transition.to());
        assert_eq!(Transition::between(from, to), Some(transition));
    }
}

/// The text forms of an enum: shown, parsed and serialised alike.
fn reads_back<T>(all: &[T], names: &[&str])
where
    T: Copy + Display + FromStr + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned,
{
    assert_eq!(all.len(), names.len());
    for (value, name) in all.iter().zip(names) {
        assert_eq!(value.to_string(), *name);
        assert_eq!(name.parse::<T>().ok(), Some(*value));
        let json = serde_json::to_string(value).expect("JSON");
        assert_eq!(json, format!("{name:?}"));
        assert_eq!(serde_json::from_str::<T>(&json).ok(), Some(*value));
    }
    assert!("".parse::<T>().is_err());
    assert!("other".parse::<T>().is_err());
    assert!(serde_json::from_str::<T>("\"other\"").is_err());
    assert!(serde_json::from_str::<T>("0").is_err());
}

#[test]
fn enums_read_back() {
    reads_back(
        &MessageStatus::ALL,
        &["pending", "complete", "error", "expired"],
    );
    reads_back(&Priority::ALL, &["urgent", "normal", "bulk"]);
    reads_back(&CompressionType::ALL, &["none", "gzip", "zstd"]);
}

#[test]
fn a_refusal_names_the_value_and_what_is_allowed() {
    let status = "done".parse::<MessageStatus>().expect_err("not a status");
    assert_eq!(
        status.to_string(),
        "\"done\" is not a message status: pending, complete, error or expired are expected"
    );
    let priority = "low".parse::<Priority>().expect_err("not a priority");
    assert!(priority.to_string().contains("\"low\""));
    let encoding = "br"
        .parse::<CompressionType>()
        .expect_err("not a compression");
    assert!(encoding.to_string().contains("none, gzip or zstd"));
}

#[test]
fn priorities_sort_with_the_most_urgent_first() {
    assert!(Priority::Urgent < Priority::Normal && Priority::Normal < Priority::Bulk);
    assert_eq!(Priority::default(), Priority::Normal);
}

#[rstest]
#[case(CompressionType::None, 0, None)]
#[case(CompressionType::Gzip, 1, Some("gzip"))]
#[case(CompressionType::Zstd, 2, Some("zstd"))]
fn encodings(#[case] encoding: CompressionType, #[case] code: u8, #[case] coding: Option<&str>) {
    assert_eq!(encoding.code(), code);
    assert_eq!(CompressionType::from_code(code), Some(encoding));
    assert_eq!(encoding.content_coding(), coding);
}

#[test]
fn an_encoding_is_parsed_in_any_case_but_serialised_in_one() {
    assert_eq!("ZSTD".parse(), Ok(CompressionType::Zstd));
    assert!(serde_json::from_str::<CompressionType>("\"ZSTD\"").is_err());
    assert_eq!(CompressionType::default(), CompressionType::Zstd);
    assert_eq!((3..=255).find_map(CompressionType::from_code), None);
}
