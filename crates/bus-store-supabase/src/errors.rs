//! From an answer that is not a success to a [`StoreError`]: pure, by the answer's `code` first
//! and its status only where there is none that is known.

use std::{fmt, time::Duration};

use bus_model::MessageId;
use bus_store::{StoreError, StoreErrorKind as Kind};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::config::Credentials;

/// How long a project that is paused, or a database that may only be read, is left alone.
const LONG: Duration = Duration::from_secs(300);
/// The longest wait that is believed when a server asks for it.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);
/// How much of what a server says is shown, in characters.
const SHOWN: usize = 200;

const MIGRATE: &str = "run `bus migrate` on this project's database, and once it is done its API has to reload the schema (it does by itself; `notify pgrst, 'reload schema'` hastens it); where all steps are there already, `bus doctor` says what is missing";
const RELOAD: &str = "if this stays so, look at the project's status and logs";

/// What was called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// The function.
    pub(crate) function: &'static str,
    /// The chunk that was asked for.
    pub(crate) chunk: Option<(MessageId, u32)>,
}

impl Call {
    pub(crate) fn of(function: &'static str) -> Self {
        Self {
            function,
            chunk: None,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chunk {
            Some((id, seq)) => write!(f, "chunk {seq} of message {id}"),
            None => f.write_str(self.function),
        }
    }
}

/// An answer with a status that is no success.
#[derive(Debug)]
pub(crate) struct Refusal<'a> {
    pub(crate) call: Call,
    pub(crate) status: u16,
    /// The header `Retry-After`.
    pub(crate) retry_after: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

impl Refusal<'_> {
    /// The error that this answer is.
    pub(crate) fn into_error(self, credentials: &Credentials, now: DateTime<Utc>) -> StoreError {
        // Before anything is cut: a part of a key is no longer found.
        let problem = Problem::read(self.body).map(|text| credentials.hide(text));
        let verdict = self.verdict(&problem);
        let mut text = match verdict.told {
            Told::Detail => format!("{}: {}", self.call, problem.sentence()),
            Told::All => format!("{} was refused ({})", self.call, problem.cause(self.status)),
        };
        if verdict.kind == Kind::Denied && verdict.advice.is_empty() {
            text = format!("{text}: {}", credentials.advice(now));
        } else if !verdict.advice.is_empty() {
            text = format!("{text}: {}", verdict.advice);
        }
        let mut error = StoreError::new(verdict.kind, credentials.hide(text));
        if verdict.hopeless {
            error = error.without_retry();
        }
        match self
            .retry_after
            .and_then(|value| wait(value, now))
            .or(verdict.retry_after)
        {
            Some(delay) => error.with_retry_after(delay),
            None => error,
        }
    }

    fn verdict(&self, problem: &Problem) -> Verdict {
        let code = problem.code();
        if let Some(number) = code.strip_prefix("PT") {
            return of_ours(problem)
                .unwrap_or_else(|| of_status(number.parse().unwrap_or(self.status)));
        }
        if let Some(number) = code.strip_prefix("PGRST") {
            return of_postgrest(number, self.status, &problem.message);
        }
        if code.len() == 5 {
            return of_postgres(code).unwrap_or_else(|| of_status(self.status));
        }
        of_status(self.status)
    }
}

/// What to make of an answer.
struct Verdict {
    kind: Kind,
    hopeless: bool,
    retry_after: Option<Duration>,
    advice: &'static str,
    told: Told,
}

enum Told {
    /// Our own functions say it in a sentence.
    Detail,
    /// Everybody else is quoted.
    All,
}

impl Verdict {
    fn new(kind: Kind, advice: &'static str) -> Self {
        Self {
            kind,
            hopeless: false,
            retry_after: None,
            advice,
            told: Told::All,
        }
    }

    /// Another try would end the same way.
    fn hopeless(mut self) -> Self {
        self.hopeless = true;
        self
    }

    /// The store is better left alone for long.
    fn long(mut self) -> Self {
        self.retry_after = Some(LONG);
        self.hopeless()
    }

