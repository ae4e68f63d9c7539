//! Supabase on this machine: real PostgreSQL, real REST servers that others wrote, and a gateway as the hosted one.
//!
//! A test asks for a [`Project`]: [`Project::take`] lends one of the stack that all tests share, which is fast;
//! [`Project::own`] makes one that may be broken; [`Project::own_postgres`] one whose database may be killed.

mod background;
mod children;
mod gateway;
mod keys;
mod lite;
mod place;
mod postgres;
mod postgres_versions;
mod postrust;
mod project;
mod schema;
mod server;
mod slots;
mod sql;
mod stack;

pub use gateway::{Answer, Gateway};
pub use keys::JWT_SECRET;
pub use postgres::{Postgres, PostgresOptions};
pub use project::Project;
pub use schema::{HOSTED_RIGHTS, HOSTED_ROLES, Migrations};
pub use server::Server;
pub use stack::{start as start_stack, status as stack_status, stop as stop_stack};

pub(crate) use background::{here, runtime};
