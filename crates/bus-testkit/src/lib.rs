//! What the tests of bus share: real clients, real processes, real faults and payloads that are the same every time.
//!
//! Dev only. Nothing here skips a test: whatever is missing is an error that says how to install it, so that a green
//! run always means that the thing was tried.

mod clients;
mod fault_proxy;
mod nobody;
mod payload;
mod process;
mod supabase;
mod tmpfs;

pub use clients::{cache_dir, node, node_script, python, python_script, repo_root};
pub use fault_proxy::{Fault, FaultProxy, ProxyCounts};
pub use nobody::{Nobody, run_as_nobody};
pub use payload::{
    json_payload, random_payload, sha256_file, sha256_hex, text_payload, write_json_payload,
    write_random_payload, write_text_payload,
};
pub use process::{bus_program, free_port, peak_rss, rss, wait_for};
pub use supabase::{
    Answer, Gateway, HOSTED_RIGHTS, HOSTED_ROLES, JWT_SECRET, Migrations, Postgres,
    PostgresOptions, Project, Server, stack_status, start_stack, stop_stack,
};
pub use tmpfs::Tmpfs;
