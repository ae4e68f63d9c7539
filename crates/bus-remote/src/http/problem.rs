//! What a daemon's refusal means (RFC 9457), and what it means not to reach one.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Response, StatusCode, header};
use serde::Deserialize;

use crate::{DaemonUrl, RemoteError, RemoteErrorKind};

/// The most that is read of a refusal, in bytes.
const MAX_PROBLEM: usize = 64 << 10;

/// The parts of a problem document that a client uses.
#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    action: String,
}

/// Passes a success on; turns a refusal into an error.
pub(super) async fn check(answer: Response, url: &DaemonUrl) -> Result<Response, RemoteError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let retry_after = answer
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let body = read_bounded(answer, MAX_PROBLEM, Duration::from_secs(5), url).await;
    let problem: Problem = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body).ok())
        .unwrap_or_default();
    let error = RemoteError::new(
        kind_of(status, &problem.code),
        describe(status, &problem, url),
    );
    let error = match problem.code.is_empty() {
        true => error.with_code(status.as_str()),
        false => error.with_code(problem.code),
    };
    Err(match retry_after {
        Some(delay) => error.with_retry_after(delay),
        None => error,
    })
}

/// The whole body of an answer, up to `limit` bytes.
pub(super) async fn read_bounded(
    mut answer: Response,
    limit: usize,
    idle: Duration,
    url: &DaemonUrl,
) -> Result<Bytes, RemoteError> {
    let mut whole = Vec::new();
    loop {
        match tokio::time::timeout(idle, answer.chunk()).await {
            Ok(Ok(Some(bytes))) if whole.len() + bytes.len() <= limit => {
                whole.extend_from_slice(&bytes);
            }
            Ok(Ok(Some(_))) => {
                let message =
                    format!("{url} sent more than {limit} bytes where a short answer belongs");
                return Err(RemoteError::new(RemoteErrorKind::Protocol, message));
            }
            Ok(Ok(None)) => return Ok(whole.into()),
            Ok(Err(error)) => return Err(unreachable(error, url)),
            Err(_) => return Err(silent(url, idle)),
        }
    }
}

/// The daemon could not be reached, or was lost on the way.
pub(super) fn unreachable(error: reqwest::Error, url: &DaemonUrl) -> RemoteError {
    // The URL is ours and may be shown, but once is enough.
    let error = error.without_url();
    let message = if error.is_connect() {
        format!("no daemon answers at {url}: start one with bus serve, or name another with --url")
    } else {
        format!("the exchange with {url} broke off")
    };
    RemoteError::new(RemoteErrorKind::Unavailable, message).with_source(error)
}

/// The daemon said nothing for too long.
pub(super) fn silent(url: &DaemonUrl, idle: Duration) -> RemoteError {
    let message = format!("{url} was silent for {idle:?}");
    RemoteError::new(RemoteErrorKind::Timeout, message)
}

fn describe(status: StatusCode, problem: &Problem, url: &DaemonUrl) -> String {
    if status == StatusCode::UNAUTHORIZED && problem.detail.is_empty() {
        return format!("{url} does not accept the token: check --token or BUS_TOKEN");
    }
    match (problem.detail.as_str(), problem.action.as_str()) {
        ("", _) => format!("{url} answered {status}"),
        (detail, "") => detail.to_owned(),
        (detail, action) if detail.contains(action) => detail.to_owned(),
        (detail, action) => format!("{detail} ({action})"),
    }
}

fn kind_of(status: StatusCode, code: &str) -> RemoteErrorKind {
    match (status.as_u16(), code) {
        (_, "DIGEST_MISMATCH" | "DAMAGED") => RemoteErrorKind::Mismatch,
        (_, "BODY_TRUNCATED" | "BODY_STALLED") => RemoteErrorKind::Truncated,
        (401, _) => RemoteErrorKind::Unauthorized,
        (403, "DISABLED") => RemoteErrorKind::Daemon,
        (403, _) => RemoteErrorKind::Forbidden,
        (404, _) => RemoteErrorKind::NotFound,
        (410, _) => RemoteErrorKind::Expired,
        (409, _) => RemoteErrorKind::Conflict,
        (413, _) => RemoteErrorKind::TooLarge,
        (507, _) => RemoteErrorKind::Full,
        (408 | 429 | 502..=504, _) => RemoteErrorKind::Unavailable,
        (400 | 406 | 415 | 416 | 422, _) => RemoteErrorKind::InvalidInput,
        (500..=599, _) => RemoteErrorKind::Daemon,
        _ => RemoteErrorKind::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(404, "NOT_FOUND", RemoteErrorKind::NotFound)]
    #[case(410, "EXPIRED", RemoteErrorKind::Expired)]
    #[case(400, "DIGEST_MISMATCH", RemoteErrorKind::Mismatch)]
    #[case(500, "DAMAGED", RemoteErrorKind::Mismatch)]
    #[case(500, "INTERNAL", RemoteErrorKind::Daemon)]
    #[case(401, "", RemoteErrorKind::Unauthorized)]
    #[case(403, "DENIED", RemoteErrorKind::Forbidden)]
    #[case(416, "BAD_RANGE", RemoteErrorKind::InvalidInput)]
    #[case(503, "BUSY", RemoteErrorKind::Unavailable)]
    #[case(507, "STORE_FULL", RemoteErrorKind::Full)]
    #[case(302, "", RemoteErrorKind::Protocol)]
    fn statuses_and_codes(#[case] status: u16, #[case] code: &str, #[case] kind: RemoteErrorKind) {
        assert_eq!(kind_of(StatusCode::from_u16(status).unwrap(), code), kind);
    }
}
