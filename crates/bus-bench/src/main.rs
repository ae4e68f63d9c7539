//! The benchmark program: one subcommand a benchmark.

mod codec;
mod measure;
mod put_get;

use clap::Parser;

/// Benchmarks of bus against its peers.
#[derive(Parser)]
enum Bench {
    /// The codec from file to file, beside the zstd program and a copy with the same digests
    Codec(codec::Args),
    /// `bus put` and `bus get` of big files, beside zstd, cp and sha256sum
    PutGet(put_get::Options),
}

fn main() -> anyhow::Result<()> {
    match Bench::parse() {
        Bench::Codec(args) => codec::run(&args),
        Bench::PutGet(options) => put_get::run(&options),
    }
}
