//! A daemon over HTTP: store, read, list and remove messages.

mod problem;
mod upload;

use std::{sync::Arc, time::Duration};

use bus_model::{
    Claim, Digest, MessageBusRecord, MessageStatus, ProviderName, Retrieval, SessionId, ToolName,
    TransactionId,
};
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, header, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};

pub use self::upload::{Body, PutOptions, Stored};
use crate::{DaemonUrl, Payload, RemoteConfig, RemoteError, RemoteErrorKind, payload::Expected};

/// The most of an answer that is not a payload, in bytes.
const MAX_DOCUMENT: usize = 64 << 20;

/// A daemon over HTTP. Cheap to clone; clones share connections.
///
/// # Cancellation
/// Every future may be dropped. A message whose upload is dropped never becomes visible.
#[derive(Clone, Debug)]
pub struct HttpApi {
    http: Client,
    url: DaemonUrl,
    token: Option<Arc<SecretString>>,
    idle: Duration,
}

/// Which bytes of a payload; both ends are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeRequest {
    /// From the first to the last byte.
    FromTo(u64, u64),
    /// From this byte on.
    From(u64),
    /// So many bytes at the end.
    Last(u64),
}

/// Which messages to list. Newest first; the default is 100 complete ones.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Only of this session.
    pub session_id: Option<SessionId>,
    /// Only of this tool.
    pub tool_name: Option<ToolName>,
    /// Only of this provider.
    pub provider_name: Option<ProviderName>,
    /// Only with this status.
    pub status: StatusQuery,
    /// Only created at or after.
    pub created_from: Option<DateTime<Utc>>,
    /// Only created before.
    pub created_before: Option<DateTime<Utc>>,
    /// At most this many a page.
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub after: Option<String>,
}

/// Which statuses to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusQuery {
    /// Complete messages only.
    #[default]
    Complete,
    /// Only this status.
    Only(MessageStatus),
    /// Every status.
    All,
}

/// A page of records, newest first.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Page {
    /// The records, without payloads.
    pub records: Vec<MessageBusRecord>,
    /// What to pass as [`Listing::after`] to go on; `None` where there is no more.
    pub next: Option<String>,
}

