//! The one thin shell around the network: requests with their headers, answers within their bounds.
//!
//! Nothing is tried twice here: retries belong to bus-client. No error that leaves this module
//! holds an address or a key.

use std::{error::Error as _, fmt, time::Duration};

use bus_store::{StoreError, StoreErrorKind as Kind};
use bytes::{Bytes, BytesMut};
use chrono::Utc;
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    },
    redirect, retry,
};
use secrecy::ExposeSecret as _;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{
    SupabaseConfig,
    config::{Credentials, Limits},
    errors::{Call, Refusal},
    load::Load,
    store::CALLS,
};

/// Raw bytes.
pub(crate) const OCTETS: &str = "application/octet-stream";
const JSON: &str = "application/json";
const USER_AGENT: &str = concat!("bus/", env!("CARGO_PKG_VERSION"));
/// The schema of the functions; a project may expose another one before it.
const SCHEMA: &str = "public";
/// The most of an error's body that is read.
const MAX_PROBLEM: usize = 64 << 10;
/// How long an idle connection is kept.
const KEEP: Duration = Duration::from_secs(60);
/// How often a connection is asked whether it lives, and how long it may be silent then.
const PING: Duration = Duration::from_secs(10);
/// How long the body of an error may stall: its status says the most.
const PROBLEM: Duration = Duration::from_secs(1);

/// A project's REST address.
pub(crate) struct Http {
    client: Client,
    base: Url,
    headers: HeaderMap,
    credentials: Credentials,
    limits: Limits,
    permits: Semaphore,
    load: Load,
}

/// The right to make one call now, for as long as it is held.
pub(crate) type Turn<'a> = SemaphorePermit<'a>;

/// Why the body of an answer did not come whole.
enum Cut {
    Way(reqwest::Error),
    Silence,
}

/// The header in which a call with a raw body says what it asks for.
pub(crate) const REQUEST: HeaderName = HeaderName::from_static("bus-request");

/// What is asked of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expect {
    /// The most that it may hold, in bytes.
    pub(crate) limit: usize,
    /// What it holds as a rule, in bytes: it is given the time for them.
    pub(crate) bytes: usize,
    /// What it may take beside the time for its bytes; `None` for the usual.
    pub(crate) patience: Option<Duration>,
}

