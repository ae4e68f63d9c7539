//! What a database holds, object by object, and what this build wants it to hold.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::{Deserialize, Serialize};

/// What a database holds: by kind (`table`, `column`, `grant` ...) and name, a text that says what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inventory(pub BTreeMap<String, BTreeMap<String, String>>);

impl Inventory {
    /// The objects of one kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = (&str, &str)> {
        let items = self.0.get(kind).into_iter().flatten();
        items.map(|(name, definition)| (name.as_str(), definition.as_str()))
    }

    /// One object.
    #[must_use]
    pub fn get(&self, kind: &str, name: &str) -> Option<&str> {
        self.0.get(kind)?.get(name).map(String::as_str)
    }

    /// Names of the tables, without their schema.
    #[must_use]
    pub fn tables(&self) -> Vec<&str> {
        let names = self.of_kind("table").map(|(name, _)| name);
        names
            .map(|name| name.strip_prefix("public.").unwrap_or(name))
            .collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a database has that was migrated by the steps of this build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// The version that it says it has.
    pub schema_version: u32,
    /// What it holds.
    pub inventory: Inventory,
}

impl Expected {
    /// Of this build: a file that a test makes of a freshly migrated database, and keeps true.
    ///
    /// # Errors
    /// Never: the file is part of the build, and a test reads it.
    pub fn of_this_build() -> Result<&'static Self, serde_json::Error> {
        static READ: OnceLock<Expected> = OnceLock::new();
        if let Some(read) = READ.get() {
            return Ok(read);
        }
        let read = serde_json::from_str(include_str!("expected.json"))?;
        Ok(READ.get_or_init(|| read))
    }
}
