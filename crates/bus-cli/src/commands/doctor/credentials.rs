//! The lines about address and key of a project: pure functions of what can be read without asking anybody.

use bus_store_supabase::{ApiKey, ConfigError, KeyKind, SupabaseConfig, key};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;

use crate::{commands::doctor::line::Line, exit::Exit};

const URL: &str = "url";
const KEY: &str = "key";
const TOKEN: &str = "token";

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
    /// `BUS_SUPABASE_TOKEN`.
    pub(super) token: Option<&'a SecretString>,
    /// `SUPABASE_PROJECT_ID`.
    pub(super) project_id: Option<&'a str>,
}

/// The lines, and how to reach the project where all is well formed.
pub(super) fn examine(
    given: Credentials<'_>,
    now: DateTime<Utc>,
) -> (Vec<Line>, Option<SupabaseConfig>) {
    // Tells what is wrong with the address, whatever the key is.
    let place = SupabaseConfig::new(given.url, &SecretString::from("sb_secret_none"));
    let mut lines = vec![match &place {
        Ok(place) => url(place, given.project_id),
        Err(error) => bad(error),
    }];
    let place = place.ok();
    let hosted = place.as_ref().and_then(SupabaseConfig::project_ref);
    let project = hosted.or(given.project_id);
    lines.push(match ApiKey::parse(given.key) {
        Ok(key) => dead(KEY, &key, project, now).unwrap_or_else(|| match given.token {
            Some(_) => beside_token(&key),
            None => acting(KEY, &key, hosted.is_some(), now),
        }),
        Err(error) => Line::failure(KEY, format!("SUPABASE_KEY: {error}"))
            .advice(
                "copy it again: the project's dashboard has it under Project Settings, API Keys",
            )
            .exit(Exit::Usage),
    });
    lines.extend(
        given
            .token
            .map(|token| token_line(token, project, hosted.is_some(), now)),
    );
    // A key that opens nothing is asked with all the same: what the server says of it is worth a line.
    let legal = !lines
        .iter()
        .any(|line| line.is_failure() && line.exit == Exit::Usage);
    let config = legal.then(|| configuration(given)).flatten();
    (lines, config)
}

fn configuration(given: Credentials<'_>) -> Option<SupabaseConfig> {
    let config = SupabaseConfig::new(given.url, given.key).ok()?;
    match given.token {
        Some(token) => config.with_access_token(token).ok(),
        None => Some(config),
    }
}

/// The key that only says which project is meant.
fn beside_token(key: &ApiKey) -> Line {
    match key.role() {
        Some(key::ANON) => Line::ok(KEY, "a key of anon, which names the project; the token says who acts"),
        _ => Line::warning(KEY, "more than is needed: beside a user's token, which decides who acts")
            .detail(WHAT_SERVICE_MAY)
            .advice("set SUPABASE_KEY to the publishable key (sb_publishable_...), or leave BUS_SUPABASE_TOKEN away"),
    }
}

fn token_line(
    token: &SecretString,
    project: Option<&str>,
    hosted: bool,
    now: DateTime<Utc>,
) -> Line {
    match ApiKey::parse(token) {
        Ok(token) if token.claims().is_some() => {
            dead(TOKEN, &token, project, now).unwrap_or_else(|| acting(TOKEN, &token, hosted, now))
        }
        _ => Line::failure(TOKEN, "BUS_SUPABASE_TOKEN is not a JWT")
            .advice("set it to the access token that a signed-in user got, or leave it away")
            .exit(Exit::Usage),
    }
}

