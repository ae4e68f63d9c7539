//! Where the project is, with which key it is asked, and how long one waits.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use crate::key::{ANON, ApiKey, KeyError, KeyKind};

/// Where a project serves its tables and functions.
pub const REST_PREFIX: &str = "/rest/v1";

/// The address of a project or its credentials are not legal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The address is none.
    #[error(
        "{shown:?} is not the address of a Supabase project: an http or https URL such as https://PROJECT.supabase.co is expected"
    )]
    Url {
        /// Its scheme and host; nothing of what may be a secret.
        shown: String,
    },
    /// The address holds a user or a password.
    #[error(
        "the address of the Supabase project holds a user or a password: leave them away, the key goes into its own setting"
    )]
    UrlWithCredentials,
    /// The key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The access token is not a JWT.
    #[error("the access token is not a JWT: the one that a signed-in user got is expected")]
    TokenNotJwt,
}

/// How to reach a project.
#[derive(Debug, Clone)]
pub struct SupabaseConfig {
    pub(crate) base: Url,
    pub(crate) credentials: Credentials,
    pub(crate) limits: Limits,
}

/// What a request shows.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) key: ApiKey,
    pub(crate) access_token: Option<ApiKey>,
}

/// How long, how much and how many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) idle: Duration,
    pub(crate) call: Duration,
    pub(crate) bytes_per_second: u64,
    pub(crate) calls: usize,
    pub(crate) raw_from_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            call: Duration::from_secs(5),
            bytes_per_second: 256 << 10,
            calls: 32,
            raw_from_bytes: 64 << 10,
        }
    }
}

impl SupabaseConfig {
    /// The project at `url`, asked with `key`: a secret or publishable key or one of the older JWT
    /// keys. A `/rest/v1` at the end of the address is left away.
    ///
    /// # Errors
    /// [`ConfigError`] where the address or the key is not legal.
    pub fn new(url: &str, key: &SecretString) -> Result<Self, ConfigError> {
        Ok(Self {
            base: base_of(url, REST_PREFIX)?,
            credentials: Credentials {
                key: ApiKey::parse(key)?,
                access_token: None,
            },
            limits: Limits::default(),
        })
    }

    /// Acts as the user of this access token, a JWT; the key then only says which project is
    /// meant. The `sub` of the token is the principal of all that is done, whatever callers say.
    ///
    /// # Errors
    /// [`ConfigError`] where it is not a JWT.
    pub fn with_access_token(mut self, token: &SecretString) -> Result<Self, ConfigError> {
        let token = ApiKey::parse(token).map_err(|_| ConfigError::TokenNotJwt)?;
        if token.claims().is_none() {
            return Err(ConfigError::TokenNotJwt);
        }
        self.credentials.access_token = Some(token);
        Ok(self)
    }

    /// Serves its functions under this path instead of `/rest/v1`; empty for a PostgREST without a
    /// gateway.
    #[must_use]
    pub fn with_rest_prefix(mut self, prefix: &str) -> Self {
        let mut root = self.base.clone();
        let path = root.path().trim_end_matches('/');
        let path = path.strip_suffix(REST_PREFIX).unwrap_or(path);
        let path = format!("{path}/{}", prefix.trim_matches('/'));
        root.set_path(&format!("{}/", path.trim_end_matches('/')));
        self.base = root;
        self
    }

    /// How long a connection may take to be made; 10 s by default. It counts as part of the call.
    #[must_use]
    pub fn with_connect_timeout(mut self, time: Duration) -> Self {
        self.limits.connect = time;
        self
    }

    /// How long a call may take: `base` (5 s by default) and the time that its bytes take at
    /// `bytes_per_second` (256 KiB/s by default), with those of the calls beside it, up to four times
    /// its own.
    #[must_use]
    pub fn with_call_timeout(mut self, base: Duration, bytes_per_second: u64) -> Self {
        self.limits.call = base;
        self.limits.bytes_per_second = bytes_per_second.max(1);
        self
    }

