//! What a request's headers say of a message that is published.
//!
//! | header | field | default |
//! |---|---|---|
//! | `Bus-Session` | `session_id` | `http` |
//! | `Bus-Tool` | `tool_name` | `http` |
//! | `Bus-Provider` | `provider_name` | `unknown` |
//! | `Bus-Ttl-Hours` | how long it lives, a number of hours | the daemon's setting |
//! | `Bus-Priority` | `urgent`, `normal` or `bulk` | `normal` |
//! | `Bus-Metadata` | a JSON object | `{}` |
//! | `Content-Type` | `content_type` | `application/octet-stream` |
//! | `Repr-Digest` (or `Content-Digest`) | SHA-256 that the payload must have | none |
//!
//! Values are UTF-8. A header that comes twice is refused, since nobody can say which one counts.

use std::{fmt::Display, str::FromStr};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bus_client::Message;
use bus_model::{Digest, Metadata, SessionId, ToolName};

use super::problem::Problem;

/// What stands for session and tool where a publisher names none.
const UNNAMED: &str = "http";

/// The message that the headers describe.
pub(super) fn message(headers: &HeaderMap) -> Result<Message, Problem> {
    refuse_codings(headers)?;
    let session: SessionId = parsed(headers, "bus-session", UNNAMED)?;
    let tool: ToolName = parsed(headers, "bus-tool", UNNAMED)?;
    let mut message = Message::new(session, tool);
    if let Some(provider) = optional(headers, "bus-provider")? {
        message.provider_name = provider;
    }
    if let Some(priority) = optional(headers, "bus-priority")? {
        message.priority = priority;
    }
    message.ttl = optional(headers, "bus-ttl-hours")?;
    message.content_type = optional(headers, "content-type")?;
    message.metadata = metadata(headers)?;
    message.expected_digest = digest(headers)?;
    Ok(message)
}

/// The value of a header that may come at most once.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(bad_header(name, "it comes more than once"));
    }
    first
        .map(|value| {
            std::str::from_utf8(value.as_bytes()).map_err(|_| bad_header(name, "it is not UTF-8"))
        })
        .transpose()
}

/// All values of a list header as one. What is not UTF-8 stays as a replacement character: left
/// out, a coding or a condition that nobody understands would count as none at all.
pub(super) fn list(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    headers.contains_key(name).then(|| values.join(","))
}

/// The payload is stored as it comes, so a coded body or a part of one cannot be taken.
fn refuse_codings(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(bad_header("content-range", "a message is published whole"));
    }
    match list(headers, header::CONTENT_ENCODING.as_str()) {
        Some(codings) if !is_identity(&codings) => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_ENCODING",
            format!("the body has Content-Encoding {codings:?}: only identity is taken"),
            "send the payload's own bytes; bus compresses them in the store",
        )
        .with_header(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        )),
        _ => Ok(()),
    }
}

fn is_identity(codings: &str) -> bool {
    codings
        .split(',')
        .map(str::trim)
        .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
}

fn metadata(headers: &HeaderMap) -> Result<Metadata, Problem> {
    match single(headers, "bus-metadata")? {
        None => Ok(Metadata::new()),
        Some(text) => serde_json::from_str(text)
            .map_err(|error| bad_header("bus-metadata", format!("not a JSON object: {error}"))),
    }
}

/// The digest that the payload must have. A digest that cannot be checked is refused: ignoring it
/// would be a promise that nobody keeps.
fn digest(headers: &HeaderMap) -> Result<Option<Digest>, Problem> {
    let read = |name: &'static str| -> Result<Option<Digest>, Problem> {
        let Some(field) = list(headers, name) else {
            return Ok(None);
        };
        match Digest::from_repr_digest(&field) {
            Ok(Some(digest)) => Ok(Some(digest)),
            Ok(None) => Err(bad_header(name, "only sha-256=:base64: can be checked")),
            Err(error) => Err(bad_header(name, error)),
        }
    };
    match (read("repr-digest")?, read("content-digest")?) {
        (Some(one), Some(other)) if one != other => {
            Err(bad_header("repr-digest", "Content-Digest says otherwise"))
        }
        (one, other) => Ok(one.or(other)),
    }
}

