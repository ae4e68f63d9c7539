//! The lines about address and key of a project: pure functions of what can be read without asking anybody.

use bus_store_supabase::{ApiKey, ConfigError, KeyKind, SupabaseConfig, key};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;

use crate::{commands::doctor::line::Line, exit::Exit};

const URL: &str = "url";
const KEY: &str = "key";

/// A key of the project that expires within this is told.
const KEY_SOON: TimeDelta = TimeDelta::days(30);
/// Tokens of users live for an hour by default.
const TOKEN_SOON: TimeDelta = TimeDelta::minutes(5);

/// What both lines are about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credentials<'a> {
    /// `SUPABASE_URL`, or what was made of `SUPABASE_PROJECT_ID`.
    pub(super) url: &'a str,
    /// `SUPABASE_KEY`.
    pub(super) key: &'a SecretString,
    /// `SUPABASE_PROJECT_ID`.
    pub(super) project_id: Option<&'a str>,
}

/// Both lines, and how to reach the project where both are well formed.
pub(super) fn examine(
    given: Credentials<'_>,
    now: DateTime<Utc>,
) -> (Vec<Line>, Option<SupabaseConfig>) {
    // Tells what is wrong with the address, whatever the key is.
    let place = SupabaseConfig::new(given.url, &SecretString::from("sb_secret_none"));
    let url_line = match &place {
        Ok(place) => url(place, given.project_id),
        Err(error) => bad(URL, error, "SUPABASE_URL is not the address of a project"),
    };
    let (key_line, key) = match ApiKey::parse(given.key) {
        Ok(read) => {
            let project = place.as_ref().ok().and_then(SupabaseConfig::project_ref);
            let project = project.or(given.project_id);
            (key_line(&read, project, place.as_ref().is_ok_and(is_hosted), now), Some(read))
        }
        Err(error) => (
            Line::failure(KEY, format!("SUPABASE_KEY: {error}"))
                .advice("copy it again: the project's dashboard has it under Project Settings, API Keys")
                .exit(Exit::Usage),
            None,
        ),
    };
    let usable = !url_line.is_failure() && key.is_some();
    let config = usable
        .then(|| SupabaseConfig::new(given.url, given.key).ok())
        .flatten();
    (vec![url_line, key_line], config)
}

fn bad(name: &'static str, error: &ConfigError, summary: &str) -> Line {
    Line::failure(name, summary)
        .detail(error.to_string())
        .advice(
            "set SUPABASE_URL to https://PROJECT.supabase.co, as the project's dashboard shows it",
        )
        .exit(Exit::Usage)
}

fn is_hosted(place: &SupabaseConfig) -> bool {
    place.project_ref().is_some()
}

fn url(place: &SupabaseConfig, project_id: Option<&str>) -> Line {
    let shown = place.rest_url().trim_end_matches('/').to_owned();
    if shown.starts_with("http://") && !place.is_loopback() {
        return Line::failure(
            URL,
            format!("{shown} is not encrypted: the key and every payload can be read on the way"),
        )
        .advice("use https; plain http is for this machine only")
        .exit(Exit::Usage);
    }
    match (place.project_ref(), project_id) {
        (Some(host), Some(id)) if host != id.trim() => Line::warning(
            URL,
            format!(
                "{shown} is of the project {host}, SUPABASE_PROJECT_ID says {}",
                id.trim()
            ),
        )
        .detail("SUPABASE_URL decides")
        .advice("correct the one that is wrong, or unset SUPABASE_PROJECT_ID"),
        _ => Line::ok(URL, shown),
    }
}

