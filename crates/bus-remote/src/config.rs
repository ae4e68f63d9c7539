//! What a client of a daemon is told.

use std::{fmt, time::Duration};

use bus_model::SessionId;
use secrecy::SecretString;

use crate::DaemonUrl;

/// Settings of a daemon's client. `Debug` shows whether there is a token, never the token.
#[derive(Clone)]
pub struct RemoteConfig {
    /// Which daemon. Claims are redeemed there and nowhere else.
    pub url: DaemonUrl,
    /// What the daemon asks for, where it asks for something.
    pub token: Option<SecretString>,
    /// The session to call in; the daemon names one otherwise.
    pub session_id: Option<SessionId>,
    /// How long connecting and the daemon's greeting may take (10 s).
    pub connect_timeout: Duration,
    /// How long the daemon may be silent while an answer over HTTP is under way (60 s).
    pub idle_timeout: Duration,
    /// How long a call may take, retries included, where the call does not say so (180 s).
    pub call_timeout: Duration,
    /// Largest message taken from the daemon, in bytes. 4 MiB by default: an inline result at the
    /// daemon's own threshold of 1 MiB fits with room for a daemon that was told a higher one.
    /// A larger message closes the connection with code 1009, as most clients do.
    pub max_message: usize,
    /// Tries of a call that meets OVER_CAPACITY, the first one included (10).
    pub max_attempts: u32,
}

impl RemoteConfig {
    /// The settings for `url`, all else at its default.
    #[must_use]
    pub fn new(url: DaemonUrl) -> Self {
        Self {
            url,
            token: None,
            session_id: None,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            call_timeout: Duration::from_secs(180),
            max_message: 4 << 20,
            max_attempts: 10,
        }
    }
}

impl fmt::Debug for RemoteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteConfig")
            .field("url", &self.url)
            .field("token", &self.token.as_ref().map(|_| "[secret]"))
            .field("session_id", &self.session_id)
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("call_timeout", &self.call_timeout)
            .field("max_message", &self.max_message)
            .field("max_attempts", &self.max_attempts)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_token() {
        let mut config = RemoteConfig::new(DaemonUrl::default());
        config.token = Some("hunter2".into());
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
