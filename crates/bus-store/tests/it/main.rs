//! The tests of the contract's own crate, in one program.

mod memory;
mod mock;
mod mutants;
mod records;
mod records_mutants;
mod reference;
mod suite;
mod support;