    /// How long the body of an answer may stall; 30 s by default.
    #[must_use]
    pub fn with_idle_timeout(mut self, time: Duration) -> Self {
        self.limits.idle = time;
        self
    }

    /// How many calls are made at the same time; further ones wait. 32 by default.
    #[must_use]
    pub fn with_concurrency(mut self, calls: usize) -> Self {
        self.limits.calls = calls.max(1);
        self
    }

    /// From which size on chunks are sent as raw bytes where the server takes them, 64 KiB by
    /// default; it is asked once. Smaller ones, and all of them elsewhere, travel as base64.
    #[must_use]
    pub fn with_raw_chunks_from(mut self, bytes: usize) -> Self {
        self.limits.raw_from_bytes = bytes;
        self
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &ApiKey {
        &self.credentials.key
    }

    /// The access token of a user, where there is one.
    #[must_use]
    pub fn access_token(&self) -> Option<&ApiKey> {
        self.credentials.access_token.as_ref()
    }

    /// The address that functions are called under, with a slash at its end. Holds no secret.
    #[must_use]
    pub fn rest_url(&self) -> &str {
        self.base.as_str()
    }

    /// How long a call that carries this many bytes may take where it is alone.
    #[must_use]
    pub fn call_time(&self, bytes: u64) -> Duration {
        let slow = bytes.saturating_mul(1000) / self.limits.bytes_per_second;
        let slow = Duration::from_millis(slow);
        self.limits.call.saturating_add(slow)
    }

    /// The project that the address names, where it is a hosted one.
    #[must_use]
    pub fn project_ref(&self) -> Option<&str> {
        let (project, rest) = self.base.host_str()?.split_once('.')?;
        matches!(rest, "supabase.co" | "supabase.in").then_some(project)
    }

    /// Whether the server is this machine.
    pub fn is_loopback(&self) -> bool {
        match self.base.host_str() {
            Some("localhost") => true,
            Some(host) => host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback()),
            None => false,
        }
    }
}

impl Credentials {
    /// What decides the role: the access token, else the key.
    pub(crate) fn acting(&self) -> &ApiKey {
        self.access_token.as_ref().unwrap_or(&self.key)
    }

    /// What goes into `Authorization`: a JWT only, since the other keys are none.
    pub(crate) fn bearer(&self) -> Option<&ApiKey> {
        let acting = self.acting();
        acting.claims().is_some().then_some(acting)
    }

    /// What to do where the server refuses these credentials.
    pub(crate) fn advice(&self, now: DateTime<Utc>) -> String {
        let acting = self.acting();
        let what = if self.access_token.is_some() {
            "access token"
        } else {
            "key"
        };
        if let Some(at) = acting.claims().and_then(|claims| claims.expires_at)
            && at <= now
        {
            return format!(
                "the {what} is a JWT that expired at {}: get a new one",
                at.format("%FT%TZ")
            );
        }
        match (acting.role(), acting.kind()) {
            (Some(ANON), KeyKind::Publishable) => "a publishable key has the role anon, which may not use the store: set SUPABASE_KEY to the project's secret key (sb_secret_...), or act as a user".to_owned(),
            (Some(ANON), _) => "this is the project's anon key, whose role may not use the store: set SUPABASE_KEY to its service_role key or a secret key (sb_secret_...), or act as a user".to_owned(),
            (Some(role), _) => format!("the {what} has the role {role}: check that it belongs to this project, was not revoked, and that bus migrate ran"),
            (None, _) => format!("the {what} names no role: check that it is one of this project"),
        }
    }

    /// `text` without the key and the token, wherever they stand in it.
    pub(crate) fn hide(&self, text: String) -> String {
        [Some(&self.key), self.access_token.as_ref()]
            .into_iter()
            .flatten()
            .fold(text, |text, key| {
                text.replace(key.secret().expose_secret(), "[secret]")
            })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("key", &self.key)
            .field("access_token", &self.access_token)
            .finish()
    }
}

