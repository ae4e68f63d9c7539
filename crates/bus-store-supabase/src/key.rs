//! The keys of a Supabase project: of which kind one is, and what a JWT says of itself.
//!
//! Nothing is verified here, only read: whether a key is true is for the server to say. What is
//! read is good for advice, such as that a key has expired.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

const PUBLISHABLE: &str = "sb_publishable_";
const SECRET: &str = "sb_secret_";

/// The role of a request that shows no more than a publishable key.
pub const ANON: &str = "anon";
/// The role that may see the rows of everybody.
pub const SERVICE_ROLE: &str = "service_role";
/// The role of a user who signed in.
pub const AUTHENTICATED: &str = "authenticated";

/// A key or an access token, read as far as it can be without its secret. The text itself is in
/// neither `Debug` nor any error.
#[derive(Clone)]
pub struct ApiKey {
    text: SecretString,
    kind: KeyKind,
}

/// Of which kind a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// `sb_publishable_...`: for programs that are not trusted; its role is `anon`.
    Publishable,
    /// `sb_secret_...`: for servers; its role is `service_role`.
    Secret,
    /// A JWT: one of the older keys (`anon`, `service_role`), or the token of a user.
    Jwt(Box<JwtClaims>),
}

/// What a JWT says of itself, unverified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JwtClaims {
    /// The Postgres role that requests run as.
    pub role: Option<String>,
    /// Whose token it is; the principal of all that is done with it.
    pub subject: Option<String>,
    /// From when on it is refused.
    pub expires_at: Option<DateTime<Utc>>,
    /// The project that it was made for (`ref`); only in the older keys.
    pub project_ref: Option<String>,
    /// Who made it.
    pub issuer: Option<String>,
}

/// A text is not a key. It says nothing of the text: it may be a secret that was mistyped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is empty.
    #[error(
        "the key is empty: the project's secret key (sb_secret_...) or a service_role JWT is expected"
    )]
    Empty,
    /// It cannot travel in a header.
    #[error(
        "the key holds spaces, line ends or characters that are not ASCII: copy it again, in one piece"
    )]
    NotVisible,
    /// It is neither an `sb_` key nor a JWT.
    #[error(
        "the key is of no known kind: sb_secret_..., sb_publishable_... or a JWT (three parts with dots between) is expected; it is in the project's settings under API keys"
    )]
    UnknownKind,
}

impl ApiKey {
    /// Reads a key; white space around it is left away.
    ///
    /// # Errors
    /// [`KeyError`] where it is none.
    pub fn parse(text: &SecretString) -> Result<Self, KeyError> {
        let text = text.expose_secret().trim();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(KeyError::NotVisible);
        }
        let kind = if has_more(text, PUBLISHABLE) {
            KeyKind::Publishable
        } else if has_more(text, SECRET) {
            KeyKind::Secret
        } else {
            KeyKind::Jwt(Box::new(read_jwt(text).ok_or(KeyError::UnknownKind)?))
        };
        Ok(Self {
            text: SecretString::from(text),
            kind,
        })
    }

    /// Of which kind it is.
    #[must_use]
    pub fn kind(&self) -> &KeyKind {
        &self.kind
    }

    /// What it says of itself, where it is a JWT.
    #[must_use]
    pub fn claims(&self) -> Option<&JwtClaims> {
        match &self.kind {
            KeyKind::Jwt(claims) => Some(claims),
            KeyKind::Publishable | KeyKind::Secret => None,
        }
    }

    /// The Postgres role that requests with it run as, where that can be told.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        match &self.kind {
            KeyKind::Publishable => Some(ANON),
            KeyKind::Secret => Some(SERVICE_ROLE),
            KeyKind::Jwt(claims) => claims.role.as_deref(),
        }
    }

    /// Whether it is a JWT that is refused at `now`.
    #[must_use]
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.claims()
            .and_then(|claims| claims.expires_at)
            .is_some_and(|at| at <= now)
    }

    /// The key itself.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.text
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

fn has_more(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| !rest.is_empty())
}

/// What of a JWT's payload is looked at. What is of another type than expected counts as not there.
#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    role: serde_json::Value,
    #[serde(default)]
    sub: serde_json::Value,
    #[serde(default)]
    exp: serde_json::Value,
    #[serde(default, rename = "ref")]
    project: serde_json::Value,
    #[serde(default)]
    iss: serde_json::Value,
}

