//! Who sees and who changes what: the matrix of tables, functions and roles on real servers, with the migrations as a
//! hosted project gets them. Nothing here trusts the code of a client: the calls are made as an attacker makes them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod calls;
mod catalog;
mod cells;
mod committed;
mod existence;
mod functions;
mod granted;
mod hostile;
mod races;
mod spoof;
mod storm;
mod tables;
mod who;
mod world;
