//! The token that clients must show: compared in constant time, replaceable while running.

use std::fmt;

use bus_model::Digest;
use parking_lot::RwLock;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

/// The daemon's current token, if it has one.
pub struct TokenGuard(RwLock<Option<SecretString>>);

impl TokenGuard {
    /// Guards with `token`; without one everybody is let in.
    #[must_use]
    pub fn new(token: Option<SecretString>) -> Self {
        Self(RwLock::new(token))
    }

    /// Whether a token is asked for at all.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.read().is_some()
    }

    /// Whether `shown` opens the door. Takes as long for a wrong token as for the right one.
    #[must_use]
    pub fn accepts(&self, shown: Option<&str>) -> bool {
        match &*self.0.read() {
            None => true,
            Some(token) => same(token, shown.unwrap_or_default()),
        }
    }

    /// Replaces the token where `old` is the current one. A daemon without a token stays open:
    /// nobody who gets in may lock the others out.
    pub fn rotate(&self, old: &str, new: SecretString) -> Result<(), RotateError> {
        if new.expose_secret().is_empty() {
            return Err(RotateError::Empty);
        }
        let mut current = self.0.write();
        match &*current {
            Some(token) if same(token, old) => {
                *current = Some(new);
                Ok(())
            }
            _ => Err(RotateError::Unauthorized),
        }
    }
}

impl fmt::Debug for TokenGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenGuard")
            .field("is_set", &self.is_set())
            .finish()
    }
}

/// Why a token was not replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RotateError {
    /// `old` is not the current token, or there is none.
    #[error("unauthorized")]
    Unauthorized,
    /// The new token is empty.
    #[error("missing_new")]
    Empty,
}

/// Compares digests, so that neither content nor length shows in the time.
fn same(token: &SecretString, shown: &str) -> bool {
    let left = Digest::of(token.expose_secret().as_bytes());
    let right = Digest::of(shown.as_bytes());
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_lets_everybody_in() {
        let guard = TokenGuard::new(None);
        assert!(guard.accepts(None));
        assert!(guard.accepts(Some("whatever")));
    }

    #[test]
    fn a_token_lets_only_its_holder_in() {
        let guard = TokenGuard::new(Some("right".into()));
        assert!(guard.accepts(Some("right")));
        assert!(!guard.accepts(Some("wrong")));
        assert!(!guard.accepts(Some("")));
        assert!(!guard.accepts(None));
    }

    #[test]
    fn rotation_needs_the_old_token() {
        let guard = TokenGuard::new(Some("old".into()));
        assert_eq!(
            guard.rotate("bad", "new".into()),
            Err(RotateError::Unauthorized)
        );
        assert_eq!(guard.rotate("old", "".into()), Err(RotateError::Empty));
        assert_eq!(guard.rotate("old", "new".into()), Ok(()));
        assert!(guard.accepts(Some("new")));
        assert!(!guard.accepts(Some("old")));
    }

    #[test]
    fn a_daemon_without_a_token_cannot_be_locked() {
        let guard = TokenGuard::new(None);
        assert_eq!(
            guard.rotate("", "new".into()),
            Err(RotateError::Unauthorized)
        );
    }
}
