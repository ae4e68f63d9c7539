//! The benchmark program: one subcommand a benchmark.

mod codec;
mod measure;
mod put_get;
mod supabase;

use clap::Parser;

/// Benchmarks of bus against its peers.
#[derive(Parser)]
enum Bench {
    /// The codec from file to file, beside the zstd program and a copy with the same digests
    Codec(codec::Args),
    /// `bus put` and `bus get` of big files, beside zstd, cp and sha256sum
    PutGet(put_get::Options),
    /// Payloads through Supabase, beside a bare loop of the same calls
    Supabase(supabase::Options),
    /// One measured run of `supabase`, in a process of its own
    #[command(hide = true)]
    SupabaseSide { side: String },
}

fn main() -> anyhow::Result<()> {
    match Bench::parse() {
        Bench::Codec(args) => codec::run(&args),
        Bench::PutGet(options) => put_get::run(&options),
        Bench::Supabase(options) => supabase::run(&options),
        Bench::SupabaseSide { side } => supabase::run_side(&side),
    }
}
