//! The Supabase store on real servers: one program for all tests, so that they link once.
#![allow(clippy::unwrap_used, reason = "a test says by its panic what failed")]

mod expected;
mod lite;
mod patience;
mod payloads;
mod postrust;
mod purge;
mod records;
mod repeats;
mod secrets;
mod support;
mod users;
mod wire;