fn key_line(key: &ApiKey, project: Option<&str>, hosted: bool, now: DateTime<Utc>) -> Line {
    if let Some(line) = dead(key, project, now) {
        return line;
    }
    match (key.kind(), key.role()) {
        (KeyKind::Publishable, _) => useless("a publishable key (sb_publishable_...)"),
        (KeyKind::Jwt(_), Some(key::ANON)) => useless("the anon key, a JWT"),
        (KeyKind::Secret, _) => service("a secret key (sb_secret_...), role service_role"),
        (KeyKind::Jwt(_), Some(key::SERVICE_ROLE)) if hosted => {
            let line = Line::warning(KEY, "the older service_role key, a JWT");
            let line = line.detail(WHAT_SERVICE_MAY).detail("Supabase retires these keys by the end of 2026");
            line.advice("make a secret key (sb_secret_...) under Project Settings, API Keys, and set SUPABASE_KEY to it")
        }
        (KeyKind::Jwt(_), Some(key::SERVICE_ROLE)) => soon(service("a service_role key, a JWT"), key, now, KEY_SOON),
        (KeyKind::Jwt(claims), role) => match (&claims.subject, role) {
            (Some(subject), Some(role)) => {
                let subject: String = subject.chars().take(64).flat_map(char::escape_debug).collect();
                let line = Line::ok(KEY, format!("the token of a user, role {role}, principal {subject}"));
                let line = line.detail("it sees and writes that user's messages only; row level security sees to it");
                soon(line, key, now, TOKEN_SOON)
            }
            (None, Some(role)) => Line::failure(KEY, format!("a JWT of the role {role} that names no user"))
                .detail("without a subject (sub) the database does not know whose messages are meant, and refuses")
                .advice(SECRET_KEY)
                .exit(Exit::NotAuthorised),
            (_, None) => Line::failure(KEY, "a JWT that names no role")
                .advice(SECRET_KEY)
                .exit(Exit::NotAuthorised),
        },
    }
}

const SECRET_KEY: &str = "set SUPABASE_KEY to the project's secret key (sb_secret_...), or to the token of a user who signed in";
const WHAT_SERVICE_MAY: &str = "it sees and changes everybody's data: it belongs into the daemon's environment, never into a browser, a client or a repository";

fn service(what: &str) -> Line {
    Line::ok(KEY, what).detail(WHAT_SERVICE_MAY)
}

/// Anon may do nothing here, so its keys open nothing.
fn useless(what: &str) -> Line {
    Line::failure(
        KEY,
        format!("{what}, has the role anon, which may do nothing here"),
    )
    .advice(SECRET_KEY)
    .exit(Exit::NotAuthorised)
}

/// A key that cannot work any more, or not here.
fn dead(key: &ApiKey, project: Option<&str>, now: DateTime<Utc>) -> Option<Line> {
    let claims = key.claims()?;
    if let Some(at) = claims.expires_at.filter(|at| *at <= now) {
        let line = Line::failure(
            KEY,
            format!("a JWT that expired at {}", at.format("%FT%TZ")),
        );
        return Some(
            line.advice("get a new one: API Keys in the dashboard, or sign in again")
                .exit(Exit::NotAuthorised),
        );
    }
    let (made_for, project) = (claims.project_ref.as_deref()?, project?.trim());
    (made_for != project).then(|| {
        Line::failure(
            KEY,
            format!("a key of the project {made_for}, but the address is that of {project}"),
        )
        .advice("take address and key from the same project")
        .exit(Exit::NotAuthorised)
    })
}