    fn ours(mut self) -> Self {
        self.told = Told::Detail;
        self
    }
}

/// What our functions raise: `PTnnn` with a word.
fn of_ours(problem: &Problem) -> Option<Verdict> {
    let (kind, advice) = match problem.message.as_str() {
        "denied" => (Kind::Denied, ""),
        "lease_lost" | "committed" => (Kind::LeaseLost, "begin again"),
        "not_found" => (Kind::NotFound, ""),
        "expired" => (Kind::Expired, "publish it again"),
        "not_complete" => (Kind::NotComplete, ""),
        "conflict" => (Kind::Conflict, "use a new id for other bytes"),
        "mismatch" => (Kind::Mismatch, ""),
        "too_large" => (Kind::TooLarge, "use smaller chunks"),
        "out_of_range" | "invalid" => (Kind::InvalidInput, ""),
        "damaged" => (Kind::Damaged, "delete the message and publish it again"),
        _ => return None,
    };
    Some(Verdict::new(kind, advice).ours())
}

/// What PostgREST says itself.
fn of_postgrest(number: &str, status: u16, message: &str) -> Verdict {
    let away = Verdict::new(
        Kind::Unavailable,
        "its database cannot be reached; try again",
    );
    match number {
        "000" | "001" | "002" => away,
        // postrust has a number of its own for it, which it uses for other faults, too.
        "500" if message.contains("temporarily unavailable") => away,
        // As 413, which PostgREST leaves to what stands before it.
        "102" if message.contains("length limit") => of_status(413),
        "003" => Verdict::new(
            Kind::Timeout,
            "its database had no free connection; try again",
        ),
        "106" => Verdict::new(
            Kind::InvalidInput,
            "its API does not expose the schema public: add it to the exposed schemas of the Data API",
        ),
        "202" | "205" => Verdict::new(Kind::Denied, MIGRATE),
        "301" | "302" | "303" => Verdict::new(Kind::Denied, ""),
        _ if number.starts_with(['1', '2', '3']) && status < 500 => {
            Verdict::new(Kind::InvalidInput, "please report this")
        }
        _ => of_status(status),
    }
}

/// What PostgreSQL says, by its SQLSTATE.
fn of_postgres(code: &str) -> Option<Verdict> {
    Some(match code {
        "40001" | "40P01" | "55P03" => Verdict::new(Kind::Contended, "try again"),
        "57014" => Verdict::new(
            Kind::Timeout,
            "it ran into the statement timeout of its role: raise it, or ask for less at once",
        )
        .hopeless(),
        "25006" => Verdict::new(
            Kind::Unavailable,
            "the database may only be read; Supabase does this to a project that is out of space: enlarge its disk, or purge over SQL (docs/supabase.md, Scheduling the purge)",
        )
        .long(),
        "53100" => Verdict::new(Kind::Full, "the database's disk is full: delete something or enlarge it"),
        "57P01" | "57P02" | "57P03" => Verdict::new(Kind::Unavailable, "the database is restarting; try again"),
        "42501" => Verdict::new(Kind::Denied, ""),
        "42883" | "42P01" | "42703" | "42704" | "3F000" => Verdict::new(Kind::Denied, MIGRATE),
        _ => match &code[..2] {
            "08" => Verdict::new(Kind::Unavailable, "the database cannot be reached; try again"),
            "53" => Verdict::new(Kind::Overloaded, "the database is out of resources; try again later"),
            "22" | "23" => Verdict::new(Kind::InvalidInput, ""),
            "54" => Verdict::new(Kind::TooLarge, "send less at once"),
            "28" => Verdict::new(Kind::Denied, ""),
            _ => return None,
        },
    })
}

