//! Publishing, listing, looking at, acknowledging and deleting messages.

use std::{str::FromStr, sync::Arc};

use axum::{
    Json,
    extract::{FromRequestParts, Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bus_client::{ClientError, ClientErrorKind, Published, Source};
use bus_model::{MessageBusRecord, MessageStatus, TransactionId};
use bus_store::{Cursor, ListQuery};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio_util::io::StreamReader;

use super::{condition, headers, problem::Problem, upload::UploadBody};
use crate::state::AppState;

/// The most records that one page of a listing may ask for.
const MAX_PAGE: u32 = 1000;

/// The transaction id in a path.
pub(super) struct Txn(pub(super) TransactionId);

impl<S: Send + Sync> FromRequestParts<S> for Txn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::bad_request("BAD_TRANSACTION_ID", error.body_text()))?;
        text.parse().map(Self).map_err(|error: bus_model::IdError| {
            Problem::bad_request("BAD_TRANSACTION_ID", error.to_string())
        })
    }
}

/// `POST /v1/messages`: publish under an id that we mint.
pub(super) async fn create(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, Problem> {
    publish(&state, TransactionId::mint(), request).await
}

/// `PUT /v1/messages/{txn}`: publish under the caller's id; a repetition succeeds.
pub(super) async fn put(
    State(state): State<Arc<AppState>>,
    Txn(txn): Txn,
    request: Request,
) -> Result<Response, Problem> {
    condition::may_change(request.headers())?;
    publish(&state, txn, request).await
}

async fn publish(
    state: &AppState,
    txn: TransactionId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = UploadBody::new(body, state.config.limits.body_idle);
    let mut message = headers::message(&parts.headers)?;
    message.transaction_id = Some(txn);
    refuse_too_large(state, body.declared())?;
    let _place = state
        .start_transfer()
        .await
        .ok_or_else(|| Problem::over_capacity("too many payloads are on their way over HTTP"))?;
    let declared = body.declared();
    let source = Source::reader(StreamReader::new(body), declared);
    let published = state
        .metrics
        .timed("publish", state.client.publish(message, source))
        .await?;
    let Published { record, created } = published;
    state.metrics.http_payload("in", record.payload_size_bytes);
    tracing::info!(
        transaction_id = %record.transaction_id,
        payload_bytes = record.payload_size_bytes,
        created,
        "stored a payload that came over HTTP"
    );
    condition::is_first_as_asked(&parts.headers, created)?;
    Ok(stored(&record, created))
}

/// Before the first byte is read, so that a client waiting for `100 Continue` never sends one.
fn refuse_too_large(state: &AppState, declared: Option<u64>) -> Result<(), Problem> {
    let limit = state.client.settings()?.max_payload.get();
    match declared {
        Some(size) if size > limit => Err(ClientError::new(
            ClientErrorKind::TooLarge,
            format!("the body has {size} bytes, beyond the maximum of {limit}"),
        )
        .into()),
        _ => Ok(()),
    }
}

/// 201 with the place of a new message, 200 for one that was there already.
fn stored(record: &MessageBusRecord, created: bool) -> Response {
    if !created {
        return Json(record).into_response();
    }
    let mut response = (StatusCode::CREATED, Json(record)).into_response();
    let place = format!("/v1/messages/{}", record.transaction_id);
    if let Ok(place) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// `GET /v1/messages/{txn}`: the record, whatever its status.
pub(super) async fn record(
    State(state): State<Arc<AppState>>,
    Txn(txn): Txn,
) -> Result<Json<MessageBusRecord>, Problem> {
    let record = state
        .metrics
        .timed("record", state.client.record(&txn))
        .await?;
    Ok(Json(record))
}

/// `DELETE /v1/messages/{txn}`.
pub(super) async fn delete(
    State(state): State<Arc<AppState>>,
    Txn(txn): Txn,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    condition::may_change(&headers)?;
    state
        .metrics
        .timed("delete", state.client.delete(&txn))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The answer to an acknowledgement.
#[derive(Serialize)]
pub(super) struct Acknowledged {
    transaction_id: TransactionId,
    acknowledged_at: DateTime<Utc>,
}

/// `POST /v1/messages/{txn}/ack`.
pub(super) async fn acknowledge(
    State(state): State<Arc<AppState>>,
    Txn(txn): Txn,
    headers: HeaderMap,
) -> Result<Json<Acknowledged>, Problem> {
    condition::may_change(&headers)?;
    let acknowledged_at = state
        .metrics
        .timed("acknowledge", state.client.acknowledge(&txn))
        .await?;
    Ok(Json(Acknowledged {
        transaction_id: txn,
        acknowledged_at,
    }))
}

/// What a listing is asked for. An unknown name is refused, so that a filter with a slip of the
/// pen does not list everything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListParams {
    session: Option<String>,
    tool: Option<String>,
    provider: Option<String>,
    status: Option<String>,
    from: Option<String>,
    before: Option<String>,
    limit: Option<String>,
    after: Option<String>,
}

/// A page of records.
#[derive(Serialize)]
pub(super) struct Listing {
    records: Vec<MessageBusRecord>,
    next: Option<Cursor>,
}

/// `GET /v1/messages`: a page of records, newest first.
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    params: Result<Query<ListParams>, QueryRejection>,
) -> Result<Json<Listing>, Problem> {
    let Query(params) = params.map_err(|error| bad_query(error.body_text()))?;
    let query = query(&state, &params)?;
    let page = state
        .metrics
        .timed("list", state.client.list(&query))
        .await?;
    Ok(Json(Listing {
        records: page.records,
        next: page.next,
    }))
}

fn query(state: &AppState, params: &ListParams) -> Result<ListQuery, Problem> {
    let mut query = ListQuery::new(state.client.principal().clone());
    query.session_id = field("session", params.session.as_deref())?;
    query.tool_name = field("tool", params.tool.as_deref())?;
    query.provider_name = field("provider", params.provider.as_deref())?;
    query.created_from = field("from", params.from.as_deref())?;
    query.created_before = field("before", params.before.as_deref())?;
    query.after = field("after", params.after.as_deref())?;
    match params.status.as_deref() {
        Some("all") => query.status = None,
        Some(text) => query.status = field::<MessageStatus>("status", Some(text))?,
        None => {}
    }
    if let Some(limit) = field::<u32>("limit", params.limit.as_deref())? {
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(bad_query(format!(
                "limit {limit} is not from 1 to {MAX_PAGE}"
            )));
        }
        query.limit = limit;
    }
    Ok(query)
}

fn field<T: FromStr<Err: std::fmt::Display>>(
    name: &str,
    text: Option<&str>,
) -> Result<Option<T>, Problem> {
    text.map(|text| {
        text.parse()
            .map_err(|error| bad_query(format!("{name}: {error}")))
    })
    .transpose()
}

fn bad_query(detail: impl Into<String>) -> Problem {
    Problem::bad_request("BAD_QUERY", detail)
}
