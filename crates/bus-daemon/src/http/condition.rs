//! `If-Match` and `If-None-Match` (RFC 9110, section 13), pure. `If-Range` is in [`super::range`].
//!
//! Conditions on times are not looked at: no date of modification is ever sent, and a server that
//! has none must ignore them.

use axum::http::{HeaderMap, StatusCode};

use super::{headers::list, problem::Problem};

/// Whether the client's copy of a representation with the strong tag `etag` is current, so that
/// 304 is the answer to its `GET`; 412 where the client wants another representation or none.
pub(super) fn copy_is_current(headers: &HeaderMap, etag: &str) -> Result<bool, Problem> {
    if list(headers, "if-match").is_some_and(|field| !names(&field, etag)) {
        return Err(failed("no tag in If-Match is the current one"));
    }
    Ok(list(headers, "if-none-match").is_some_and(|field| names_weakly(&field, etag)))
}

/// Lets a request through that changes a message. A message as such has no tag, only its payload
/// and its manifest do, so of `If-Match` only `*` holds.
pub(super) fn may_change(headers: &HeaderMap) -> Result<(), Problem> {
    match list(headers, "if-match") {
        Some(field) if field.trim() != "*" => {
            Err(failed("If-Match names a tag, and a message has none"))
        }
        _ => Ok(()),
    }
}

/// 412 where the client wanted to be the first, and `created` says that it was not.
pub(super) fn is_first_as_asked(headers: &HeaderMap, created: bool) -> Result<(), Problem> {
    let asked = list(headers, "if-none-match").is_some_and(|field| field.trim() == "*");
    if asked && !created {
        return Err(failed("If-None-Match: * and the message was there already"));
    }
    Ok(())
}

/// Strong comparison: a weak tag never matches.
fn names(field: &str, etag: &str) -> bool {
    field.trim() == "*" || tags(field).any(|tag| tag == etag)
}

fn names_weakly(field: &str, etag: &str) -> bool {
    field.trim() == "*" || tags(field).any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Our own tags hold no comma, so splitting at commas cannot tear one of them apart.
fn tags(field: &str) -> impl Iterator<Item = &str> {
    field.split(',').map(str::trim)
}

fn failed(why: &str) -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "PRECONDITION_FAILED",
        why,
        "look at what is there now, and correct or leave out the condition",
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("*", true, true)]
    #[case("\"a\"", true, true)]
    #[case(" \"b\" , \"a\" ", true, true)]
    #[case("W/\"a\"", false, true)]
    #[case("w/\"a\"", false, false)]
    #[case("\"b\"", false, false)]
    #[case("a", false, false)]
    #[case("", false, false)]
    #[case("W/*", false, false)]
    #[case("\"b\", *", false, false)]
    #[case("\"b,*,c\"", false, false)]
    fn a_list_of_tags(#[case] field: &str, #[case] strong: bool, #[case] weak: bool) {
        assert_eq!(names(field, "\"a\""), strong);
        assert_eq!(names_weakly(field, "\"a\""), weak);
    }
}