fn read_jwt(text: &str) -> Option<JwtClaims> {
    let mut parts = text.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || signature.is_empty() {
        return None;
    }
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok();
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&decode(header)?).ok()?;
    let payload: Payload = serde_json::from_slice(&decode(payload)?).ok()?;
    let text = |value: serde_json::Value| value.as_str().map(str::to_owned);
    let exp = payload.exp;
    Some(JwtClaims {
        role: text(payload.role),
        subject: text(payload.sub),
        expires_at: exp
            .as_i64()
            .or_else(|| exp.as_f64().map(whole_seconds))
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        project_ref: text(payload.project),
        issuer: text(payload.iss),
    })
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a fraction of a second is of no interest, and what is too large is cut"
)]
fn whole_seconds(seconds: f64) -> i64 {
    seconds as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ApiKey, KeyError> {
        ApiKey::parse(&SecretString::from(text))
    }

    fn jwt(payload: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", part(r#"{"alg":"HS256"}"#), part(payload))
    }

    #[test]
    fn the_newer_keys_are_known_by_their_prefix() {
        let secret = parse(" sb_secret_abc_DEF-1\n").expect("a key");
        assert_eq!(
            (secret.kind(), secret.role()),
            (&KeyKind::Secret, Some(SERVICE_ROLE))
        );
        assert_eq!(secret.secret().expose_secret(), "sb_secret_abc_DEF-1");
        let publishable = parse("sb_publishable_x").expect("a key");
        assert_eq!(publishable.kind(), &KeyKind::Publishable);
        assert_eq!(publishable.role(), Some(ANON));
        assert!(!publishable.is_expired(DateTime::<Utc>::MAX_UTC));
    }

    #[test]
    fn a_jwt_is_read_without_its_secret() {
        let text = jwt(
            r#"{"role":"authenticated","sub":"u-1","exp":1700000000,"ref":"abcd","iss":"supabase"}"#,
        );
        let key = parse(&text).expect("a key");
        let claims = key.claims().expect("claims");
        assert_eq!(key.role(), Some(AUTHENTICATED));
        assert_eq!(claims.subject.as_deref(), Some("u-1"));
        assert_eq!(claims.project_ref.as_deref(), Some("abcd"));
        let exp = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
        assert_eq!(claims.expires_at, Some(exp));
        assert!(key.is_expired(exp));
        assert!(!key.is_expired(exp - chrono::TimeDelta::seconds(1)));
    }

    #[test]
    fn a_jwt_with_odd_claims_is_still_a_jwt() {
        let key = parse(&jwt(r#"{"role":7,"exp":1.5e9,"sub":null}"#)).expect("a key");
        assert_eq!(key.role(), None);
        let exp = key.claims().and_then(|claims| claims.expires_at);
        assert_eq!(exp.map(|at| at.timestamp()), Some(1_500_000_000));
        assert!(!parse(&jwt("{}")).expect("a key").is_expired(Utc::now()));
    }

    #[test]
    fn what_is_no_key_is_told_without_showing_it() {
        let two = jwt("{}").rsplit_once('.').expect("dots").0.to_owned();
        for (text, wanted) in [
            ("", KeyError::Empty),
            (" \n", KeyError::Empty),
            ("sb_secret_a b", KeyError::NotVisible),
            ("sb_secret_ä", KeyError::NotVisible),
            ("sb_secret_", KeyError::UnknownKind),
            ("hunter2", KeyError::UnknownKind),
            ("a.b.c", KeyError::UnknownKind),
            (&two, KeyError::UnknownKind),
            (&format!("{two}."), KeyError::UnknownKind),
            (&format!("{}.x", jwt("{}")), KeyError::UnknownKind),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error, wanted, "{text:?}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn the_text_is_not_in_debug() {
        let text = jwt(r#"{"role":"service_role"}"#);
        let shown = format!("{:?} {:?}", parse(&text), parse("sb_secret_hush"));
        assert!(shown.contains("service_role"), "{shown}");
        assert!(!shown.contains("hush") && !shown.contains(&text), "{shown}");
    }
}
