//! One forward step of the schema, and the steps that this build knows.

use std::borrow::Cow;

/// The comment that every step of bus begins with, by which an older build knows that a newer step is ours.
pub(crate) const MARK: &str = "-- bus: ";

/// All steps of this build, oldest first.
const EMBEDDED: &[Step] = include!(concat!(env!("OUT_DIR"), "/steps.rs"));

/// One forward step: a file of `migrations/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    version: Cow<'static, str>,
    name: Cow<'static, str>,
    sql: Cow<'static, str>,
}

/// The steps that this build knows, oldest first.
#[must_use]
pub fn steps() -> &'static [Step] {
    EMBEDDED
}

impl Step {
    const fn embedded(version: &'static str, name: &'static str, sql: &'static str) -> Self {
        Self {
            version: Cow::Borrowed(version),
            name: Cow::Borrowed(name),
            sql: Cow::Borrowed(sql),
        }
    }

    /// A step that is not one of this build's, as a test needs it.
    #[must_use]
    pub fn new(
        version: impl Into<String>,
        name: impl Into<String>,
        sql: impl Into<String>,
    ) -> Self {
        Self {
            version: Cow::Owned(version.into()),
            name: Cow::Owned(name.into()),
            sql: Cow::Owned(sql.into()),
        }
    }

    /// The UTC time in its file name, 14 digits; steps are applied in this order.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it is about, in the words of its file name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its statements.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The name of its file, which the Supabase CLI understands.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_{}.sql", self.version, self.name)
    }

    /// Its text as the history keeps it: without what the Supabase CLI trims from a statement.
    pub(crate) fn recorded(&self) -> &str {
        self.sql.trim().trim_end_matches(';')
    }

    /// Whether `recorded`, a text that the history holds of this version, is this step.
    ///
    /// The Supabase CLI keeps the statements one by one, without the semicolons and spaces between them; this crate
    /// keeps the file as one. Without semicolons and spaces both are the same.
    pub(crate) fn is_recorded_as(&self, recorded: &str) -> bool {
        fn bare(text: &str) -> impl Iterator<Item = char> {
            text.chars().filter(|c| !c.is_whitespace() && *c != ';')
        }
        bare(&self.sql).eq(bare(recorded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_embedded_in_order() {
        let versions: Vec<&str> = steps().iter().map(Step::version).collect();
        assert!(versions.len() >= 2, "{versions:?}");
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
        assert_eq!(steps()[0].file_name(), "20261122070000_message_bus.sql");
        assert!(steps()[0].sql().contains("create table"));
    }

    #[test]
    fn a_step_is_known_however_it_was_recorded() {
        let step = Step::new("1", "x", "-- bus: a; b\nselect 1;\n\nselect ';';\n");
        assert!(step.is_recorded_as(step.recorded()));
        // As the Supabase CLI splits it.
        assert!(step.is_recorded_as("-- bus: a; b\nselect 1\nselect ';'"));
        assert!(!step.is_recorded_as("-- bus: a; b\nselect 2\nselect ';'"));
    }
}
