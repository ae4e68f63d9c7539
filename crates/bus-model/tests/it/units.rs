//! Sizes and times to live.

use bus_model::{ByteSize, Ttl};
use proptest::prelude::*;
use rstest::rstest;

#[rstest]
#[case("0", 0)]
#[case("1048576", 1_048_576)]
#[case("1b", 1)]
#[case("64 KiB", 65_536)]
#[case("64kb", 65_536)]
#[case("5 MB", 5_242_880)]
#[case("5MiB", 5_242_880)]
#[case("  2 g ", 2 << 30)]
#[case("1TB", 1 << 40)]
#[case("9223372036854775807", i64::MAX as u64)]
fn legal_sizes(#[case] text: &str, #[case] bytes: u64) {
    assert_eq!(text.parse::<ByteSize>().map(ByteSize::get), Ok(bytes));
}

#[rstest]
#[case("")]
#[case("MB")]
#[case("-1")]
#[case("+1")]
#[case("1.5 MB")]
#[case("1 PB")]
#[case("1 M B")]
#[case("0x10")]
#[case("1e6")]
#[case("9223372036854775808")]
#[case("8388608 TB")]
#[case("99999999999999999999999999")]
#[case("١")]
fn illegal_sizes(#[case] text: &str) {
    let error = text
        .parse::<ByteSize>()
        .expect_err("not a size")
        .to_string();
    assert!(error.contains(&format!("{text:?}")), "{error}");
    assert!(error.contains("such as"), "{error}");
}

#[rstest]
#[case(0, "0 B")]
#[case(1023, "1023 B")]
#[case(1024, "1.0 KiB")]
#[case(1_572_864, "1.5 MiB")]
#[case(1 << 30, "1.0 GiB")]
#[case(i64::MAX as u64, "8192.0 PiB")]
fn sizes_for_people(#[case] bytes: u64, #[case] shown: &str) {
    assert_eq!(ByteSize::new(bytes).expect("legal").to_string(), shown);
}

#[test]
fn sizes_above_the_largest_do_not_exist() {
    assert_eq!(ByteSize::new(ByteSize::MAX.get()), Ok(ByteSize::MAX));
    assert!(ByteSize::new(1 << 63).is_err());
    assert!(serde_json::from_str::<ByteSize>("9223372036854775808").is_err());
    assert!(serde_json::from_str::<ByteSize>("-1").is_err());
    assert_eq!(ByteSize::mib(1).get(), 1_048_576);
    assert!(ByteSize::mib(u32::MAX) < ByteSize::MAX);
}

#[rstest]
#[case("48", 172_800_000)]
#[case("0.5", 1_800_000)]
#[case(" 1 ", 3_600_000)]
#[case("87600", 315_360_000_000)]
#[case("0.0000001", 1)]
fn legal_times(#[case] hours: &str, #[case] ms: u64) {
    assert_eq!(hours.parse::<Ttl>().map(Ttl::as_millis), Ok(ms));
}

#[rstest]
#[case("")]
#[case("0")]
#[case("-1")]
#[case("87600.1")]
#[case("NaN")]
#[case("inf")]
#[case("1h")]
#[case("1e300")]
fn illegal_times(#[case] hours: &str) {
    let error = hours
        .parse::<Ttl>()
        .expect_err("not a time to live")
        .to_string();
    assert!(error.contains("at most 87600 hours"), "{error}");
}

#[test]
fn times_outside_the_limits_do_not_exist() {
    assert!(Ttl::from_millis(0).is_err());
    assert!(Ttl::from_millis(315_360_000_001).is_err());
    assert!(serde_json::from_str::<Ttl>("0").is_err());
    assert_eq!(Ttl::default(), Ttl::from_hours(48.0).expect("legal"));
    assert_eq!(
        serde_json::to_string(&Ttl::default()).expect("JSON"),
        "172800000"
    );
}

proptest! {
    #[test]
    fn sizes_read_back(bytes in 0..=i64::MAX as u64) {
        let size = ByteSize::new(bytes).expect("legal");
        prop_assert_eq!(bytes.to_string().parse::<ByteSize>(), Ok(size));
        let json = serde_json::to_string(&size).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<ByteSize>(&json).expect("a size"), size);
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC{0,40}|[0-9.eE+-]{0,30} ?[kKmMgGtTbBi]{0,4}") {
        if let Ok(size) = text.parse::<ByteSize>() {
            prop_assert!(size <= ByteSize::MAX);
        }
        if let Ok(ttl) = text.parse::<Ttl>() {
            prop_assert!(Ttl::from_millis(ttl.as_millis()).is_ok());
        }
    }

    #[test]
    fn times_read_back(ms in 1..=315_360_000_000_u64) {
        let ttl = Ttl::from_millis(ms).expect("legal");
        prop_assert_eq!(u128::from(ttl.as_millis()), ttl.as_duration().as_millis());
        prop_assert_eq!(Ttl::try_from(u64::from(ttl)), Ok(ttl));
    }
}