fn base_of(url: &str, prefix: &str) -> Result<Url, ConfigError> {
    let refused = || ConfigError::Url { shown: shown(url) };
    let mut base = Url::parse(url.trim()).map_err(|_| refused())?;
    if !base.username().is_empty() || base.password().is_some() {
        return Err(ConfigError::UrlWithCredentials);
    }
    if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none_or(str::is_empty) {
        return Err(refused());
    }
    base.set_query(None);
    base.set_fragment(None);
    let path = base.path().trim_end_matches('/');
    let path = path.strip_suffix(prefix).unwrap_or(path);
    let path = format!("{path}{prefix}/");
    base.set_path(&path);
    Ok(base)
}

/// An address, as far as it may be shown: what has no `://` may be a key in the wrong setting, what
/// stands before an `@` a password, and what stands behind the host anything.
fn shown(url: &str) -> String {
    let scheme = |text: &str| text.len() <= 12 && text.bytes().all(|b| b.is_ascii_alphabetic());
    match url.trim().split_once("://") {
        Some((before, rest)) if scheme(before) => {
            let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host: String = host.chars().take(80).collect();
            format!("{before}://{host}")
        }
        _ => "[not shown]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SecretString {
        SecretString::from(text)
    }

    fn config(url: &str) -> Result<SupabaseConfig, ConfigError> {
        SupabaseConfig::new(url, &key("sb_secret_hush"))
    }

    #[test]
    fn the_rest_prefix_is_added_once() {
        for url in [
            "https://abc.supabase.co",
            "https://abc.supabase.co/",
            " https://abc.supabase.co/rest/v1",
            "https://abc.supabase.co/rest/v1/?x=1#y",
        ] {
            let config = config(url).expect(url);
            assert_eq!(config.rest_url(), "https://abc.supabase.co/rest/v1/");
            assert_eq!(config.project_ref(), Some("abc"));
        }
    }

    #[test]
    fn a_prefix_of_ones_own_replaces_it() {
        let at = |prefix: &str| {
            let config = config("http://127.0.0.1:3000/sub").expect("legal");
            config.with_rest_prefix(prefix).rest_url().to_owned()
        };
        assert_eq!(at(""), "http://127.0.0.1:3000/sub/");
        assert_eq!(at("/api/"), "http://127.0.0.1:3000/sub/api/");
        assert!(config("http://[::1]:3000").expect("legal").is_loopback());
        assert!(!config("http://example.test").expect("legal").is_loopback());
    }

    #[test]
    fn a_bad_address_is_told_without_secrets() {
        for url in [
            "",
            "abc.supabase.co",
            "ftp://x",
            "https://",
            "postgres://u:hush@db/x",
            "ftp://x/rest/v1?apikey=hush",
            "sb_secret_hush",
            "eyJhbGciOiJIUzI1NiJ9.e30.hush",
        ] {
            let error = config(url).expect_err(url);
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
        let error = config("https://me:hush@abc.supabase.co").expect_err("credentials");
        assert_eq!(error, ConfigError::UrlWithCredentials);
    }

    #[test]
    fn an_access_token_has_to_be_a_jwt() {
        let config = config("https://abc.supabase.co").expect("legal");
        let error = config.with_access_token(&key("sb_secret_x"));
        assert_eq!(error.map(drop), Err(ConfigError::TokenNotJwt));
    }

    #[test]
    fn the_key_is_shown_nowhere() {
        let config = config("https://abc.supabase.co").expect("legal");
        assert!(!format!("{config:?} {}", config.rest_url()).contains("hush"));
        assert_eq!(shown("ftp://u:hush@x.test/hush"), "ftp://x.test");
        let hidden = config
            .credentials
            .hide("got sb_secret_hush, twice sb_secret_hush".to_owned());
        assert_eq!(hidden, "got [secret], twice [secret]");
    }
}
