//! The URL of a database: read with care, since it holds a password.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use tokio_postgres::config::{Config, Host, SslMode};

use crate::{MigrateError, tls::TlsMode};

/// One address may take this long to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is given up when nothing it sent was acknowledged for this long.
const SILENCE: Duration = Duration::from_secs(30);

/// What other programs put into such URLs, and what means nothing here.
const IGNORED: &[&str] = &["pgbouncer", "connection_limit", "pool_timeout"];

/// What the driver understands. Anything else is refused, by name.
const PASSED_ON: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "options",
    "password",
    "port",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// How to reach a database. Neither its `Debug` nor its `Display` shows the password.
#[derive(Clone)]
pub struct DatabaseUrl {
    pub(crate) config: Config,
    pub(crate) tls: TlsMode,
    pub(crate) root_certificates: Option<String>,
    shown: String,
    user: String,
}

impl DatabaseUrl {
    /// The user of the URL.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether the certificate of the server goes unchecked on a connection that leaves this machine.
    #[must_use]
    pub fn is_unchecked(&self) -> bool {
        !is_local(&self.config) && !self.tls.checks_certificate()
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseUrl")
            .field("server", &self.shown)
            .field("user", &self.user)
            .field("sslmode", &self.tls.name())
            .finish_non_exhaustive()
    }
}

impl FromStr for DatabaseUrl {
    type Err = MigrateError;

    fn from_str(text: &str) -> Result<Self, MigrateError> {
        let text = text.trim();
        if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
            return Err(refused("it does not begin with postgresql://"));
        }
        if text.contains("[YOUR-PASSWORD]") {
            return Err(refused("[YOUR-PASSWORD] stands where your password should"));
        }
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        if address.matches('@').count() > 1 || query.contains('@') && !address.contains('@') {
            // Guessing which @ ends the password would show a part of it in errors.
            return Err(refused(
                "an @ or a ? in the password is not written as %40 or %3F",
            ));
        }
        let options = Options::read(query)?;
        let mut config: Config = format!("{address}?{}", options.passed_on)
            .parse()
            .map_err(|_| refused("user, password, host, port or database cannot be read"))?;
        if config.get_hosts().is_empty() {
            return Err(refused("it names no host"));
        }
        let tls = options.tls(&config)?;
        config.ssl_mode(match tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        });
        config
            .application_name("bus migrate")
            .connect_timeout(CONNECT_TIMEOUT);
        config.keepalives_idle(SILENCE).tcp_user_timeout(SILENCE);
        Ok(Self {
            shown: shown(&config),
            user: config.get_user().unwrap_or_default().to_owned(),
            config,
            tls,
            root_certificates: options.root_certificates,
        })
    }
}

/// What stands behind the `?`.
#[derive(Default)]
struct Options {
    mode: Option<String>,
    root_certificates: Option<String>,
    passed_on: String,
}

impl Options {
    fn read(query: &str) -> Result<Self, MigrateError> {
        let mut options = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "sslmode" => options.mode = Some(value.to_owned()),
                "sslrootcert" => options.root_certificates = Some(decode(value)?),
                key if IGNORED.contains(&key) => {}
                key if PASSED_ON.contains(&key) => {
                    options.passed_on.push_str(pair);
                    options.passed_on.push('&');
                }
                _ => {
                    return Err(refused(
                        "an option behind the ? is not known: sslmode, sslrootcert and those of the driver are",
                    ));
                }
            }
        }
        Ok(options)
    }

    fn tls(&self, config: &Config) -> Result<TlsMode, MigrateError> {
        let rooted = self.root_certificates.is_some();
        match self.mode.as_deref() {
            Some("disable") => Ok(TlsMode::Disable),
            Some("prefer" | "allow") => Ok(TlsMode::Prefer),
            // As in libpq: whoever brings a certificate wants it used.
            Some("require") if rooted => Ok(TlsMode::VerifyCa),
            Some("require") => Ok(TlsMode::Require),
            Some("verify-ca") if rooted => Ok(TlsMode::VerifyCa),
            Some("verify-ca") => Err(refused("sslmode=verify-ca needs sslrootcert=FILE")),
            Some("verify-full") => Ok(TlsMode::VerifyFull),
            None if rooted => Ok(TlsMode::VerifyFull),
            None if is_local(config) => Ok(TlsMode::Prefer),
            None => Ok(TlsMode::Require),
            Some(_) => Err(refused(
                "sslmode is none of disable, prefer, require, verify-ca, verify-full",
            )),
        }
    }
}

fn refused(reason: &str) -> MigrateError {
    MigrateError::Url {
        reason: reason.to_owned(),
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, MigrateError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex_digit(rest.next())
                .zip(hex_digit(rest.next()))
                .map(|(high, low)| high * 16 + low)
                .ok_or_else(|| {
                    refused("a % in sslrootcert is not followed by two hexadecimal digits")
                })?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| refused("sslrootcert is not UTF-8"))
}

fn hex_digit(byte: Option<u8>) -> Option<u8> {
    let digit = char::from(byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

fn is_local(config: &Config) -> bool {
    // Where addresses are given, they are what is connected to, whatever the hosts are called.
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        return addresses.iter().all(IpAddr::is_loopback);
    }
    config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    })
}

fn shown(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) if name.contains(':') => format!("[{name}]"),
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => String::new(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config
        .get_dbname()
        .or(config.get_user())
        .unwrap_or_default();
    format!("{host}:{port}/{database}")
}
