//! The suite and the model find stores that break the contract, each in one way.

mod expiry;
mod pages;
mod principals;
mod writers;

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Once},
};

use bus_store::conformance::{cases, model};
use futures::FutureExt as _;

use crate::support::{
    Memory,
    wrapper::{Fault, Transparent, Wrapper},
};

/// The wrapper itself breaks nothing: what is found in the modules beside is the fault.
#[tokio::test]
async fn a_wrapper_without_a_fault_passes() {
    assert_eq!(failed_cases(|| Transparent).await, [""; 0]);
}

/// Asserts that the model and the suite find the fault, the suite by these cases at least.
async fn is_found<F: Fault>(fault: fn() -> F, names: &[&str]) {
    is_found_by_cases(fault, names).await;
    let found = tokio::task::spawn_blocking(move || disagrees(fault)).await;
    assert!(found.expect("the model does not panic"), "the model agrees");
}

/// Asserts that the suite finds the fault, by these cases at least.
async fn is_found_by_cases<F: Fault>(fault: fn() -> F, names: &[&str]) {
    let failed = failed_cases(fault).await;
    assert!(!failed.is_empty(), "no case fails");
    for name in names {
        assert!(
            failed.contains(name),
            "{name} passes; these fail: {failed:?}"
        );
    }
}

/// Whether the model finds a difference.
fn disagrees<F: Fault>(fault: fn() -> F) -> bool {
    model::compare(|| async { harness(fault) }, 512).is_err()
}

fn harness<F: Fault>(fault: fn() -> F) -> Memory {
    Memory::new(|memory| Arc::new(Wrapper::new(memory, fault())))
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// As long as it lives, panics of this thread are expected and not shown.
pub(crate) struct Quiet;

impl Quiet {
    pub(crate) fn new() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !QUIET.get() {
                    usual(info);
                }
            }));
        });
        QUIET.set(true);
        Self
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(false);
    }
}

/// Names of the cases that fail.
async fn failed_cases<F: Fault>(fault: fn() -> F) -> Vec<&'static str> {
    let mut failed = Vec::new();
    let _quiet = Quiet::new();
    for case in cases() {
        let harness = harness(fault);
        let run = AssertUnwindSafe((case.run)(&harness));
        if run.catch_unwind().await.is_err() {
            failed.push(case.name);
        }
    }
    failed
}
