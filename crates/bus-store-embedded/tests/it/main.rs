//! The embedded store, seen from outside: one program for all tests, so that they link once.

mod basics;
mod conformance;
mod support;
