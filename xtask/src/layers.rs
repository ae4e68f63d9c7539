//! `cargo xtask layers`: dependencies between our crates point one way, and only along the edges of this table.
//!
//! A new edge is a decision: add it here with the reason, or find another way. What only tests use has a column of its
//! own, since a test may look at its crate from further up.

use crate::workspace::{Crate, crates, root, shell};
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::fs;
use xshell::cmd;

struct Layer {
    name: &'static str,
    uses: &'static [&'static str],
    tests_use: &'static [&'static str],
    why: &'static str,
}

const fn layer(
    name: &'static str,
    uses: &'static [&'static str],
    tests_use: &'static [&'static str],
    why: &'static str,
) -> Layer {
    Layer {
        name,
        uses,
        tests_use,
        why,
    }
}

/// Lowest first. Every crate's tests may use `bus-testkit` besides.
const TABLE: &[Layer] = &[
    layer(
        "bus-model",
        &[],
        &[],
        "the words everybody shares: no I/O, no async",
    ),
    layer(
        "bus-codec",
        &["bus-model"],
        &[],
        "bytes to bytes, described by the model's manifest",
    ),
    layer(
        "bus-store",
        &["bus-model"],
        &[],
        "the contract speaks the model",
    ),
    layer(
        "bus-store-embedded",
        &["bus-model", "bus-store"],
        &["bus-codec"],
        "a backend knows the contract and nothing above it; its tests encode bodies",
    ),
    layer(
        "bus-store-supabase",
        &["bus-model", "bus-store"],
        &["bus-client", "bus-codec"],
        "a backend knows the contract and nothing above it; its tests publish through the facade",
    ),
    layer(
        "bus-client",
        &[
            "bus-model",
            "bus-codec",
            "bus-store",
            "bus-store-embedded",
            "bus-store-supabase",
        ],
        &[],
        "the facade joins codec and store; backends are features of it",
    ),
    layer("bus-protocol", &["bus-model"], &[], "frames carry claims"),
    layer(
        "bus-migrations",
        &[],
        &[],
        "the schema and its runner: knows a database, none of our crates",
    ),
    layer(
        "bus-daemon",
        &[
            "bus-model",
            "bus-codec",
            "bus-store",
            "bus-client",
            "bus-protocol",
        ],
        &[],
        "serves what the client does; never names a backend",
    ),
    layer(
        "bus-remote",
        &["bus-model", "bus-codec", "bus-protocol"],
        &["bus-client", "bus-daemon", "bus-store"],
        "knows a daemon by its frames and HTTP only; its tests start a real one",
    ),
    layer(
        "bus-cli",
        &[
            "bus-model",
            "bus-codec",
            "bus-store",
            "bus-store-supabase",
            "bus-client",
            "bus-protocol",
            "bus-migrations",
            "bus-daemon",
            "bus-remote",
        ],
        &["bus-store-embedded"],
        "the program: everything meets here; doctor examines a project by its backend; its tests damage a store's files",
    ),
    layer(
        "bus-testkit",
        &[],
        &[],
        "dev only: lends to every test, so it knows none of our crates",
    ),
    layer(
        "bus-bench",
        &[],
        &["bus-model", "bus-codec", "bus-store-supabase", "bus-client"],
        "dev only: measures each layer beside its peers",
    ),
    layer(
        "xtask",
        &[],
        &[],
        "dev only: must build even when the crates do not",
    ),
];

/// The backends, as code names them.
const BACKENDS: &[&str] = &["bus_store_embedded", "bus_store_supabase"];

/// Who may never see an async runtime, with no feature on.
const WITHOUT_TOKIO: &[&str] = &["bus-model", "bus-codec"];

/// Checks the table against cargo's metadata, and the two rules that cargo can tell as well.
pub(crate) fn run() -> Result<()> {
    let crates = crates()?;
    let mut problems = check(&crates);
    problems.extend(async_in_pure_crates()?);
    problems.extend(backends_named_twice()?);
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        bail!(
            "{} broken layering rules (xtask/src/layers.rs)",
            problems.len()
        );
    }
    println!("{} crates, every edge in the table", crates.len());
    Ok(())
}