impl Http {
    pub(crate) fn new(config: SupabaseConfig) -> Result<Self, StoreError> {
        let loopback = config.is_loopback();
        let SupabaseConfig {
            base,
            credentials,
            limits,
        } = config;
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(limits.connect)
            .pool_idle_timeout(KEEP)
            .tcp_keepalive(PING)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING)
            // A call may be over before a connection is found dead: the next must not get it.
            .http2_keep_alive_while_idle(true)
            // Whoever redirects would get payload and key elsewhere.
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(retry::never());
        if loopback {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            StoreError::new(
                Kind::Internal,
                "the HTTP client cannot be set up: check this machine's certificates and proxy settings",
            )
            .with_source(Cause::of(&error, &credentials))
        })?;
        Ok(Self {
            headers: headers(&credentials)?,
            client,
            base,
            credentials,
            permits: Semaphore::new(limits.calls),
            load: Load::default(),
            limits,
        })
    }

    /// Where chunks begin to be sent raw, in bytes.
    pub(crate) fn raw_from_bytes(&self) -> usize {
        self.limits.raw_from_bytes
    }

    /// Waits until a call may be made. What it sends is made afterwards, so that those who wait hold
    /// no more than what they were given.
    pub(crate) async fn turn(&self) -> Result<Turn<'_>, StoreError> {
        self.permits.acquire().await.map_err(|_| {
            StoreError::new(Kind::Internal, "the store was closed; please report this")
        })
    }

    /// Calls a function with a JSON body; the JSON that it answers.
    pub(crate) async fn post(
        &self,
        _turn: Turn<'_>,
        call: Call,
        body: Bytes,
        expect: Expect,
    ) -> Result<Bytes, StoreError> {
        let request = self.request(call, JSON)?;
        let sent = body.len();
        self.run(call, request.body(body), sent, expect, JSON).await
    }

    /// Calls a function with raw bytes; the JSON that it answers.
    pub(crate) async fn post_raw(
        &self,
        call: Call,
        asked: Option<&str>,
        body: Bytes,
        expect: Expect,
    ) -> Result<Bytes, StoreError> {
        let _turn = self.turn().await?;
        let mut request = self.request(call, OCTETS)?;
        if let Some(asked) = asked {
            request = request.header(REQUEST, secret_value(asked)?);
        }
        let sent = body.len();
        self.run(call, request.body(body), sent, expect, JSON).await
    }

    /// Calls a function that changes nothing; the raw bytes that it answers.
    pub(crate) async fn get(
        &self,
        call: Call,
        query: &[(&str, &str)],
        expect: Expect,
    ) -> Result<Bytes, StoreError> {
        let _turn = self.turn().await?;
        let mut url = self.url(call)?;
        url.query_pairs_mut().extend_pairs(query);
        let request = self
            .client
            .get(url)
            .headers(self.headers.clone())
            .header(ACCEPT, OCTETS)
            .header("accept-profile", SCHEMA);
        self.run(call, request, 0, expect, OCTETS).await
    }

    fn request(
        &self,
        call: Call,
        content_type: &'static str,
    ) -> Result<RequestBuilder, StoreError> {
        Ok(self
            .client
            .post(self.url(call)?)
            .headers(self.headers.clone())
            .header(ACCEPT, JSON)
            .header(CONTENT_TYPE, content_type)
            .header("content-profile", SCHEMA))
    }

    fn url(&self, call: Call) -> Result<Url, StoreError> {
        self.base
            .join(&format!("rpc/{}", call.function))
            .map_err(|_| StoreError::new(Kind::InvalidInput, "the project's address takes no path"))
    }

    async fn run(
        &self,
        call: Call,
        request: RequestBuilder,
        sent: usize,
        expect: Expect,
        wanted: &str,
    ) -> Result<Bytes, StoreError> {
        let share = self.load.enter((sent + expect.bytes) as u64);
        let time = |bytes| self.time_for(bytes, expect);
        let exchange = self.exchange(call, request, expect, wanted);
        match share.wait(CALLS as u64, time, exchange).await {
            Ok(done) => done,
            Err(time) => Err(self.late(call, time)),
        }
    }

    async fn exchange(
        &self,
        call: Call,
        request: RequestBuilder,
        expect: Expect,
        wanted: &str,
    ) -> Result<Bytes, StoreError> {
        let failed = |error| self.failed(call, error);
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(call, response).await);
        }
        check_type(call, &response, wanted)?;
        let (body, whole) = match read(response, expect.limit, self.limits.idle).await {
            Ok(read) => read,
            Err(Cut::Way(error)) => return Err(failed(error)),
            Err(Cut::Silence) => return Err(self.late(call, self.limits.idle)),
        };
        if !whole {
            return Err(StoreError::new(
                Kind::Damaged,
                format!("{call} was answered with more than {} bytes", expect.limit),
            ));
        }
        if status == StatusCode::NO_CONTENT && wanted == JSON {
            return Err(strange(call, "without a body"));
        }
        Ok(body)
    }

    /// How long a call may take: what a call takes, and the time for `bytes`.
    fn time_for(&self, bytes: u64, expect: Expect) -> Duration {
        let slow = bytes.saturating_mul(1000) / self.limits.bytes_per_second;
        let base = expect.patience.unwrap_or(self.limits.call);
        base.saturating_add(Duration::from_millis(slow))
    }

    async fn refused(&self, call: Call, response: Response) -> StoreError {
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).cloned();
        // A body that breaks off tells less, but the status is there.
        let body = read(response, MAX_PROBLEM, PROBLEM).await;
        let body = body.map(|(body, _)| body).unwrap_or_default();
        let refusal = Refusal {
            call,
            status,
            retry_after: retry_after.as_ref().and_then(|value| value.to_str().ok()),
            body: &body,
        };
        refusal.into_error(&self.credentials, Utc::now())
    }

    /// The error for a call that was waited for in vain.
    fn late(&self, call: Call, time: Duration) -> StoreError {
        let host = self.base.host_str().unwrap_or_default();
        let text = format!(
            "{call} got no whole answer from {host} within {} ms",
            time.as_millis()
        );
        StoreError::new(Kind::Timeout, self.credentials.hide(text))
    }

    /// The error for a call that got no answer.
    fn failed(&self, call: Call, error: reqwest::Error) -> StoreError {
        let host = self.base.host_str().unwrap_or_default();
        let (kind, text) = if error.is_connect() {
            (
                Kind::Unavailable,
                format!(
                    "{call} did not reach {host}: check SUPABASE_URL, the network and the proxy"
                ),
            )
        } else if error.is_timeout() {
            // Of the connection itself, which was used before.
            (
                Kind::Timeout,
                format!("{call} got no answer from {host} in time"),
            )
        } else if error.is_builder() {
            (
                Kind::Internal,
                format!("{call} could not be asked; please report this"),
            )
        } else {
            (Kind::Unavailable, format!("{call} was cut off by {host}"))
        };
        StoreError::new(kind, self.credentials.hide(text))
            .with_source(Cause::of(&error.without_url(), &self.credentials))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("base", &self.base.as_str())
            .field("credentials", &self.credentials)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// An error of the network as a text, so that neither an address nor a key is in what is kept.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

impl Cause {
    fn of(error: &reqwest::Error, credentials: &Credentials) -> Self {
        // The outermost says no more than "error sending request".
        let mut parts: Vec<String> = Vec::new();
        let mut source = error.source();
        while let Some(error) = source {
            let text = match error.downcast_ref::<reqwest::Error>() {
                // Its own text may name the address; what it stems from follows.
                Some(_) => String::new(),
                None => error.to_string(),
            };
            if !text.is_empty() && !parts.contains(&text) {
                parts.push(text);
            }
            source = error.source();
        }
        if parts.is_empty() {
            parts.push("the request failed".to_owned());
        }
        Self(credentials.hide(parts.join(": ")))
    }
}

fn headers(credentials: &Credentials) -> Result<HeaderMap, StoreError> {
    let mut headers = HeaderMap::new();
    let key = credentials.key.secret().expose_secret();
    headers.insert("apikey", secret_value(key)?);
    if let Some(token) = credentials.bearer() {
        let value = format!("Bearer {}", token.secret().expose_secret());
        headers.insert(AUTHORIZATION, secret_value(&value)?);
    }
    Ok(headers)
}

/// A header that `Debug` and logs do not show.
fn secret_value(text: &str) -> Result<HeaderValue, StoreError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        StoreError::new(
            Kind::InvalidInput,
            "a key or a request cannot travel in a header",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn check_type(call: Call, response: &Response, wanted: &str) -> Result<(), StoreError> {
    let found = response.headers().get(CONTENT_TYPE);
    let found = found.and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = found.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    let shown: String = found.chars().take(80).collect();
    Err(strange(
        call,
        &format!("with {shown:?}, where {wanted} was expected"),
    ))
}

fn strange(call: Call, how: &str) -> StoreError {
    StoreError::new(
        Kind::Internal,
        format!(
            "{call} was answered {how}: check that SUPABASE_URL is the address of a Supabase project"
        ),
    )
}

/// The body, up to `limit` bytes, and whether that was all of it; it may stall for `idle`.
async fn read(mut response: Response, limit: usize, idle: Duration) -> Result<(Bytes, bool), Cut> {
    let declared = response.content_length().unwrap_or(0);
    let mut body = BytesMut::new();
    body.reserve(usize::try_from(declared).unwrap_or(limit).min(limit));
    loop {
        let part = timeout(idle, response.chunk()).await;
        let part = part.map_err(|_| Cut::Silence)?.map_err(Cut::Way)?;
        let Some(part) = part else {
            return Ok((body.freeze(), true));
        };
        let room = limit - body.len();
        body.extend_from_slice(&part[..part.len().min(room)]);
        if part.len() > room {
            return Ok((body.freeze(), false));
        }
    }
}
