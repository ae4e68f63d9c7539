//! Keeps web pages away from a local daemon, for HTTP and for upgrades alike.
//!
//! A page that a browser has open can send requests to 127.0.0.1, and by DNS rebinding it can even
//! make them same-origin. Three things give it away: a `Host` that is not ours, an `Origin`, and
//! `Sec-Fetch-Site`. Programs send none of them, or only the right `Host`. An origin that the
//! settings allow is let in and gets the CORS headers that it needs.

use std::{net::IpAddr, net::SocketAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::problem::Problem;
use crate::state::AppState;

/// What a page of an allowed origin may send and read.
const CORS_METHODS: &str = "GET, HEAD, POST, PUT, DELETE";
const CORS_REQUEST_HEADERS: &str = "Authorization, Content-Type, Range, If-Range, If-Match, \
    If-None-Match, Repr-Digest, Content-Digest, X-Request-Id, Bus-Session, Bus-Tool, \
    Bus-Provider, Bus-Ttl-Hours, Bus-Priority, Bus-Metadata, Bus-Accept-Frames";
const CORS_ANSWER_HEADERS: &str = "Location, ETag, Repr-Digest, Content-Range, Accept-Ranges, \
    Retry-After, X-Request-Id";

/// The middleware.
pub(super) async fn guard(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let rules = Rules {
        listen: state.local_addr(),
        hosts: &state.config.allowed_hosts,
        origins: &state.config.allowed_origins,
    };
    let origin = match rules.check(request.uri(), request.headers()) {
        Ok(origin) => origin,
        Err(problem) => return problem.into_response(),
    };
    let Some(origin) = origin else {
        return next.run(request).await;
    };
    let preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight {
        answer_preflight()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(CORS_ANSWER_HEADERS),
    );
    response
}

fn answer_preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, CORS_REQUEST_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Who may call the daemon by which name.
struct Rules<'a> {
    listen: SocketAddr,
    hosts: &'a [String],
    origins: &'a [String],
}

impl Rules<'_> {
    /// The allowed origin that the request comes from, if it comes from one at all.
    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
        self.check_host(uri, headers)?;
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next();
        if let Some(origin) = origin
            && (origins.next().is_some() || !self.allows_origin(origin))
        {
            return Err(foreign_origin(origin));
        }
        // Without an Origin a browser still tells, and a page needs none for a plain GET.
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        match site {
            Some(b"cross-site" | b"same-site") if origin.is_none() => Err(cross_site()),
            _ => Ok(origin.cloned()),
        }
    }

    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(only), None) => only
                .to_str()
                .map_err(|_| bad_host("the Host header is not visible ASCII"))?,
            (None, _) => return Err(bad_host("the request has no Host header")),
            _ => return Err(bad_host("the request has several Host headers")),
        };
        // A target with an authority wins over Host (RFC 9112, section 3.2.2): both must fit.
        let target = uri.authority().map(Authority::as_str);
        match target
            .into_iter()
            .chain([host])
            .find(|name| !self.allows_host(name))
        {
            Some(foreign) => Err(foreign_host(foreign)),
            None => Ok(()),
        }
    }

    /// A loopback name, the address listened on or a name from the settings; with our port or none.
    fn allows_host(&self, authority: &str) -> bool {
        let Some((name, port)) = split_authority(authority) else {
            return false;
        };
        let ours = port.is_none_or(|port| port == self.listen.port());
        let configured = self
            .hosts
            .iter()
            .any(|allowed| match split_authority(allowed) {
                Some((host, Some(extra))) => host.eq_ignore_ascii_case(name) && port == Some(extra),
                Some((host, None)) => host.eq_ignore_ascii_case(name) && ours,
                None => false,
            });
        configured || ours && self.is_own_name(name)
    }

    fn is_own_name(&self, name: &str) -> bool {
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let Ok(ip) = name.parse::<IpAddr>() else {
            return false;
        };
        // A name can be rebound, an address cannot: on all interfaces, every address is ours.
        ip.is_loopback() || ip == self.listen.ip() || self.listen.ip().is_unspecified()
    }

    fn allows_origin(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        self.origins
            .iter()
            .any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin))
    }
}

/// `name`, `name:port` or `[v6]:port`; the brackets are taken off.
fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    let (name, rest) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (name, rest) = inner.split_once(']')?;
            name.parse::<std::net::Ipv6Addr>().ok()?;
            (name, rest)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            authority.split_at(end)
        }
    };
    let port = match rest.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
        None if rest.is_empty() => None,
        None => return None,
    };
    (!name.is_empty()).then_some((name, port))
}

fn foreign_host(host: &str) -> Problem {
    let shown: String = host.chars().take(120).collect();
    Problem::new(
        StatusCode::FORBIDDEN,
        "FOREIGN_HOST",
        format!("the request is for the host {shown:?}, which is not this daemon"),
        "call the daemon by the address that it listens on, or start it with --allow-host and this name",
    )
}

