//! The daemon with a Supabase project as its store, on real servers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod end_to_end;
mod messages;
mod purge;
mod site;
#[path = "../ws/support.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod support;
mod unmodified_clients;
