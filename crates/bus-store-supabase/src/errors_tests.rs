//! Every row of the table of signals.

use chrono::TimeDelta;
use rstest::rstest;
use secrecy::SecretString;

use super::*;
use crate::key::ApiKey;

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn credentials(key: &str) -> Credentials {
    Credentials {
        key: ApiKey::parse(&SecretString::from(key)).expect("a key"),
        access_token: None,
    }
}

fn answer(status: u16, retry_after: Option<&str>, body: &str) -> StoreError {
    let refusal = Refusal {
        call: Call::of("bus_begin"),
        status,
        retry_after,
        body: body.as_bytes(),
    };
    refusal.into_error(&credentials("sb_secret_hush"), NOW)
}

fn coded(status: u16, code: &str) -> StoreError {
    let body = format!(r#"{{"code":"{code}","message":"why","details":null,"hint":null}}"#);
    answer(status, None, &body)
}

/// What the breaker and the retries will see: the kind, and whether another try is worth it.
fn seen(error: &StoreError) -> (Kind, bool) {
    (error.kind(), error.is_transient())
}

#[rstest]
#[case(408, Kind::Timeout, true)]
#[case(502, Kind::Unavailable, true)]
#[case(503, Kind::Unavailable, true)]
#[case(504, Kind::Timeout, true)]
#[case(520, Kind::Unavailable, true)]
#[case(521, Kind::Unavailable, true)]
#[case(522, Kind::Timeout, true)]
#[case(523, Kind::Unavailable, true)]
#[case(524, Kind::Timeout, true)]
#[case(544, Kind::Timeout, true)]
#[case(429, Kind::Overloaded, true)]
#[case(500, Kind::Internal, false)]
#[case(501, Kind::Internal, false)]
#[case(540, Kind::Unavailable, false)]
#[case(401, Kind::Denied, false)]
#[case(403, Kind::Denied, false)]
#[case(400, Kind::InvalidInput, false)]
#[case(404, Kind::InvalidInput, false)]
#[case(406, Kind::InvalidInput, false)]
#[case(413, Kind::TooLarge, false)]
#[case(416, Kind::InvalidInput, false)]
#[case(301, Kind::InvalidInput, false)]
fn a_status_without_a_code(#[case] status: u16, #[case] kind: Kind, #[case] retry: bool) {
    for body in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"message":"x","code":7}"#,
        r#"{"code":"odd"}"#,
    ] {
        assert_eq!(seen(&answer(status, None, body)), (kind, retry), "{body}");
    }
}

#[rstest]
#[case(503, "08006", Kind::Unavailable, true)]
#[case(503, "08P01", Kind::Unavailable, true)]
#[case(503, "53300", Kind::Overloaded, true)]
#[case(503, "53200", Kind::Overloaded, true)]
#[case(503, "53100", Kind::Full, false)]
#[case(503, "PGRST000", Kind::Unavailable, true)]
#[case(503, "PGRST001", Kind::Unavailable, true)]
#[case(503, "PGRST002", Kind::Unavailable, true)]
#[case(504, "PGRST003", Kind::Timeout, true)]
#[case(500, "57P01", Kind::Unavailable, true)]
#[case(500, "57P02", Kind::Unavailable, true)]
#[case(503, "57P03", Kind::Unavailable, true)]
#[case(500, "40001", Kind::Contended, true)]
#[case(500, "40P01", Kind::Contended, true)]
#[case(500, "57014", Kind::Timeout, false)]
#[case(500, "XX000", Kind::Internal, false)]
#[case(405, "25006", Kind::Unavailable, false)]
#[case(401, "42501", Kind::Denied, false)]
#[case(403, "42501", Kind::Denied, false)]
#[case(401, "PGRST301", Kind::Denied, false)]
#[case(401, "PGRST302", Kind::Denied, false)]
#[case(401, "PGRST303", Kind::Denied, false)]
#[case(404, "PGRST202", Kind::Denied, false)]
#[case(404, "PGRST205", Kind::Denied, false)]
#[case(404, "42883", Kind::Denied, false)]
#[case(404, "42P01", Kind::Denied, false)]
#[case(400, "42704", Kind::Denied, false)]
#[case(400, "PGRST102", Kind::InvalidInput, false)]
#[case(406, "PGRST106", Kind::InvalidInput, false)]
#[case(406, "PGRST107", Kind::InvalidInput, false)]
#[case(300, "PGRST203", Kind::InvalidInput, false)]
#[case(500, "PGRST300", Kind::Internal, false)]
#[case(500, "PGRSTX00", Kind::Internal, false)]
#[case(400, "22P02", Kind::InvalidInput, false)]
#[case(400, "23514", Kind::InvalidInput, false)]
#[case(409, "23505", Kind::InvalidInput, false)]
#[case(500, "54000", Kind::TooLarge, false)]
#[case(418, "PT418", Kind::InvalidInput, false)]
fn a_code_wins_over_the_status(
    #[case] status: u16,
    #[case] code: &str,
    #[case] kind: Kind,
    #[case] retry: bool,
) {
    assert_eq!(seen(&coded(status, code)), (kind, retry));
    // Servers disagree about statuses; codes are the same everywhere.
    if kind != Kind::Internal && !code.starts_with("PGRST1") && code != "PGRST203" {
        let elsewhere = if code == "PT418" { 418 } else { 500 };
        assert_eq!(seen(&coded(elsewhere, code)), (kind, retry));
    }
}

