//! The model test: random operations on a store and on the reference must get the same answers.
//!
//! Ids, fences and cursors are each store's own, and times are compared as they lie from the
//! creation of the message; all else has to be equal. A writer is never driven past its lease
//! while its process lives, since stores may know more of their writers than the lease; the named
//! cases look at that.

mod answer;
mod ops;
mod run;
mod side;

use std::fmt;

use proptest::test_runner::{Config, TestError, TestRunner};

use self::{ops::Op, run::run};
use super::Harness;

/// How many sequences of operations are tried where `PROPTEST_CASES` does not say otherwise.
pub const CASES: u32 = 64;

/// A sequence of operations that a store answered otherwise than the reference.
#[derive(Debug, Clone)]
pub struct Disagreement {
    ops: Vec<Op>,
    what: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        write!(f, "after these operations, the shortest that were found:")?;
        self.ops.iter().try_for_each(|op| write!(f, "\n  {op:?}"))
    }
}

/// Compares the stores that `harness` makes with the reference.
///
/// # Panics
/// Where they disagree, with the shortest operations found that show it.
pub fn check<M, F, H>(harness: M)
where
    M: Fn() -> F,
    F: Future<Output = H>,
    H: Harness,
{
    if let Err(disagreement) = compare(harness, CASES) {
        panic!("{disagreement}");
    }
}

/// Compares the stores that `harness` makes with the reference, over this many sequences of
/// operations; `PROPTEST_CASES` wins over `cases`.
///
/// # Errors
/// [`Disagreement`] where they disagree.
pub fn compare<M, F, H>(harness: M, cases: u32) -> Result<(), Disagreement>
where
    M: Fn() -> F,
    F: Future<Output = H>,
    H: Harness,
{
    let mut config = Config {
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime for the model test");
    let outcome = TestRunner::new(config).run(&ops::sequences(), |ops| {
        runtime.block_on(async { run(&harness().await, &ops).await })
    });
    outcome.map_err(|error| match error {
        TestError::Fail(reason, ops) => Disagreement {
            ops,
            what: reason.to_string(),
        },
        TestError::Abort(reason) => Disagreement {
            ops: Vec::new(),
            what: format!("the model test gave up: {reason}"),
        },
    })
}
