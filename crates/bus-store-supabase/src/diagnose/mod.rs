//! What `bus doctor` asks a project, and how its answer is judged.
//!
//! | module | holds |
//! |---|---|
//! | `answer` | what the function `bus_doctor` says, as types |
//! | `inventory` | what a database holds, and what this build wants it to hold (`expected.json`) |
//! | `compare` | the differences between the two, in sentences |
//! | `repair` | what puts each right |

mod answer;
mod compare;
mod inventory;
mod repair;

use std::time::Duration;

use bus_store::StoreError;
use serde::Serialize;

pub use self::{
    answer::{
        Diagnosis, Job, LastRun, Leftovers, Part, PurgeJob, Rows, Scope, Sizes, Timeouts, ToolCount,
    },
    compare::{Difference, Severity, compare},
    inventory::{Expected, Inventory},
};
use crate::{SupabaseStore, rpc::PATIENT};

#[derive(Debug, Serialize)]
struct Request<'a> {
    /// Of every table there is, where it is left away.
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<&'a [&'a str]>,
    budget_ms: u128,
}

impl SupabaseStore {
    /// What the database holds and how it does. `tables` names those of interest (without their
    /// schema), `None` asks for all of `public`; messages are counted for `budget`, at most 30 s.
    ///
    /// With the token of a user the answer is about that user's messages only.
    ///
    /// # Errors
    /// As every call; of a kind [`is_missing_function`] tells where the database has no such
    /// function.
    pub async fn diagnose(
        &self,
        tables: Option<&[&str]>,
        budget: Duration,
    ) -> Result<Diagnosis, StoreError> {
        let request = Request {
            tables,
            budget_ms: budget.as_millis(),
        };
        let http = &self.core().http;
        http.call_for("bus_doctor", &request, Some(PATIENT)).await
    }
}

/// Whether a call failed because the project does not have its function: nobody ran `bus migrate`, or another one did.
#[must_use]
pub fn is_missing_function(error: &StoreError) -> bool {
    let text = error.to_string();
    ["PGRST202", "code 42883"]
        .iter()
        .any(|code| text.contains(code))
}
