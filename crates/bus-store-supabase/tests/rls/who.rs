//! Who asks, by which door, and what comes back.

use std::fmt::Write as _;

use bus_testkit::Project;
use serde_json::{Value, json};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::calls::{Args, Call};

/// A caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Nobody: the publishable key.
    Anon,
    /// A signed-in user, by its `sub`.
    User(&'static str),
    /// A token of the role `authenticated` that names no user.
    NoSub,
    /// The service role.
    Service,
}

/// Everybody that the matrix asks, two users among them.
pub(crate) const EVERYBODY: [Who; 5] = [
    Who::Anon,
    Who::User("alice"),
    Who::User("bob"),
    Who::NoSub,
    Who::Service,
];

impl Who {
    pub(crate) fn role(self) -> &'static str {
        match self {
            Self::Anon => "anon",
            Self::User(_) | Self::NoSub => "authenticated",
            Self::Service => "service_role",
        }
    }

    pub(crate) fn claims(self) -> Value {
        match self {
            Self::User(sub) => json!({ "role": self.role(), "sub": sub }),
            _ => json!({ "role": self.role() }),
        }
    }

    /// The JWT that hosted Supabase would send it with.
    fn jwt(self, project: &Project) -> String {
        match self {
            Self::Anon => project.anon_jwt(),
            Self::User(sub) => project.user_jwt(sub),
            Self::NoSub => project.jwt("authenticated", None, chrono::TimeDelta::hours(1)),
            Self::Service => project.service_jwt(),
        }
    }
}

/// What a caller is told, all of it: the status, and the text of the answer or of the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: String,
    pub(crate) body: String,
}

impl Answer {
    /// In one word: the outcome, the code of the error, or what kind of value came.
    pub(crate) fn word(&self) -> String {
        let json: Value = serde_json::from_str(&self.body).unwrap_or_default();
        // A text comes as a JSON string over HTTP.
        let inner = json
            .as_str()
            .and_then(|text| serde_json::from_str(text).ok());
        let of = |name: &str| {
            [inner.as_ref().unwrap_or(&json), &json]
                .iter()
                .find_map(|value| value[name].as_str().map(str::to_owned))
        };
        of("outcome").or_else(|| of("code")).unwrap_or_else(|| {
            if self.status.starts_with('2') {
                "value"
            } else {
                &self.status
            }
            .to_owned()
        })
    }

    /// The same with what differs from call to call taken out: ids that were made, and times.
    pub(crate) fn masked(&self) -> Self {
        let uuid = |run: &str| run.len() == 36 && run.matches('-').count() == 4;
        let time = |run: &str| run.len() >= 13 && run.bytes().all(|b| b.is_ascii_digit());
        let mut body = String::new();
        for run in runs(&self.body) {
            body.push_str(if uuid(run) {
                "<id>"
            } else if time(run) {
                "<ms>"
            } else {
                run
            });
        }
        Self {
            status: self.status.clone(),
            body,
        }
    }
}

/// Cut where hexadecimal digits and dashes begin and end.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let part = |c: char| c.is_ascii_hexdigit() || c == '-';
    let mut rest = text;
    std::iter::from_fn(move || {
        let inside = part(rest.chars().next()?);
        let end = rest.find(|c| part(c) != inside).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some(run)
    })
}

pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What makes a direct connection act for `who` until the transaction ends.
pub(crate) fn become_sql(who: Who) -> String {
    become_with(who.role(), &who.claims().to_string())
}

/// The same with claims of any kind.
pub(crate) fn become_with(role: &str, claims: &str) -> String {
    let claims = quote(claims);
    format!("set local role {role}; select set_config('request.jwt.claims', {claims}, true);")
}

/// Statements in a transaction of their own: the last value of the last row, or the error. `keep` commits.
pub(crate) async fn direct_sql(client: &Client, setup: &str, sql: &str, keep: bool) -> Answer {
    client.batch_execute("begin").await.unwrap();
    client.batch_execute(setup).await.unwrap();
    let answer = plain_sql(client, sql).await;
    let end = if keep { "commit" } else { "rollback" };
    client.batch_execute(end).await.unwrap();
    answer
}

