//! Who may pass: the keys and their roles, as hosted Supabase judges them.

use crate::supabase::keys::{self, PUBLISHABLE_KEY, SECRET_KEY};
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use serde_json::json;

/// What the gateway asks of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// The prefix `/rest/v1`, and a key.
    Hosted,
    /// Nothing: the server behind asks itself.
    Open,
}

impl Rules {
    /// The path that the server knows; `None` where there is nothing.
    pub(super) fn upstream_path(self, path: &str) -> Option<&str> {
        match self {
            Self::Open => Some(path),
            Self::Hosted => match path.strip_prefix("/rest/v1")? {
                "" => Some("/"),
                rest => rest.starts_with('/').then_some(rest),
            },
        }
    }

    /// The `Authorization` to put in place of the caller's, if another one is to be put there.
    pub(super) fn admit(self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
        if self == Self::Open {
            return Ok(None);
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(key) = text("apikey") else {
            return Err(Refusal::new(
                "No API key found in request",
                "No `apikey` request header or url param was found.",
            ));
        };
        let agent = text("user-agent").unwrap_or_default();
        if key == SECRET_KEY && is_browser(agent) {
            return Err(Refusal::new(
                "Forbidden use of secret API key in browser",
                "Secret API keys can only be used in a protected environment and should never be used in a browser. \
                 Delete this secret API key immediately.",
            ));
        }
        let role = role_jwt(key).ok_or_else(|| {
            Refusal::new(
                "Invalid API key",
                "Double check your Supabase `anon` or `service_role` API key.",
            )
        })?;
        // The caller's own token decides, whatever it is: the server refuses what is no JWT.
        if headers.contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        Ok(HeaderValue::from_str(&format!("Bearer {role}")).ok())
    }
}

/// Why a request may not pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    message: &'static str,
    hint: &'static str,
}

impl Refusal {
    fn new(message: &'static str, hint: &'static str) -> Self {
        Self { message, hint }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "message": self.message, "hint": self.hint });
        (StatusCode::UNAUTHORIZED, Json(body)).into_response()
    }
}

/// The JWT that a key stands for: a short-lived one of its role, or the key itself.
fn role_jwt(key: &str) -> Option<String> {
    let minted = |role| Some(keys::jwt(role, None, TimeDelta::minutes(1)));
    match key {
        SECRET_KEY => minted("service_role"),
        PUBLISHABLE_KEY => minted("anon"),
        jwt => keys::claims(jwt).map(|_| jwt.to_owned()),
    }
}

fn is_browser(agent: &str) -> bool {
    agent.starts_with("Mozilla/")
}
