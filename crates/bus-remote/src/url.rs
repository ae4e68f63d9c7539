//! The address of a daemon.

use std::{fmt, net::SocketAddr, str::FromStr};

use reqwest::Url;

/// Scheme, host and port of a daemon. One that exists has no user, no path, no query: a claim can
/// only ever be redeemed at this origin.
#[derive(Clone, PartialEq, Eq)]
pub struct DaemonUrl(Url);

/// A text is not the address of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: an address such as http://127.0.0.1:8079 is expected")]
pub struct DaemonUrlError(&'static str);

impl DaemonUrl {
    /// The daemon on `address`; an address that stands for every interface means this machine.
    #[must_use]
    pub fn of(mut address: SocketAddr) -> Self {
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let url = Url::parse(&format!("http://{address}/"));
        Self(url.expect("an IP address and a port always make a URL"))
    }

    /// Where the WebSocket is.
    #[must_use]
    pub fn websocket(&self) -> String {
        let scheme = if self.0.scheme() == "https" {
            "wss"
        } else {
            "ws"
        };
        format!("{scheme}://{}/ws", self.authority())
    }

    /// `path` at this daemon; `None` where it is anything but a path, such as another address.
    ///
    /// This is what keeps a frame from sending its reader (and its token) elsewhere.
    #[must_use]
    pub fn join(&self, path: &str) -> Option<Url> {
        let plain = path.starts_with('/')
            && !path.starts_with("//")
            && !path
                .bytes()
                .any(|b| b == b'\\' || b.is_ascii_control() || b == b'#');
        let joined = plain.then(|| self.0.join(path).ok()).flatten()?;
        (joined.origin() == self.0.origin()).then_some(joined)
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.0.host_str().is_some_and(|host| {
            let host = host.trim_matches(['[', ']']);
            host == "localhost"
                || host
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|ip| ip.is_loopback())
        })
    }

    /// Whether what travels to it is encrypted or never leaves this machine.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.0.scheme() == "https" || self.is_loopback()
    }

    fn authority(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}

impl Default for DaemonUrl {
    /// The port that a daemon listens on unless it is told otherwise.
    fn default() -> Self {
        Self::of(SocketAddr::from(([127, 0, 0, 1], 8079)))
    }
}

impl fmt::Display for DaemonUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.authority())
    }
}

impl fmt::Debug for DaemonUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DaemonUrl({self})")
    }
}

impl FromStr for DaemonUrl {
    type Err = DaemonUrlError;

    /// Takes `http`, `https`, `ws` and `wss`, and `host:port` alone.
    fn from_str(text: &str) -> Result<Self, DaemonUrlError> {
        let text = text.trim();
        let full = match text.split_once("://") {
            Some(("http" | "ws", rest)) => format!("http://{rest}"),
            Some(("https" | "wss", rest)) => format!("https://{rest}"),
            Some(_) => return Err(DaemonUrlError("the scheme is not http, https, ws or wss")),
            None => format!("http://{text}"),
        };
        let url = Url::parse(&full).map_err(|_| DaemonUrlError("this is not an address"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(DaemonUrlError(
                "an address with a user or password is not taken",
            ));
        }
        if !matches!(url.path(), "/" | "/ws") || url.query().is_some() || url.fragment().is_some() {
            return Err(DaemonUrlError("only scheme, host and port are taken"));
        }
        let mut origin = url;
        origin.set_path("/");
        Ok(Self(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> DaemonUrl {
        text.parse().unwrap()
    }

    #[test]
    fn all_forms_of_an_address() {
        for text in [
            "127.0.0.1:8079",
            "ws://127.0.0.1:8079",
            "http://127.0.0.1:8079/",
            "ws://127.0.0.1:8079/ws",
        ] {
            assert_eq!(url(text).to_string(), "http://127.0.0.1:8079", "{text}");
            assert_eq!(url(text).websocket(), "ws://127.0.0.1:8079/ws", "{text}");
        }
        assert_eq!(url("wss://bus.example").websocket(), "wss://bus.example/ws");
        assert_eq!(url("localhost:1").to_string(), "http://localhost:1");
        assert_eq!(url("[::1]:9").websocket(), "ws://[::1]:9/ws");
        assert_eq!(
            DaemonUrl::of(([0, 0, 0, 0], 5).into()).to_string(),
            "http://127.0.0.1:5"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "ftp://x",
            "http://",
            "http://u:p@h",
            "http://h/path",
            "http://h?a=b",
            "file:///etc",
        ] {
            assert!(bad.parse::<DaemonUrl>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_path_never_leads_elsewhere() {
        let daemon = url("http://127.0.0.1:8079");
        let at = |path: &str| daemon.join(path).map(String::from);
        assert_eq!(
            at("/v1/messages/t/payload").as_deref(),
            Some("http://127.0.0.1:8079/v1/messages/t/payload")
        );
        for bad in [
            "",
            "v1",
            "//evil/x",
            "http://evil/x",
            "/\\evil",
            "\\\\evil",
            "@evil",
            "/a\nb",
            "/a#b",
            "ws://127.0.0.1:8079/x",
            ":80/x",
        ] {
            assert_eq!(at(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_encrypted_or_local_is_private() {
        assert!(url("https://bus.example").is_private());
        assert!(url("http://127.0.0.1:1").is_private());
        assert!(url("http://[::1]:1").is_private());
        assert!(url("http://localhost:1").is_private());
        assert!(!url("http://10.0.0.1:1").is_private());
    }
}
