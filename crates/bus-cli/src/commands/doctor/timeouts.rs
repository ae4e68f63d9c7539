//! How the server's statement timeout, the time that bus gives a call, and the breaker fit together.

use std::time::Duration;

use bus_client::settings::BreakerSettings;
use bus_store_supabase::diagnose::{Part, Timeouts};

use crate::commands::doctor::line::Line;

pub(super) const NAME: &str = "timeouts";

/// Below this a chunk or a batch of a purge may not be done.
const SHORT: Duration = Duration::from_secs(3);
/// Above this the server works for nobody.
const LONG: Duration = Duration::from_secs(60);
/// An outage should be noticed within this.
const NOTICED: Duration = Duration::from_secs(120);
/// After an outage the store should be tried again within this.
const TRIED_AGAIN: Duration = Duration::from_secs(600);

/// How long bus waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For a call that carries next to nothing.
    pub(super) small: Duration,
    /// For the largest chunk, its way through a slow network included.
    pub(super) largest: Duration,
}

/// The line.
pub(super) fn line(
    timeouts: &Part<Timeouts>,
    patience: Patience,
    breaker: BreakerSettings,
) -> Line {
    let timeouts = match timeouts.found() {
        Ok(timeouts) => timeouts,
        Err(error) => return Line::skipped(NAME, format!("the database says: {error}")),
    };
    let statement = Duration::from_millis(timeouts.call);
    let found: Vec<(String, String)> = [
        of_statement(statement, patience.largest),
        of_breaker(breaker, patience.small),
    ]
    .into_iter()
    .flatten()
    .collect();
    let summary = format!(
        "a statement may take {}; bus waits {} for a small call, {} for the largest chunk",
        if statement.is_zero() {
            "for ever".to_owned()
        } else {
            shown(statement)
        },
        shown(patience.small),
        shown(patience.largest)
    );
    let line = if found.is_empty() {
        Line::ok(NAME, summary)
    } else {
        Line::warning(NAME, summary)
    };
    let roles = timeouts
        .roles
        .iter()
        .map(|(role, time)| format!("{role} {time}"));
    let roles: Vec<String> = roles.collect();
    let (why, what): (Vec<String>, Vec<String>) = found.into_iter().unzip();
    let line = line.details(why).details(
        (!roles.is_empty()).then(|| format!("statement_timeout by role: {}", roles.join(", "))),
    );
    match what.is_empty() {
        true => line,
        false => line.advice(what.join("; ")),
    }
}

/// What is odd about the server's timeout, and what to do.
fn of_statement(statement: Duration, largest: Duration) -> Option<(String, String)> {
    let set =
        "alter role authenticator set statement_timeout = '8s'; notify pgrst, 'reload config';";
    if statement.is_zero() {
        let why =
            "a statement that hangs goes on after bus gave up, and keeps a connection of the pool";
        Some((why.to_owned(), format!("run: {set}")))
    } else if statement < SHORT {
        let why = "a chunk of 4 MiB or a batch of the purge may not be done in that, and is not tried again";
        Some((why.to_owned(), format!("run: {set}")))
    } else if statement > LONG {
        let why = format!(
            "bus gives up {} before the server does",
            shown(statement.saturating_sub(largest))
        );
        Some((why, format!("run: {set}")))
    } else {
        None
    }
}

/// What is odd about the breaker, and what to do.
fn of_breaker(breaker: BreakerSettings, small: Duration) -> Option<(String, String)> {
    if !breaker.enabled {
        let why =
            "CIRCUIT_BREAKER_ENABLED=false: while Supabase is down, each call waits its whole time";
        return Some((
            why.to_owned(),
            "set CIRCUIT_BREAKER_ENABLED=true".to_owned(),
        ));
    }
    let noticed = small.saturating_mul(breaker.threshold);
    if noticed > NOTICED {
        let why = format!(
            "CIRCUIT_BREAKER_THRESHOLD={}: calls one after the other need up to {} to notice an outage",
            breaker.threshold,
            shown(noticed)
        );
        return Some((why, "set CIRCUIT_BREAKER_THRESHOLD to 5".to_owned()));
    }
    if breaker.timeout > TRIED_AGAIN || breaker.timeout < small {
        let why = format!(
            "CIRCUIT_BREAKER_TIMEOUT_SECS={}: {}",
            breaker.timeout.as_secs(),
            if breaker.timeout < small {
                "shorter than one call takes to fail, so it hardly ever stays open"
            } else {
                "after an outage the store may stay unused for that long"
            }
        );
        return Some((why, "set CIRCUIT_BREAKER_TIMEOUT_SECS to 60".to_owned()));
    }
    None
}

fn shown(time: Duration) -> String {
    match time.as_millis() {
        ms if ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rstest::rstest;

    use super::*;
    use crate::commands::doctor::line::Status;

    const USUAL: (bool, u32, u64) = (true, 5, 60);

    #[rstest]
    #[case(8000, USUAL, Status::Ok, "8 s")]
    #[case(60_000, USUAL, Status::Ok, "60 s")]
    #[case(0, USUAL, Status::Warning, "for ever")]
    #[case(500, USUAL, Status::Warning, "500 ms")]
    #[case(120_000, USUAL, Status::Warning, "120 s")]
    #[case(8000, (false, 5, 60), Status::Warning, "8 s")]
    #[case(8000, (true, 25, 60), Status::Warning, "8 s")]
    #[case(8000, (true, 24, 60), Status::Ok, "8 s")]
    #[case(8000, (true, u32::MAX, 60), Status::Warning, "8 s")]
    #[case(8000, (true, 5, 1), Status::Warning, "8 s")]
    #[case(8000, (true, 5, 86_400), Status::Warning, "8 s")]
    fn they_fit_or_the_line_says_which_does_not(
        #[case] call: u64,
        #[case] (enabled, threshold, secs): (bool, u32, u64),
        #[case] status: Status,
        #[case] part: &str,
    ) {
        let timeouts = Part::Found(Timeouts {
            call,
            roles: BTreeMap::new(),
        });
        let timeout = Duration::from_secs(secs);
        let patience = Patience {
            small: Duration::from_secs(5),
            largest: Duration::from_secs(21),
        };
        let line = line(
            &timeouts,
            patience,
            BreakerSettings {
                enabled,
                threshold,
                timeout,
            },
        );
        assert_eq!(line.status, status, "{line:?}");
        assert_eq!(line.advice.is_some(), status == Status::Warning, "{line:?}");
        assert!(line.summary.contains(part), "{line:?}");
    }
}