impl HttpApi {
    /// A client of the daemon that `config` names. Nothing is sent yet.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Io`] where the machine's TLS set-up cannot be used.
    pub fn new(config: RemoteConfig) -> Result<Self, RemoteError> {
        let mut builder = Client::builder()
            .connect_timeout(config.connect_timeout)
            // A daemon never redirects; whoever does would send payload and token elsewhere.
            .redirect(redirect::Policy::none());
        if config.url.is_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| {
            RemoteError::new(RemoteErrorKind::Io, "the HTTP client cannot be set up")
                .with_source(error)
        })?;
        Ok(Self {
            http,
            url: config.url,
            token: config.token.map(Arc::new),
            idle: config.idle_timeout,
        })
    }

    /// Which daemon.
    #[must_use]
    pub fn url(&self) -> &DaemonUrl {
        &self.url
    }

    /// Stores a payload; when this returns, it is whole and visible at the daemon. With a
    /// transaction id, storing the same bytes again succeeds.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Conflict`], [`RemoteErrorKind::TooLarge`],
    /// [`RemoteErrorKind::Mismatch`] where the payload is not what its digest says,
    /// [`RemoteErrorKind::Full`], [`RemoteErrorKind::Io`] where the body's own reader fails, or
    /// those of reaching the daemon. Nothing is visible after an error.
    pub async fn put(&self, options: PutOptions, body: Body) -> Result<Stored, RemoteError> {
        let (method, url) = match &options.transaction_id {
            Some(id) => (Method::PUT, self.message_url(id, "")?),
            None => (Method::POST, self.at("/v1/messages")?),
        };
        let request = self.request(method, url).headers(options.headers()?);
        let answer = upload::send(request, body, self.idle, &self.url).await?;
        let created = answer.status() == StatusCode::CREATED;
        Ok(Stored {
            record: self.document(answer).await?,
            created,
        })
    }

    /// Opens a payload, or a part of it, for reading.
    ///
    /// The whole is checked against the daemon's `Repr-Digest`. A part cannot be checked here: the
    /// daemon checks the chunks that it is cut from, and its length is checked.
    ///
    /// # Errors
    /// [`RemoteErrorKind::NotFound`], [`RemoteErrorKind::Expired`],
    /// [`RemoteErrorKind::InvalidInput`] for a range beyond the payload's end, or those of
    /// reaching the daemon.
    pub async fn get(
        &self,
        id: &TransactionId,
        range: Option<RangeRequest>,
    ) -> Result<Payload, RemoteError> {
        let mut request = self.request(Method::GET, self.message_url(id, "/payload")?);
        if let Some(range) = range {
            request = request.header(header::RANGE, range.header());
        }
        let answer = self.payload_answer(request).await?;
        let partial = answer.status() == StatusCode::PARTIAL_CONTENT;
        match range {
            Some(_) if !partial => Err(strange("it sent the whole payload instead of a range")),
            None if partial => Err(strange(
                "it sent a part of the payload instead of the whole",
            )),
            Some(_) => Ok(Payload::new(answer, Expected::default(), self.idle)),
            None => {
                let expected = Expected {
                    digest: repr_digest(&answer)?,
                    length: None,
                };
                if expected.digest.is_none() {
                    return Err(strange("it names no SHA-256 of the payload (Repr-Digest)"));
                }
                Ok(Payload::new(answer, expected, self.idle))
            }
        }
    }

    /// Redeems a claim: opens its payload, to be checked against what the frame said.
    ///
    /// # Errors
    /// As [`Remote::redeem`](crate::Remote::redeem).
    pub async fn redeem(
        &self,
        claim: &Claim,
        retrieval: &Retrieval,
    ) -> Result<Payload, RemoteError> {
        let url = self.url.join(&retrieval.path).ok_or_else(|| {
            let shown: String = retrieval.path.chars().take(80).collect();
            let message =
                format!("the claim names {shown:?}, which is no path at the daemon: not redeemed");
            RemoteError::new(RemoteErrorKind::Protocol, message)
        })?;
        let request = match &retrieval.token {
            Some(token) => self.http.request(Method::GET, url).bearer_auth(token),
            None => self.request(Method::GET, url),
        };
        let answer = self.payload_answer(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(strange("it did not send the whole payload"));
        }
        let expected = Expected {
            digest: Some(retrieval.sha256),
            length: Some(claim.payload_size_bytes),
        };
        Ok(Payload::new(answer, expected, self.idle))
    }

    /// The record of a message, whatever its status, without its payload.
    ///
    /// # Errors
    /// [`RemoteErrorKind::NotFound`], or those of reaching the daemon.
    pub async fn record(&self, id: &TransactionId) -> Result<MessageBusRecord, RemoteError> {
        let request = self.request(Method::GET, self.message_url(id, "")?);
        self.document(self.answer(request).await?).await
    }

    /// A page of records, newest first.
    ///
    /// # Errors
    /// [`RemoteErrorKind::InvalidInput`], or those of reaching the daemon.
    pub async fn list(&self, listing: &Listing) -> Result<Page, RemoteError> {
        let request = self
            .request(Method::GET, self.at("/v1/messages")?)
            .query(&listing.pairs());
        self.document(self.answer(request).await?).await
    }

    /// Removes a message of any status and frees its space.
    ///
    /// # Errors
    /// [`RemoteErrorKind::NotFound`], or those of reaching the daemon.
    pub async fn delete(&self, id: &TransactionId) -> Result<(), RemoteError> {
        let request = self.request(Method::DELETE, self.message_url(id, "")?);
        self.answer(request).await.map(drop)
    }

    /// Notes that the payload was received; a second call keeps the first time.
    ///
    /// # Errors
    /// [`RemoteErrorKind::NotFound`], [`RemoteErrorKind::Expired`], or those of reaching the
    /// daemon.
    pub async fn acknowledge(&self, id: &TransactionId) -> Result<DateTime<Utc>, RemoteError> {
        #[derive(Deserialize)]
        struct Acknowledged {
            acknowledged_at: DateTime<Utc>,
        }
        let request = self.request(Method::POST, self.message_url(id, "/ack")?);
        let done: Acknowledged = self.document(self.answer(request).await?).await?;
        Ok(done.acknowledged_at)
    }

    fn at(&self, path: &str) -> Result<Url, RemoteError> {
        self.url
            .join(path)
            .ok_or_else(|| strange("its address takes no path"))
    }

    /// A transaction id has only characters that stand for themselves in a path, and is never `.` or
    /// `..`, which would be read as folders.
    fn message_url(&self, id: &TransactionId, rest: &str) -> Result<Url, RemoteError> {
        self.at(&format!("/v1/messages/{id}{rest}"))
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    /// Asks for plain bytes, which are hashed as they come.
    async fn payload_answer(&self, request: RequestBuilder) -> Result<Response, RemoteError> {
        self.answer(request.header(header::ACCEPT_ENCODING, "identity"))
            .await
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, RemoteError> {
        match tokio::time::timeout(self.idle, request.send()).await {
            Ok(Ok(answer)) => problem::check(answer, &self.url).await,
            Ok(Err(error)) => Err(problem::unreachable(error, &self.url)),
            Err(_) => Err(problem::silent(&self.url, self.idle)),
        }
    }

    async fn document<T: DeserializeOwned>(&self, answer: Response) -> Result<T, RemoteError> {
        let bytes = problem::read_bounded(answer, MAX_DOCUMENT, self.idle, &self.url).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| strange("its answer cannot be read").with_source(error))
    }
}

impl RangeRequest {
    fn header(self) -> String {
        match self {
            Self::FromTo(first, last) => format!("bytes={first}-{last}"),
            Self::From(first) => format!("bytes={first}-"),
            Self::Last(count) => format!("bytes=-{count}"),
        }
    }
}

impl Listing {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
        let status = match self.status {
            StatusQuery::Complete => None,
            StatusQuery::Only(status) => Some(status.to_string()),
            StatusQuery::All => Some("all".to_owned()),
        };
        let pairs = [
            ("session", self.session_id.as_ref().map(ToString::to_string)),
            ("tool", self.tool_name.as_ref().map(ToString::to_string)),
            (
                "provider",
                self.provider_name.as_ref().map(ToString::to_string),
            ),
            ("status", status),
            ("from", self.created_from.map(time)),
            ("before", self.created_before.map(time)),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("after", self.after.clone()),
        ];
        pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

fn repr_digest(answer: &Response) -> Result<Option<Digest>, RemoteError> {
    let Some(field) = answer.headers().get("repr-digest") else {
        return Ok(None);
    };
    let field = field.to_str().unwrap_or_default();
    Digest::from_repr_digest(field)
        .map_err(|error| strange("its Repr-Digest cannot be read").with_source(error))
}

fn strange(what: &str) -> RemoteError {
    let message = format!("the daemon's answer makes no sense: {what}");
    RemoteError::new(RemoteErrorKind::Protocol, message)
}