#[rstest]
#[case("denied", Kind::Denied)]
#[case("lease_lost", Kind::LeaseLost)]
#[case("not_found", Kind::NotFound)]
#[case("expired", Kind::Expired)]
#[case("not_complete", Kind::NotComplete)]
#[case("out_of_range", Kind::InvalidInput)]
#[case("damaged", Kind::Damaged)]
#[case("conflict", Kind::Conflict)]
fn our_functions_say_a_word(#[case] word: &str, #[case] kind: Kind) {
    let body = format!(r#"{{"code":"PT499","message":"{word}","details":"the reason"}}"#);
    let error = answer(499, None, &body);
    assert_eq!(seen(&error), (kind, false));
    assert!(
        error.to_string().starts_with("bus_begin: the reason"),
        "{error}"
    );
}

#[rstest]
#[case("canceling statement due to statement timeout", Kind::Timeout)]
#[case(
    "new row for relation \\\"x\\\" violates check constraint",
    Kind::InvalidInput
)]
#[case("deadlock detected", Kind::Contended)]
#[case("cannot execute INSERT in a read-only transaction", Kind::Unavailable)]
#[case("could not extend file: No space left on device", Kind::Full)]
#[case("something else", Kind::Internal)]
fn lite_has_one_code_for_all(#[case] text: &str, #[case] kind: Kind) {
    let body = format!(r#"{{"code":"SUP","message":"{text}"}}"#);
    assert_eq!(answer(500, None, &body).kind(), kind);
}

#[test]
fn retry_after_is_read_in_both_forms() {
    let after = |value| answer(429, Some(value), "").retry_after();
    let date = (NOW + TimeDelta::seconds(90))
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    assert_eq!(after("7"), Some(Duration::from_secs(7)));
    assert_eq!(after(" 0 "), Some(Duration::ZERO));
    assert_eq!(after(&date), Some(Duration::from_secs(90)));
    assert_eq!(after("Wed, 01 Jan 1969 00:00:00 GMT"), Some(Duration::ZERO));
    assert_eq!(after("99999999999"), Some(LONGEST_WAIT));
    for nonsense in ["", "-1", "soon", "1.5"] {
        assert_eq!(after(nonsense), None, "{nonsense:?}");
    }
    assert_eq!(
        answer(503, Some("3"), "").retry_after(),
        Some(Duration::from_secs(3))
    );
}

#[test]
fn what_lasts_long_says_so() {
    for error in [answer(540, None, ""), coded(500, "25006")] {
        assert_eq!(error.retry_after(), Some(LONG), "{error}");
    }
    assert!(answer(540, None, "").to_string().contains("paused"));
}

#[test]
fn what_is_missing_says_what_to_run() {
    for code in ["PGRST202", "PGRST205", "42883", "42P01"] {
        assert!(
            coded(404, code).to_string().contains("bus migrate"),
            "{code}"
        );
    }
}

#[test]
fn a_refused_key_is_told_by_its_kind() {
    let refused = |key: &str| {
        let refusal = Refusal {
            call: Call::of("bus_check"),
            status: 401,
            retry_after: None,
            body: br#"{"code":"42501","message":"permission denied"}"#,
        };
        refusal.into_error(&credentials(key), NOW).to_string()
    };
    assert!(refused("sb_publishable_x").contains("publishable key has the role anon"));
    assert!(refused("sb_secret_x").contains("has the role service_role"));
    // {"alg":"HS256"} . {"role":"service_role","exp":0}
    let expired = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIiwiZXhwIjowfQ.c2ln";
    assert!(refused(expired).contains("expired at 1970-01-01T00:00:00Z"));
}

#[test]
fn neither_the_key_nor_a_row_is_quoted() {
    let body = r#"{"code":"23502","message":"null value; key sb_secret_hush","details":"Failing row contains (token-1)"}"#;
    let shown = format!("{0} {0:?}", answer(400, None, body));
    assert!(shown.contains("null value"), "{shown}");
    assert!(
        !shown.contains("hush") && !shown.contains("token-1"),
        "{shown}"
    );
}

#[test]
fn a_long_text_is_cut_and_stays_one_line() {
    let body = format!(r#"{{"message":"a\nb{}"}}"#, "x".repeat(5000));
    let shown = answer(500, None, &body).to_string();
    assert!(shown.len() < 500 && !shown.contains('\n'), "{shown}");
}

/// What postrust says while its database is away, measured with PostgreSQL killed.
#[test]
fn postrust_says_that_its_database_is_away() {
    let body = |message: &str| format!(r#"{{"code":"PGRST500","message":"{message}"}}"#);
    let away = answer(500, None, &body("Service temporarily unavailable"));
    assert_eq!(seen(&away), (Kind::Unavailable, true));
    let other = answer(500, None, &body("Database error"));
    assert_eq!(seen(&other), (Kind::Internal, false));
}

/// A part of a key is no longer found: it has to be taken out before anything is cut.
#[test]
fn a_key_across_the_place_where_a_text_is_cut_is_not_shown_in_part() {
    for before in 0..=SHOWN {
        let body = format!(r#"{{"message":"{}sb_secret_hush"}}"#, "x".repeat(before));
        let shown = format!("{:?}", answer(401, None, &body));
        assert!(!shown.contains("sb_"), "{before}: {shown}");
    }
}
