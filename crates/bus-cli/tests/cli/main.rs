//! The `bus` program as its users meet it: the real program, a private folder, a clean
//! environment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_inputs;
mod broken_stores;
mod calls;
mod demo;
mod interrupts;
mod migrate;
mod over_http;
mod records;
mod round_trips;
mod settings;
mod sharing;
mod supabase;
#[path = "../support/mod.rs"]
mod support;
mod usage;
mod verbs;