fn bad(error: &ConfigError) -> Line {
    Line::failure(URL, "SUPABASE_URL is not the address of a project")
        .detail(error.to_string())
        .advice(
            "set SUPABASE_URL to https://PROJECT.supabase.co, as the project's dashboard shows it",
        )
        .exit(Exit::Usage)
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

/// What a key or a token that decides the role lets its holder do.
fn acting(name: &'static str, key: &ApiKey, hosted: bool, now: DateTime<Utc>) -> Line {
    match (key.kind(), key.role()) {
        (KeyKind::Publishable, _) => useless(name, "a publishable key (sb_publishable_...)"),
        (KeyKind::Jwt(_), Some(key::ANON)) => useless(name, "the anon key, a JWT"),
        (KeyKind::Secret, _) => service(name, "a secret key (sb_secret_...), role service_role"),
        (KeyKind::Jwt(_), Some(key::SERVICE_ROLE)) if hosted => {
            Line::warning(name, "the older service_role key, a JWT")
                .detail(WHAT_SERVICE_MAY)
                .detail("Supabase retires these keys by the end of 2026")
                .advice("make a secret key (sb_secret_...) under Project Settings, API Keys, and set SUPABASE_KEY to it")
        }
        (KeyKind::Jwt(_), Some(key::SERVICE_ROLE)) => {
            soon(service(name, "a service_role key, a JWT"), key, now, KEY_SOON)
        }
        (KeyKind::Jwt(claims), role) => of_user(name, claims.subject.as_deref(), role, hosted)
            .map_or_else(|line| line, |line| soon(line, key, now, TOKEN_SOON)),
    }
}

/// The token of a user; as an error where it is none that works.
fn of_user(
    name: &'static str,
    subject: Option<&str>,
    role: Option<&str>,
    hosted: bool,
) -> Result<Line, Line> {
    let refused = |summary: String| Line::failure(name, summary).exit(Exit::NotAuthorised);
    let Some(role) = role else {
        return Err(refused("a JWT that names no role".to_owned()).advice(SECRET_KEY));
    };
    let Some(subject) = subject else {
        return Err(refused(format!("a JWT of the role {role} that names no user"))
            .detail("without a subject (sub) the database does not know whose messages are meant, and refuses")
            .advice(SECRET_KEY));
    };
    let subject: String = subject
        .chars()
        .take(64)
        .flat_map(char::escape_debug)
        .collect();
    let summary = format!("the token of a user, role {role}, principal {subject}");
    if name == KEY && hosted {
        return Ok(Line::warning(name, summary)
            .detail("a hosted project wants a key of its own beside it")
            .advice(
                "set SUPABASE_KEY to the publishable key, and BUS_SUPABASE_TOKEN to this token",
            ));
    }
    Ok(Line::ok(name, summary)
        .detail("it sees and writes that user's messages only; row level security sees to it"))
}

const SECRET_KEY: &str = "set SUPABASE_KEY to the project's secret key (sb_secret_...), or act as a user: the publishable key there, and the user's token in BUS_SUPABASE_TOKEN";
const WHAT_SERVICE_MAY: &str = "it sees and changes everybody's data: it belongs into the daemon's environment, never into a browser, a client or a repository";

fn service(name: &'static str, what: &str) -> Line {
    Line::ok(name, what).detail(WHAT_SERVICE_MAY)
}

/// Anon may do nothing here, so its keys open nothing.
fn useless(name: &'static str, what: &str) -> Line {
    Line::failure(
        name,
        format!("{what}, has the role anon, which may do nothing here"),
    )
    .advice(SECRET_KEY)
    .exit(Exit::NotAuthorised)
}

/// A key that cannot work any more, or not here.
fn dead(
    name: &'static str,
    key: &ApiKey,
    project: Option<&str>,
    now: DateTime<Utc>,
) -> Option<Line> {
    let claims = key.claims()?;
    if let Some(at) = claims.expires_at.filter(|at| *at <= now) {
        let line = Line::failure(
            name,
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
            name,
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
            let warning = Line::warning(line.name, summary).details(line.detail);
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
        lines_with(url, key, None, project_id)
    }

    fn lines_with(
        url: &str,
        key: &str,
        token: Option<&str>,
        project_id: Option<&str>,
    ) -> (Vec<Line>, bool) {
        let token = token.map(SecretString::from);
        let key = SecretString::from(key);
        let given = Credentials {
            url,
            key: &key,
            token: token.as_ref(),
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

    #[rstest]
    #[case("sb_publishable_abc", json!({"role": "authenticated", "sub": "ada", "exp": NOW + 3000}), Status::Ok, Status::Ok)]
    #[case("sb_secret_abc", json!({"role": "authenticated", "sub": "ada"}), Status::Warning, Status::Ok)]
    #[case("sb_publishable_abc", json!({"role": "authenticated", "sub": "ada", "exp": NOW - 1}), Status::Ok, Status::Failure)]
    #[case("sb_publishable_abc", json!({"role": "authenticated"}), Status::Ok, Status::Failure)]
    fn a_token_beside_the_key(
        #[case] key: &str,
        #[case] claims: serde_json::Value,
        #[case] of_key: Status,
        #[case] of_token: Status,
    ) {
        let token = jwt(&claims);
        let (lines, usable) = lines_with("https://abc.supabase.co", key, Some(&token), None);
        let statuses: Vec<Status> = lines.iter().map(|line| line.status).collect();
        assert_eq!(statuses, [Status::Ok, of_key, of_token], "{lines:?}");
        assert!(
            usable && !format!("{lines:?}").contains(&token),
            "{lines:?}"
        );
    }

    #[test]
    fn a_token_that_is_no_jwt_is_not_used() {
        let (lines, usable) = lines_with(
            "https://abc.supabase.co",
            "sb_publishable_abc",
            Some("hush"),
            None,
        );
        assert!(!usable && lines[2].is_failure(), "{lines:?}");
        assert!(!format!("{lines:?}").contains("hush"), "{lines:?}");
    }

    #[test]
    fn a_users_token_alone_is_too_little_for_a_hosted_project() {
        let token = jwt(&json!({"role": "authenticated", "sub": "ada", "exp": NOW + 3000}));
        let (lines, _) = lines("https://abc.supabase.co", &token, None);
        assert_eq!(lines[1].status, Status::Warning, "{lines:?}");
        assert!(
            format!("{lines:?}").contains("BUS_SUPABASE_TOKEN"),
            "{lines:?}"
        );
    }
}
