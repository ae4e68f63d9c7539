//! The schema of bus as forward steps, and what applies them to a database.
//!
//! The steps are the files of `migrations/`, embedded. Each is applied in a transaction of its own and recorded in the
//! table of the Supabase CLI (`supabase_migrations.schema_migrations`), so that a database that one of the two has
//! migrated is understood by the other.
//!
//! ```no_run
//! # async fn example() -> Result<(), bus_migrations::MigrateError> {
//! let url: bus_migrations::DatabaseUrl = "postgresql://postgres@localhost/app".parse()?;
//! let mut database = bus_migrations::Database::connect(&url).await?;
//! let report = bus_migrations::Migrator::default().run(&mut database, |_| {}).await?;
//! println!("{} steps applied", report.applied.len());
//! # Ok(()) }
//! ```

mod database;
mod error;
mod history;
mod migrator;
mod step;
mod tls;
mod url;

pub use self::{
    database::Database,
    error::{MigrateError, MigrateErrorKind},
    history::{Plan, SCHEMA_VERSION, StepState},
    migrator::{Migrator, Progress, Report},
    step::{Step, steps},
    url::DatabaseUrl,
};