fn check(crates: &[Crate]) -> Vec<String> {
    let mut problems = Vec::new();
    for krate in crates {
        let Some(layer) = TABLE.iter().find(|layer| layer.name == krate.name) else {
            problems.push(format!("{}: no row in the table of layers", krate.name));
            continue;
        };
        problems.extend(check_crate(krate, layer));
    }
    let named: BTreeSet<&str> = crates.iter().map(|krate| krate.name.as_str()).collect();
    for layer in TABLE.iter().filter(|layer| !named.contains(layer.name)) {
        problems.push(format!("{}: in the table, but no such crate", layer.name));
    }
    problems
}

fn check_crate(krate: &Crate, layer: &Layer) -> Vec<String> {
    let allowed = |name: &String| layer.uses.contains(&name.as_str());
    let for_tests = |name: &String| {
        // A crate names itself to turn on its own features for its tests.
        let itself = *name == krate.name;
        itself || allowed(name) || name == "bus-testkit" || layer.tests_use.contains(&name.as_str())
    };
    let (name, why) = (&krate.name, layer.why);
    let edges = krate.uses.iter().filter(|used| !allowed(used));
    let test_edges = krate.tests_use.iter().filter(|used| !for_tests(used));
    edges
        .map(|used| format!("{name} -> {used}: not in the table ({name}: {why})"))
        .chain(
            test_edges
                .map(|used| format!("{name} -> {used} (tests): not in the table ({name}: {why})")),
        )
        .collect()
}

fn async_in_pure_crates() -> Result<Vec<String>> {
    let shell = shell()?;
    let mut problems = Vec::new();
    for name in WITHOUT_TOKIO {
        let tree = cmd!(
            shell,
            "cargo tree --quiet -p {name} --no-default-features -e normal --prefix none"
        );
        let tree = tree.quiet().read()?;
        if tree.lines().any(|line| line.starts_with("tokio ")) {
            problems.push(format!("{name}: pulls in tokio without any feature"));
        }
    }
    Ok(problems)
}

/// One module of bus-client names backends, so that a new one touches one file there.
fn backends_named_twice() -> Result<Vec<String>> {
    let mut naming = BTreeSet::new();
    for path in crate::workspace::files()? {
        if path.starts_with("crates/bus-client/src") {
            let text = fs::read_to_string(root().join(&path))?;
            if BACKENDS.iter().any(|backend| text.contains(backend)) {
                naming.insert(path.display().to_string());
            }
        }
    }
    if naming.len() > 1 {
        let files: Vec<String> = naming.into_iter().collect();
        return Ok(vec![format!(
            "bus-client names backends in more than one module: {}",
            files.join(", ")
        )]);
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn krate(name: &str, uses: &[&str], tests_use: &[&str]) -> Crate {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Crate {
            name: name.to_owned(),
            features: Vec::new(),
            has_default: false,
            has_lib: true,
            is_published: true,
            uses: owned(uses),
            tests_use: owned(tests_use),
        }
    }

    #[test]
    fn an_edge_that_points_up_is_named() {
        let problems = check(&[krate("bus-store", &["bus-client"], &[])]);
        assert!(
            problems[0].starts_with("bus-store -> bus-client: not in the table"),
            "{problems:?}"
        );
    }

    #[test]
    fn tests_may_use_the_testkit_but_not_anything() {
        let fine = krate("bus-protocol", &["bus-model"], &["bus-testkit"]);
        let wrong = krate("bus-protocol", &["bus-model"], &["bus-daemon"]);
        assert!(
            !check(&[fine])
                .iter()
                .any(|problem| problem.contains("bus-protocol"))
        );
        assert!(
            check(&[wrong])
                .iter()
                .any(|problem| problem.contains("bus-protocol -> bus-daemon (tests)"))
        );
    }

    #[test]
    fn a_crate_without_a_row_is_a_problem() {
        assert!(check(&[krate("bus-new", &[], &[])])[0].contains("no row"));
    }

    #[test]
    fn the_table_itself_points_one_way() {
        for (index, layer) in TABLE.iter().enumerate() {
            let lower: Vec<&str> = TABLE[..index].iter().map(|layer| layer.name).collect();
            assert!(
                layer.uses.iter().all(|used| lower.contains(used)),
                "{}",
                layer.name
            );
        }
    }
}
