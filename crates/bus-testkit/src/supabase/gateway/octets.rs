//! Raw bytes to a function with one unnamed bytea parameter, as PostgREST documents it.

use crate::supabase::keys;
use crate::supabase::sql::connect;
use axum::Json;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio_postgres::Client;
use tokio_postgres::error::DbError;

/// More than any chunk has.
const BODY_LIMIT: usize = 64 << 20;

/// The project's database, with connections that nobody uses right now.
#[derive(Debug)]
pub(crate) struct Database {
    port: u16,
    name: String,
    idle: Mutex<Vec<Client>>,
}

/// Whether PostgREST would hand the body over as it is.
pub(super) fn meant(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    request.method() == Method::POST
        && kind.is_some_and(|kind| kind == "application/octet-stream")
        && function(request.uri().path()).is_some()
}

fn function(path: &str) -> Option<&str> {
    path.strip_prefix("/rest/v1/rpc/")
}

impl Database {
    pub(crate) fn new(port: u16, name: &str) -> Self {
        Self {
            port,
            name: name.to_owned(),
            idle: Mutex::default(),
        }
    }

    pub(super) async fn call(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let function = function(parts.uri.path()).unwrap_or_default().to_owned();
        let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
            return fault(
                StatusCode::PAYLOAD_TOO_LARGE,
                "PGRST000",
                "the body is too large or was cut",
            );
        };
        let Some(claims) = claims(&parts.headers) else {
            return fault(
                StatusCode::UNAUTHORIZED,
                "PGRST301",
                "No suitable key or wrong key type",
            );
        };
        if claims["exp"]
            .as_i64()
            .is_some_and(|at| at <= chrono::Utc::now().timestamp())
        {
            return fault(StatusCode::UNAUTHORIZED, "PGRST303", "JWT expired");
        }
        let idle = self.idle.lock().pop();
        let client = match idle.filter(|client| !client.is_closed()) {
            Some(client) => Ok(client),
            None => connect(self.port, &self.name, "authenticator").await,
        };
        let Ok(mut client) = client else {
            return fault(
                StatusCode::SERVICE_UNAVAILABLE,
                "PGRST001",
                "Database client error. Retrying the connection.",
            );
        };
        let answer = match run(&mut client, &function, &claims, &parts.headers, &body).await {
            Ok(value) => Json(value).into_response(),
            Err(error) => refusal(&error, &function, claims["role"] == "anon"),
        };
        self.idle.lock().push(client);
        answer
    }
}

async fn run(
    client: &mut Client,
    function: &str,
    claims: &Value,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Value, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let role = claims["role"].as_str().unwrap_or("anon");
    let headers = header_map(headers);
    // The role of the caller with its own time limit, as PostgREST sets both.
    let settings =
        "select set_config('role', $1, true), set_config('request.jwt.claims', $2, true),
        set_config('request.headers', $3, true), set_config('request.method', 'POST', true),
        set_config('statement_timeout', case $1 when 'anon' then '3s' else '8s' end, true)";
    let claims = claims.to_string();
    transaction
        .execute(settings, &[&role, &claims, &headers])
        .await?;
    let name = function.replace('"', "\"\"");
    let call = format!("select to_json(public.\"{name}\"($1::bytea))::text");
    let row = transaction.query_one(&call, &[&body.as_ref()]).await?;
    transaction.commit().await?;
    let answer: Option<&str> = row.get(0);
    Ok(answer
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or(Value::Null))
}

fn claims(headers: &HeaderMap) -> Option<Value> {
    let bearer = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    keys::claims(bearer.strip_prefix("Bearer ")?)
}

fn header_map(headers: &HeaderMap) -> String {
    let text = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        Some((name.to_string(), Value::from(value.to_str().ok()?)))
    };
    Value::Object(headers.iter().filter_map(text).collect::<Map<_, _>>()).to_string()
}

fn refusal(error: &tokio_postgres::Error, function: &str, anonymous: bool) -> Response {
    let Some(error) = error.as_db_error() else {
        return fault(
            StatusCode::SERVICE_UNAVAILABLE,
            "PGRST001",
            "Database client error. Retrying the connection.",
        );
    };
    let code = error.code().code();
    if code == "42883" {
        let message = format!("Could not find the function public.{function} in the schema cache");
        return fault(StatusCode::NOT_FOUND, "PGRST202", &message);
    }
    let status = match status(code) {
        StatusCode::FORBIDDEN if anonymous => StatusCode::UNAUTHORIZED,
        status => status,
    };
    (status, Json(described(error))).into_response()
}

/// PostgREST's table of statuses, as far as our functions can meet it.
fn status(code: &str) -> StatusCode {
    let number = match code {
        "42501" => 403,
        "23505" => 409,
        "25006" => 405,
        _ => match code.get(..2) {
            Some("PT") => code[2..].parse().unwrap_or(500),
            Some("08" | "53") => 503,
            Some("22" | "23" | "P0") => 400,
            _ => 500,
        },
    };
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn described(error: &DbError) -> Value {
    json!({
        "code": error.code().code(),
        "message": error.message(),
        "details": error.detail(),
        "hint": error.hint(),
    })
}

fn fault(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({ "code": code, "message": message, "details": null, "hint": null });
    (status, Json(body)).into_response()
}
