//! Lists the steps in `migrations/`, so that a new file is embedded without anybody naming it.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    // A symlink in the repository, a folder in the package.
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?)
        .join("migrations")
        .canonicalize()?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut list = String::from("&[\n");
    for (file, version, name) in names.iter().filter_map(|file| parts(file)) {
        let path = folder.join(file);
        writeln!(
            list,
            "    Step::embedded({version:?}, {name:?}, include_str!({path:?})),"
        )?;
    }
    list.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("steps.rs"), list)?;
    Ok(())
}

/// `20261122070000_message_bus.sql` is the step `message_bus` of version `20261122070000`.
fn parts(file: &str) -> Option<(&str, &str, &str)> {
    let (version, name) = file.strip_suffix(".sql")?.split_once('_')?;
    let legal = version.len() == 14 && version.bytes().all(|b| b.is_ascii_digit());
    legal.then_some((file, version, name))
}
