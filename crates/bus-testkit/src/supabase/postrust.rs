//! `postrust`: how it is started. It serves at the root and knows no keys, only JWTs: the gateway does the rest.

use super::keys::JWT_SECRET;
use super::place;
use super::server::Plan;
use crate::free_port;
use anyhow::Result;
use std::process::Command;

/// A request that it answers once it serves.
pub(crate) const PROBE: &str = "/";

/// Statement timeouts, which it wants to be told (ms).
const ROLE_SETTINGS: &str = r#"{"anon":{"statement_timeout":3000},"authenticated":{"statement_timeout":8000},"service_role":{"statement_timeout":8000}}"#;

pub(crate) fn command(plan: &Plan) -> Result<Command> {
    let program = place::installed("postrust-3.1.0/bin/postrust", "postrust 3.1.0")?;
    let mut command = Command::new(program);
    command
        .current_dir(&plan.folder)
        .env(
            "PGRST_DB_URI",
            format!(
                "postgres://authenticator@127.0.0.1:{}/{}",
                plan.postgres_port, plan.database
            ),
        )
        .env("PGRST_DB_ANON_ROLE", "anon")
        .env("PGRST_DB_POOL", "16")
        // Seconds; PostgREST's 10 are only waited for in vain, by every test that kills the database.
        .env("PGRST_DB_POOL_TIMEOUT", "2")
        .env("PGRST_DB_CHANNEL_ENABLED", "true")
        .env("PGRST_JWT_SECRET", JWT_SECRET)
        .env("PGRST_COMPAT_MODE", "true")
        .env("PGRST_MAX_BODY_SIZE", "536870912")
        .env("PGRST_ROLE_SETTINGS", ROLE_SETTINGS)
        .env("PGRST_LOG_LEVEL", "warn")
        .env("PGRST_SERVER_HOST", "127.0.0.1")
        .env("PGRST_SERVER_PORT", plan.port.to_string())
        .env("PGRST_ADMIN_SERVER_PORT", free_port()?.to_string());
    Ok(command)
}
