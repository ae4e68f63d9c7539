//! What a failed read of a socket means for its session.

use bus_protocol::close;
use tokio_tungstenite::tungstenite::{Error, error::CapacityError};

/// Why a session cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadProblem {
    /// The client broke a rule; the session is closed with a code and a reason.
    Broken { code: u16, reason: &'static str },
    /// The socket is gone.
    Gone,
}

impl ReadProblem {
    pub(crate) fn of(error: axum::Error) -> Self {
        let broken = |code, reason| Self::Broken { code, reason };
        let Ok(error) = error.into_inner().downcast::<Error>() else {
            return Self::Gone;
        };
        match *error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                broken(close::TOO_BIG, "message too big")
            }
            Error::Utf8(_) => broken(close::INVALID_TEXT, "text is not UTF-8"),
            Error::Protocol(problem) if is_ours_to_tell(&problem) => {
                broken(close::PROTOCOL_ERROR, "protocol error")
            }
            _ => Self::Gone,
        }
    }
}

/// A connection that was simply cut is reported as a protocol error too.
fn is_ours_to_tell(problem: &tokio_tungstenite::tungstenite::error::ProtocolError) -> bool {
    use tokio_tungstenite::tungstenite::error::ProtocolError as P;
    !matches!(
        problem,
        P::ResetWithoutClosingHandshake | P::ReceivedAfterClosing | P::SendAfterClosing
    )
}