fn bad_host(why: &str) -> Problem {
    Problem::bad_request("BAD_HOST", why)
}

fn foreign_origin(origin: &HeaderValue) -> Problem {
    let shown: String = String::from_utf8_lossy(origin.as_bytes())
        .chars()
        .take(120)
        .collect();
    Problem::new(
        StatusCode::FORBIDDEN,
        "FOREIGN_ORIGIN",
        format!("the request comes from a web page of {shown:?}"),
        "if that page may drive the daemon, start it with --allow-origin and this origin",
    )
}

fn cross_site() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "CROSS_SITE",
        "the request was caused by a web page of another site",
        "open the address directly",
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn rules<'a>(listen: &str, hosts: &'a [String], origins: &'a [String]) -> Rules<'a> {
        Rules {
            listen: listen.parse().unwrap(),
            hosts,
            origins,
        }
    }

    #[rstest]
    #[case("127.0.0.1:8079", true)]
    #[case("127.0.0.1", true)]
    #[case("127.8.9.10:8079", true)]
    #[case("localhost:8079", true)]
    #[case("LocalHost", true)]
    #[case("[::1]:8079", true)]
    #[case("[::1]", true)]
    #[case("localhost:80", false)]
    #[case("localhost:8080", false)]
    #[case("localhost:", false)]
    #[case("localhost:8079x", false)]
    #[case("localhost:+8079", false)]
    #[case("localhost:99999", false)]
    #[case("evil.example", false)]
    #[case("evil.example:8079", false)]
    #[case("localhost.evil.example:8079", false)]
    #[case("127.0.0.1.evil.example", false)]
    #[case("192.168.0.7:8079", false)]
    #[case("[fe80::1]:8079", false)]
    #[case("::1", false)]
    #[case("[::1", false)]
    #[case("[localhost]", false)]
    #[case("user@127.0.0.1:8079", false)]
    #[case("", false)]
    #[case(":8079", false)]
    #[case("tools.example", true)]
    #[case("tools.example:8079", true)]
    #[case("tools.example:443", false)]
    #[case("proxy.example:8443", true)]
    #[case("proxy.example", false)]
    fn a_host(#[case] host: &str, #[case] allowed: bool) {
        let hosts = ["tools.example".to_owned(), "proxy.example:8443".to_owned()];
        let rules = rules("127.0.0.1:8079", &hosts, &[]);
        assert_eq!(rules.allows_host(host), allowed);
    }

    #[rstest]
    #[case("192.168.0.7:8079", "192.168.0.7:8079", true)]
    #[case("192.168.0.7:8079", "192.168.0.8:8079", false)]
    #[case("0.0.0.0:8079", "192.168.0.8:8079", true)]
    #[case("0.0.0.0:8079", "evil.example:8079", false)]
    fn a_host_of_a_daemon_beyond_loopback(
        #[case] listen: &str,
        #[case] host: &str,
        #[case] allowed: bool,
    ) {
        assert_eq!(rules(listen, &[], &[]).allows_host(host), allowed);
    }

    #[rstest]
    #[case(&[], true)]
    #[case(&[("origin", "https://tools.example")], true)]
    #[case(&[("origin", "https://tools.example"), ("sec-fetch-site", "cross-site")], true)]
    #[case(&[("origin", "https://evil.example")], false)]
    #[case(&[("origin", "http://tools.example")], false)]
    #[case(&[("origin", "https://tools.example.evil.example")], false)]
    #[case(&[("origin", "http://127.0.0.1:8079")], false)]
    #[case(&[("origin", "null")], false)]
    #[case(&[("origin", "")], false)]
    #[case(&[("origin", "https://tools.example"), ("origin", "null")], false)]
    #[case(&[("sec-fetch-site", "none")], true)]
    #[case(&[("sec-fetch-site", "same-origin")], true)]
    #[case(&[("sec-fetch-site", "same-site")], false)]
    #[case(&[("sec-fetch-site", "cross-site")], false)]
    fn an_origin(#[case] sent: &[(&'static str, &'static str)], #[case] allowed: bool) {
        let origins = ["https://tools.example/".to_owned()];
        let rules = rules("127.0.0.1:8079", &[], &origins);
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost:8079"));
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_static(value));
        }
        assert_eq!(
            rules.check(&Uri::from_static("/"), &headers).is_ok(),
            allowed
        );
    }

    #[test]
    fn an_absolute_target_must_be_ours_too() {
        let rules = rules("127.0.0.1:8079", &[], &[]);
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost:8079"));
        let foreign = Uri::from_static("http://evil.example/v1/messages");
        assert!(rules.check(&foreign, &headers).is_err());
    }
}