/// The same within whatever transaction there is.
pub(crate) async fn plain_sql(client: &Client, sql: &str) -> Answer {
    match client.simple_query(sql).await {
        Ok(messages) => {
            let rows = messages.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("null").to_owned()),
                SimpleQueryMessage::CommandComplete(count) => Some(count.to_string()),
                _ => None,
            });
            // The count of rows follows the rows.
            let all: Vec<String> = rows.collect();
            let body = all
                .iter()
                .rev()
                .nth(1)
                .or(all.last())
                .cloned()
                .unwrap_or_default();
            Answer {
                status: "200".to_owned(),
                body,
            }
        }
        Err(error) => {
            let db = error
                .as_db_error()
                .unwrap_or_else(|| panic!("{sql}: {error}"));
            let body = json!({
                "code": db.code().code(), "message": db.message(), "details": db.detail(), "hint": db.hint(),
            });
            Answer {
                status: "error".to_owned(),
                body: body.to_string(),
            }
        }
    }
}

/// One call of a function by `who`, straight at the database; nothing of it stays.
pub(crate) async fn direct(client: &Client, who: Who, call: &Call) -> Answer {
    let setup = format!("{}{}", call_setup(call), become_sql(who));
    direct_sql(client, &setup, &call_sql(call), false).await
}

/// What a call needs before it: the header that raw bytes come with.
pub(crate) fn call_setup(call: &Call) -> String {
    match &call.args {
        Args::Raw(request, _) => {
            let headers = json!({ "bus-request": request.to_string() }).to_string();
            format!(
                "select set_config('request.headers', {}, true);",
                quote(&headers)
            )
        }
        _ => String::new(),
    }
}

/// The call as a statement.
pub(crate) fn call_sql(call: &Call) -> String {
    let name = call.function;
    match &call.args {
        Args::Request(request) => format!("select public.{name}({})", quote(&request.to_string())),
        Args::Body(request, bytes) => {
            let body = crate::world::base64(bytes);
            format!(
                "select public.{name}({}, {})",
                quote(&request.to_string()),
                quote(&body)
            )
        }
        Args::Raw(_, bytes) | Args::Bytes(bytes) => {
            format!("select public.{name}('\\x{}')", hex(bytes))
        }
        Args::Chunk {
            principal,
            id,
            seq,
            until,
        } => {
            format!(
                "select public.{name}({}, '{id}', {seq}, {until})::pg_catalog.bytea",
                quote(principal)
            )
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// One request by `who` through the REST server, with the keys of a hosted project.
pub(crate) async fn send(
    http: &reqwest::Client,
    project: &Project,
    who: Who,
    build: impl FnOnce(&reqwest::Client, String) -> reqwest::RequestBuilder,
) -> Answer {
    let request = build(http, format!("{}/rest/v1", project.url()));
    let request = match who {
        Who::Anon => request.header("apikey", project.publishable_key()),
        Who::Service => request.header("apikey", project.secret_key()),
        _ => {
            let request = request.header("apikey", project.publishable_key());
            request.bearer_auth(who.jwt(project))
        }
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16().to_string();
    let body = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
    Answer { status, body }
}

/// One call of a function through the REST server.
pub(crate) async fn rest(
    http: &reqwest::Client,
    project: &Project,
    who: Who,
    call: &Call,
) -> Answer {
    send(http, project, who, |http, base| {
        let url = format!("{base}/rpc/{}", call.function);
        match &call.args {
            Args::Request(request) => http
                .post(url)
                .json(&json!({ "request": request.to_string() })),
            Args::Body(request, bytes) => {
                let body = crate::world::base64(bytes);
                http.post(url)
                    .json(&json!({ "request": request.to_string(), "body": body }))
            }
            Args::Raw(request, bytes) => {
                octets(http.post(url), bytes).header("bus-request", request.to_string())
            }
            Args::Bytes(bytes) => octets(http.post(url), bytes),
            Args::Chunk {
                principal,
                id,
                seq,
                until,
            } => http
                .get(url)
                .query(&[("principal", principal.as_str()), ("id", &id.to_string())])
                .query(&[("seq", seq), ("until", until)])
                .header("accept", "application/octet-stream"),
        }
    })
    .await
}

fn octets(request: reqwest::RequestBuilder, bytes: &[u8]) -> reqwest::RequestBuilder {
    request
        .header("content-type", "application/octet-stream")
        .body(bytes.to_vec())
}
