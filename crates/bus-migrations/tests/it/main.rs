//! The schema and its runner, on real servers: PostgreSQL 15, 16 and 17.
#![allow(clippy::unwrap_used, reason = "tests")]

mod connecting;
mod cron;
mod foreign;
mod history;
mod hosted;
mod locks;
mod schema;
mod stepwise;
mod support;
mod writers;
