//! Keeps the memory of a daemon flat, where the C library is glibc.
//!
//! glibc gives buffers beyond a threshold back to the system when they are freed, but raises the
//! threshold to the size of each one that is, up to 32 MiB. From then on chunks and frames come
//! from heaps that many threads share and that are rarely given back: under load a daemon held four
//! times as much, and more with each round (docs/decisions/0012). Only the environment of a
//! starting process can hold the threshold where it is without unsafe code, so the program starts
//! itself once more, as the same process.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use std::{env, os::unix::process::CommandExt as _, process::Command};

/// The variable of glibc (mallopt(3)). Where the operator has set it, it stays as it is.
const THRESHOLD: &str = "MALLOC_MMAP_THRESHOLD_";

/// Smaller buffers are left to the heaps, in bytes.
const BYTES: &str = "131072";

/// Starts the program once more with a threshold that stays, unless it has one. Returns where that
/// is not needed or not possible: the daemon then works all the same, with more memory.
///
/// To be called first thing: nothing that was opened or started before is told.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn hold_threshold() {
    if env::var_os(THRESHOLD).is_some() {
        return;
    }
    let Ok(program) = env::current_exe() else {
        return;
    };
    let mut arguments = env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // Returns only where it failed.
    let _ = again.args(arguments).env(THRESHOLD, BYTES).exec();
}

/// Other C libraries have no such threshold.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn hold_threshold() {
    let _ = (THRESHOLD, BYTES);
}
