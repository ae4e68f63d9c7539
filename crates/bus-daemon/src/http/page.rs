//! The page that a browser gets at `/`: the daemon's state as plain HTML, without scripts.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::header,
    response::{Html, IntoResponse},
};
use bus_model::ByteSize;
use tokio::time::timeout;

use crate::state::AppState;

/// How long the page waits for the store's counts.
const STATS_TIME: Duration = Duration::from_secs(2);

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:44em;margin:2em auto;\
padding:0 1em}table{border-collapse:collapse}td,th{text-align:left;padding:.2em 1.5em .2em 0;\
vertical-align:top}code{font-size:.95em}";

/// `GET /` of a browser.
pub(super) async fn page(State(state): State<Arc<AppState>>) -> impl IntoResponse {
    let store = store_rows(&state).await;
    let headers = [(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; \
         form-action 'none'",
    )];
    (headers, Html(render(&state, &store)))
}

fn render(state: &AppState, store: &[(&str, String)]) -> String {
    let mut html = String::new();
    let now = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("address", state.local_addr().to_string()),
        ("up for", human(state.uptime())),
        ("sessions", state.sessions().to_string()),
        ("calls in flight", state.calls_in_flight().to_string()),
        ("publishing", on_off(state.client.is_enabled())),
        ("token", on_off(state.token.is_set())),
    ];
    html.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width\">");
    let _ = write!(
        html,
        "<title>bus</title><style>{STYLE}</style></head><body>"
    );
    html.push_str("<h1>bus</h1>\n<p>The daemon runs. Tools are called over WebSocket at ");
    html.push_str("<code>/</code> or <code>/ws</code>; the HTTP API is described by ");
    html.push_str("<a href=\"/openapi.json\">openapi.json</a>.</p>\n");
    table(&mut html, "Now", &now);
    table(&mut html, "Store", store);
    let tools: Vec<(&str, String)> = state
        .tools
        .iter()
        .map(|tool| (tool.spec().name.as_str(), tool.spec().description.clone()))
        .collect();
    table(&mut html, "Tools", &tools);
    html.push_str("</body></html>\n");
    html
}

fn table(html: &mut String, title: &str, rows: &[(&str, String)]) {
    let _ = writeln!(html, "<h2>{}</h2>\n<table>", escape(title));
    for (name, value) in rows {
        let (name, value) = (escape(name), escape(value));
        let _ = writeln!(html, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    html.push_str("</table>\n");
}

/// What the store says of itself, or why it does not.
async fn store_rows(state: &AppState) -> Vec<(&'static str, String)> {
    let stats = state.metrics.timed("stats", state.client.stats());
    match timeout(STATS_TIME, stats).await {
        Ok(Ok(stats)) => vec![
            ("complete", stats.complete.to_string()),
            ("being written", stats.pending.to_string()),
            ("given up", stats.error.to_string()),
            ("expired, not purged yet", stats.expired.to_string()),
            ("payload bytes", size(stats.payload_bytes)),
            ("stored bytes", size(stats.stored_bytes)),
        ],
        Ok(Err(error)) => vec![("out of reach", error.to_string())],
        Err(_) => vec![("out of reach", format!("no answer in {STATS_TIME:?}"))],
    }
}

fn size(bytes: u64) -> String {
    ByteSize::new(bytes).map_or_else(|_| bytes.to_string(), |size| size.to_string())
}

fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

/// `2 d 3 h 4 min 5 s`, without leading zeros.
fn human(time: Duration) -> String {
    let s = time.as_secs();
    let parts = [
        (s / 86_400, "d"),
        (s / 3600 % 24, "h"),
        (s / 60 % 60, "min"),
    ];
    let mut text = String::new();
    for (count, unit) in parts {
        if count > 0 || !text.is_empty() {
            let _ = write!(text, "{count} {unit} ");
        }
    }
    let _ = write!(text, "{} s", s % 60);
    text
}

/// Text as HTML, also inside attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(5, "5 s")]
    #[case(65, "1 min 5 s")]
    #[case(86_400, "1 d 0 h 0 min 0 s")]
    fn uptime(#[case] seconds: u64, #[case] text: &str) {
        assert_eq!(human(Duration::from_secs(seconds)), text);
    }

    proptest! {
        #[test]
        fn escaped_text_holds_no_markup(text in ".{0,60}") {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
        }
    }
}