/// What stands before PostgREST says: the gateway, a proxy, a content network.
fn of_status(status: u16) -> Verdict {
    match status {
        401 | 403 => Verdict::new(Kind::Denied, ""),
        402 => Verdict::new(
            Kind::Denied,
            "the project is restricted: look at its billing",
        ),
        408 => Verdict::new(Kind::Timeout, "try again"),
        413 => Verdict::new(
            Kind::TooLarge,
            "something before the database takes smaller requests only: use smaller chunks or raise its limit",
        ),
        429 => Verdict::new(Kind::Overloaded, "too many requests: try again later"),
        300..=399 => Verdict::new(
            Kind::InvalidInput,
            "the address leads elsewhere: set SUPABASE_URL to the project's own",
        ),
        404 | 405 => Verdict::new(
            Kind::InvalidInput,
            "there is no such path: check SUPABASE_URL, and that the project's Data API is enabled",
        ),
        504 | 522 | 524 | 544 => Verdict::new(Kind::Timeout, RELOAD),
        502 | 503 | 520 | 521 | 523 => Verdict::new(Kind::Unavailable, RELOAD),
        540 => Verdict::new(
            Kind::Unavailable,
            "the project is paused: restore it in the Supabase dashboard",
        )
        .long(),
        400..=499 => Verdict::new(Kind::InvalidInput, ""),
        _ => Verdict::new(Kind::Internal, RELOAD),
    }
}

/// The JSON of an error, as far as it is looked at.
#[derive(Debug, Default)]
struct Problem {
    code: String,
    message: String,
    detail: Option<String>,
}

impl Problem {
    fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default)]
            code: serde_json::Value,
            #[serde(default, alias = "error", alias = "msg")]
            message: serde_json::Value,
            #[serde(default)]
            details: serde_json::Value,
        }
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        match serde_json::from_slice::<Wire>(body) {
            Ok(wire) => Self {
                code: text(&wire.code).unwrap_or_default(),
                message: text(&wire.message).unwrap_or_default(),
                detail: text(&wire.details),
            },
            Err(_) => Self::default(),
        }
    }

    fn map(self, change: impl Fn(String) -> String) -> Self {
        Self {
            code: change(self.code),
            message: change(self.message),
            detail: self.detail.map(change),
        }
    }

    /// The code. @supabase/lite has one for all that it does not know, so there the text decides.
    fn code(&self) -> &str {
        if self.code == "SUP" {
            code_of_text(&self.message)
        } else {
            &self.code
        }
    }

    /// What our functions say in a sentence.
    fn sentence(&self) -> String {
        shorten(self.detail.as_deref().unwrap_or(&self.message))
    }

    /// Who refused it and why. The detail stays away: PostgreSQL quotes rows there.
    fn cause(&self, status: u16) -> String {
        let code = if self.code.is_empty() {
            String::new()
        } else {
            format!(", code {}", shorten(&self.code))
        };
        let message = if self.message.is_empty() {
            String::new()
        } else {
            format!(": {}", shorten(&self.message))
        };
        format!("HTTP {status}{code}{message}")
    }
}

/// The SQLSTATE behind a message text.
fn code_of_text(message: &str) -> &'static str {
    const TEXTS: &[(&str, &str)] = &[
        ("statement timeout", "57014"),
        ("violates ", "23514"),
        ("deadlock detected", "40P01"),
        ("could not serialize", "40001"),
        ("lock timeout", "55P03"),
        ("read-only transaction", "25006"),
        ("No space left", "53100"),
        ("terminating connection", "57P01"),
        ("the database system is", "57P03"),
        ("too many clients", "53300"),
        ("remaining connection slots", "53300"),
        ("permission denied", "42501"),
        ("does not exist", "42883"),
        ("invalid input syntax", "22P02"),
        ("ECONNREFUSED", "08006"),
        ("ECONNRESET", "08006"),
        ("CONNECTION_", "08006"),
    ];
    TEXTS
        .iter()
        .find(|(part, _)| message.contains(part))
        .map_or("", |(_, code)| code)
}

fn shorten(text: &str) -> String {
    let text = text.trim();
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown.replace("\\\"", "\"").replace("\\'", "'")
}

/// The wait that a `Retry-After` asks for: seconds, or a date.
fn wait(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(value)
            .ok()?
            .with_timezone(&Utc)
            - now)
            .to_std()
            .unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