fn optional<T>(headers: &HeaderMap, name: &'static str) -> Result<Option<T>, Problem>
where
    T: FromStr<Err: Display>,
{
    single(headers, name)?
        .map(|text| text.parse().map_err(|error| bad_header(name, error)))
        .transpose()
}

fn parsed<T>(headers: &HeaderMap, name: &'static str, default: &str) -> Result<T, Problem>
where
    T: FromStr<Err: Display>,
{
    let text = single(headers, name)?.unwrap_or(default);
    text.parse().map_err(|error| bad_header(name, error))
}

fn bad_header(name: &str, why: impl Display) -> Problem {
    Problem::bad_request("BAD_HEADER", format!("the header {name}: {why}"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;
    use bus_model::{Priority, Ttl};
    use rstest::rstest;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect()
    }

    #[test]
    fn no_headers_give_the_defaults() {
        let message = message(&headers(&[])).unwrap();
        assert_eq!(message.session_id.as_str(), "http");
        assert_eq!(message.tool_name.as_str(), "http");
        assert_eq!(message.provider_name.as_str(), "unknown");
        assert_eq!(message.ttl, None);
        assert_eq!(message.content_type, None);
        assert!(message.metadata.is_empty());
    }

    #[test]
    fn every_header_ends_in_its_field() {
        let digest = Digest::of(b"payload");
        let message = message(&headers(&[
            ("bus-session", "sitzung-ä"),
            ("bus-tool", "analyse"),
            ("bus-provider", "local"),
            ("bus-ttl-hours", "0.5"),
            ("bus-priority", "bulk"),
            ("bus-metadata", r#"{"request_id":"r1"}"#),
            ("content-type", "text/html; charset=utf-8"),
            (
                "repr-digest",
                &format!("sha-512=:AA==:, {}", digest.to_repr_digest()),
            ),
            ("content-encoding", "identity"),
        ]))
        .unwrap();
        assert_eq!(message.session_id.as_str(), "sitzung-ä");
        assert_eq!(message.tool_name.as_str(), "analyse");
        assert_eq!(message.provider_name.as_str(), "local");
        assert_eq!(message.ttl, Some(Ttl::from_millis(1_800_000).unwrap()));
        assert_eq!(message.priority, Priority::Bulk);
        assert_eq!(message.metadata["request_id"], "r1");
        assert_eq!(message.expected_digest, Some(digest));
    }

    #[rstest]
    #[case(&[("bus-session", "")], 400)]
    #[case(&[("bus-session", "a"), ("bus-session", "b")], 400)]
    #[case(&[("bus-ttl-hours", "0")], 400)]
    #[case(&[("bus-ttl-hours", "-1")], 400)]
    #[case(&[("bus-ttl-hours", "NaN")], 400)]
    #[case(&[("bus-ttl-hours", "87601")], 400)]
    #[case(&[("bus-priority", "Urgent")], 400)]
    #[case(&[("bus-metadata", "[]")], 400)]
    #[case(&[("bus-metadata", "{")], 400)]
    #[case(&[("content-type", "text")], 400)]
    #[case(&[("repr-digest", "sha-512=:AA==:")], 400)]
    #[case(&[("repr-digest", "sha-256=:AA==:")], 400)]
    #[case(&[("repr-digest", "nonsense")], 400)]
    #[case(&[("content-range", "bytes 0-1/2")], 400)]
    #[case(&[("content-encoding", "gzip")], 415)]
    #[case(&[("content-encoding", "identity, gzip")], 415)]
    #[case(&[("content-encoding", "gzïp")], 415)]
    #[case(&[("content-encoding", "identity"), ("content-encoding", "gzïp")], 415)]
    #[case(&[("repr-digest", "shä=:AA==:")], 400)]
    fn what_is_not_legal_is_refused(#[case] pairs: &[(&str, &str)], #[case] status: u16) {
        let problem = message(&headers(pairs)).unwrap_err();
        assert_eq!(problem.status().as_u16(), status);
    }

    #[test]
    fn two_digests_that_differ_are_refused() {
        let one = Digest::of(b"one").to_repr_digest();
        let two = Digest::of(b"two").to_repr_digest();
        let pairs = [
            ("repr-digest", one.as_str()),
            ("content-digest", two.as_str()),
        ];
        assert_eq!(message(&headers(&pairs)).unwrap_err().status(), 400);
    }
}
