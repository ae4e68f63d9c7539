//! `cargo xtask outside`: somebody else's project that takes one of our crates and nothing more.
//!
//! Each is written to a temporary folder, built, and its dependencies counted.

use crate::workspace::{root, shell};
use anyhow::{Result, bail};
use std::fs;
use std::path::Path;
use xshell::{Shell, TempDir, cmd};

struct Project {
    krate: &'static str,
    /// May not drag in an async runtime.
    pure: bool,
    program: &'static str,
}

const PROJECTS: &[Project] = &[
    Project {
        krate: "bus-model",
        pure: true,
        program: r#"//! Uses bus-model only.
fn main() {
    let txn: bus_model::TransactionId = "txn-1".parse().expect("a legal id parses");
    println!("{txn}");
}
"#,
    },
    Project {
        krate: "bus-codec",
        pure: true,
        program: r#"//! Uses bus-codec only.
fn main() {
    println!("{} bytes a chunk", bus_codec::DEFAULT_CHUNK_SIZE);
}
"#,
    },
    Project {
        krate: "bus-store",
        pure: false,
        program: r#"//! Uses bus-store only.
fn kind(error: &bus_store::StoreError) -> bool {
    error.is_transient()
}
fn main() {
    println!("{}", std::any::type_name_of_val(&kind));
}
"#,
    },
    Project {
        krate: "bus-client",
        pure: false,
        program: r#"//! Uses bus-client only.
fn main() {
    let client = bus_client::MessageBusClient::from_env();
    println!("{}", client.should_use_message_bus(2 << 20));
}
"#,
    },
];

/// Builds all four and prints what each pulls in.
pub(crate) fn run() -> Result<()> {
    let shell = shell()?;
    let folder = shell.create_temp_dir()?;
    println!("{:<12} dependencies", "crate");
    let mut problems = Vec::new();
    for project in PROJECTS {
        let packages = build(&shell, &folder, project)?;
        println!("{:<12} {:>12}", project.krate, packages.len());
        if project.pure && packages.iter().any(|package| package == "tokio") {
            problems.push(format!("{} pulls in tokio", project.krate));
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join(", "));
    }
    Ok(())
}

/// The names of all packages that the project needs besides itself.
fn build(shell: &Shell, folder: &TempDir, project: &Project) -> Result<Vec<String>> {
    let home = folder.path().join(project.krate);
    write(&home, project)?;
    let manifest = home.join("Cargo.toml");
    let target = root().join("target/outside");
    cmd!(
        shell,
        "cargo build --quiet --manifest-path {manifest} --target-dir {target}"
    )
    .quiet()
    .run()?;
    let tree = cmd!(
        shell,
        "cargo tree --quiet --manifest-path {manifest} -e normal --prefix none"
    );
    let mut packages: Vec<String> = tree
        .quiet()
        .read()?
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "outside")
        .map(str::to_owned)
        .collect();
    packages.sort();
    packages.dedup();
    Ok(packages)
}

fn write(home: &Path, project: &Project) -> Result<()> {
    let krate = project.krate;
    let path = root().join("crates").join(krate);
    let manifest = format!(
        "[package]\nname = \"outside\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{krate} = {{ path = {:?} }}\n",
        path.display().to_string()
    );
    fs::create_dir_all(home.join("src"))?;
    fs::write(home.join("Cargo.toml"), manifest)?;
    fs::write(home.join("src/main.rs"), project.program)?;
    // The versions that we test with, so that only the selection differs.
    fs::copy(root().join("Cargo.lock"), home.join("Cargo.lock"))?;
    Ok(())
}
