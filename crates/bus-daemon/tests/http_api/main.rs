//! The HTTP API against a real daemon over real sockets.

mod support;

mod access;
mod described;
mod faults;
mod health;
mod listing;
mod payload;
mod publish;
mod ranges;
mod rude;
