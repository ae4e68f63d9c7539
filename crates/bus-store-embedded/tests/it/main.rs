//! The embedded store, seen from outside: one program for all tests, so that they link once.
#![allow(clippy::unwrap_used, reason = "a test says by its panic what failed")]

mod basics;
mod child;
mod conformance;
mod damage;
mod disk;
mod processes;
mod races;
mod records;
mod steps;
mod support;
