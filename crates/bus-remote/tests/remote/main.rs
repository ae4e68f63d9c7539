//! The client of a daemon against a real daemon, and against servers that lie.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod daemon;
mod fake_daemon;
mod lying_servers;
mod raw;
mod sessions;
mod uploads;
