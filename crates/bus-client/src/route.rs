//! Inline or by claim: the decision for one frame.

/// How a frame of a given size is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// It fits: send it as it is.
    Inline,
    /// It does not fit: publish its payload and send the claim.
    Publish,
    /// It does not fit, and the bus is disabled or its settings are not legal.
    TooLarge {
        /// The largest frame that may go inline, in bytes.
        limit: u64,
    },
}

impl Route {
    /// The route of a frame of `frame_bytes`, as it would be sent, escaping included.
    #[must_use]
    pub fn of(frame_bytes: u64, threshold_bytes: u64, enabled: bool) -> Self {
        if frame_bytes <= threshold_bytes {
            Self::Inline
        } else if enabled {
            Self::Publish
        } else {
            Self::TooLarge {
                limit: threshold_bytes,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, true, Route::Inline)]
    #[case(1_048_576, true, Route::Inline)]
    #[case(1_048_577, true, Route::Publish)]
    #[case(1_048_576, false, Route::Inline)]
    #[case(1_048_577, false, Route::TooLarge { limit: 1_048_576 })]
    #[case(u64::MAX, true, Route::Publish)]
    fn a_frame_goes_by_claim_only_beyond_the_threshold(
        #[case] frame_bytes: u64,
        #[case] enabled: bool,
        #[case] expected: Route,
    ) {
        assert_eq!(Route::of(frame_bytes, 1_048_576, enabled), expected);
    }
}
