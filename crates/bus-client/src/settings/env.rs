//! The environment of the process, with `.env` behind it.

use std::{collections::BTreeMap, fmt, io::ErrorKind, path::Path};

use super::{SettingsError, dotenv};

/// The variables of the process, and those of `.env` for what the process does not have.
///
/// May hold secrets, so `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Env {
    file: BTreeMap<String, String>,
}

impl Env {
    /// Reads `.env` in the process's folder, where there is one. Blocking, a small file.
    ///
    /// # Errors
    /// [`SettingsError`] where the file cannot be read or is malformed.
    pub fn load() -> Result<Self, SettingsError> {
        Self::load_file(Path::new(".env"))
    }

    /// The same, from another file.
    ///
    /// # Errors
    /// As [`Env::load`].
    pub fn load_file(path: &Path) -> Result<Self, SettingsError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self {
                file: dotenv::parse(&text)?,
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(SettingsError::DotenvUnreadable(error.to_string())),
        }
    }

    /// The value of `name`: the environment's, else the file's.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        match std::env::var_os(name) {
            // Not UTF-8: kept visible, so that parsing refuses it by name.
            Some(value) => Some(value.to_string_lossy().into_owned()),
            None => self.file.get(name).cloned(),
        }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("file", &self.file.keys())
            .finish()
    }
}