fn soon(line: Line, key: &ApiKey, now: DateTime<Utc>, within: TimeDelta) -> Line {
    match key.claims().and_then(|claims| claims.expires_at) {
        Some(at) if at - now <= within => {
            let summary = format!("{}; it expires at {}", line.summary, at.format("%FT%TZ"));
            let warning = Line::warning(KEY, summary).details(line.detail);
            warning.advice("get a new one before that, and restart what uses it")
        }
        Some(at) => line.detail(format!("it expires at {}", at.format("%FT%TZ"))),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::commands::doctor::line::Status;

    const NOW: i64 = 1_800_000_000;

    fn jwt(claims: &serde_json::Value) -> String {
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!(
            "{}.{}.c2lnbmF0dXJl",
            part(&json!({"alg": "HS256"})),
            part(claims)
        )
    }

    fn lines(url: &str, key: &str, project_id: Option<&str>) -> (Vec<Line>, bool) {
        let key = SecretString::from(key);
        let given = Credentials {
            url,
            key: &key,
            project_id,
        };
        let now = DateTime::from_timestamp(NOW, 0).expect("a time");
        let (lines, config) = examine(given, now);
        (lines, config.is_some())
    }

    #[rstest]
    #[case(
        "https://abc.supabase.co",
        None,
        Status::Ok,
        "https://abc.supabase.co/rest/v1"
    )]
    #[case("https://abc.supabase.co", Some("abc"), Status::Ok, "abc")]
    #[case(
        "https://abc.supabase.co",
        Some("xyz"),
        Status::Warning,
        "SUPABASE_PROJECT_ID says xyz"
    )]
    #[case("http://127.0.0.1:54321", None, Status::Ok, "127.0.0.1")]
    #[case("http://localhost:54321", None, Status::Ok, "localhost")]
    #[case("http://supabase.example.com", None, Status::Failure, "not encrypted")]
    #[case("ftp://x", None, Status::Failure, "not the address")]
    #[case("not an address", None, Status::Failure, "not the address")]
    #[case(
        "https://user:hush@abc.supabase.co",
        None,
        Status::Failure,
        "not the address"
    )]
    fn addresses(
        #[case] url: &str,
        #[case] id: Option<&str>,
        #[case] status: Status,
        #[case] part: &str,
    ) {
        let (lines, usable) = lines(url, "sb_secret_abc", id);
        assert_eq!(lines[0].status, status, "{lines:?}");
        assert!(lines[0].summary.contains(part), "{lines:?}");
        assert_eq!(usable, status != Status::Failure);
        assert!(!format!("{lines:?}").contains("hush"), "{lines:?}");
    }

    #[rstest]
    #[case("sb_secret_abc", Status::Ok, "secret key")]
    #[case("sb_publishable_abc", Status::Failure, "may do nothing")]
    #[case(&jwt(&json!({"role": "anon"})), Status::Failure, "may do nothing")]
    #[case(&jwt(&json!({"role": "service_role"})), Status::Ok, "service_role")]
    #[case(&jwt(&json!({"role": "service_role", "exp": NOW + 86_400})), Status::Warning, "expires at")]
    #[case(&jwt(&json!({"role": "service_role", "exp": NOW + 86_400 * 400})), Status::Ok, "service_role")]
    #[case(&jwt(&json!({"role": "service_role", "exp": NOW})), Status::Failure, "expired at")]
    #[case(&jwt(&json!({"role": "authenticated", "sub": "ada", "exp": NOW + 3000})), Status::Ok, "principal ada")]
    #[case(&jwt(&json!({"role": "authenticated", "sub": "ada", "exp": NOW + 60})), Status::Warning, "expires at")]
    #[case(&jwt(&json!({"role": "authenticated"})), Status::Failure, "names no user")]
    #[case(&jwt(&json!({"sub": "ada"})), Status::Failure, "names no role")]
    #[case("hunter2", Status::Failure, "no known kind")]
    fn keys(#[case] key: &str, #[case] status: Status, #[case] part: &str) {
        let (lines, _) = lines("http://localhost:1", key, None);
        assert_eq!(lines[1].status, status, "{lines:?}");
        assert!(lines[1].summary.contains(part), "{lines:?}");
        assert!(
            !format!("{lines:?}").contains(key),
            "the key is not shown: {lines:?}"
        );
    }

    #[rstest]
    #[case(json!({"role": "service_role", "ref": "abc"}), Status::Warning, "older")]
    #[case(json!({"role": "service_role", "ref": "xyz"}), Status::Failure, "of the project xyz")]
    fn an_older_key_belongs_to_its_project(
        #[case] claims: serde_json::Value,
        #[case] status: Status,
        #[case] part: &str,
    ) {
        let (lines, _) = lines("https://abc.supabase.co", &jwt(&claims), None);
        assert_eq!(lines[1].status, status, "{lines:?}");
        assert!(lines[1].summary.contains(part), "{lines:?}");
    }
}
