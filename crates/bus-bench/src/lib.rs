//! Benchmarks of bus against its peers: the program is in `main.rs`, one module a benchmark.
//!
//! `cargo xtask bench` builds what is measured in release and runs it. The library is empty, and must stay: the program
//! is an example (`Cargo.toml` says why), and cargo refuses a package that has neither a library nor a program.
