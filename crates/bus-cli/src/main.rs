//! The `bus` program.
fn main() {}
