//! The settings: the variables of the original under their names, and ours.
//!
//! Nothing is read before it is used. A setting that is not legal is a [`SettingsError`] that
//! names the variable, the value and what is allowed.

pub mod dotenv;
mod env;
mod parse;

use std::{fmt, path::PathBuf, time::Duration};

use bus_model::{ByteSize, CompressionType, Ttl};
use secrecy::{ExposeSecret as _, SecretString};

pub use self::env::Env;

/// Frames larger than this go by claim, unless a setting says otherwise: 1 MiB.
pub const DEFAULT_THRESHOLD_BYTES: u64 = 1_048_576;

/// A setting that is not legal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A variable has a value that is not allowed.
    #[error("{name}={value:?} is not allowed: {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value, or `[secret]`.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// A variable is missing that another one asks for.
    #[error("{missing} is not set, but {because} is: set both or neither")]
    Missing {
        /// The variable that is missing.
        missing: &'static str,
        /// The variable that asks for it.
        because: &'static str,
    },
    /// Neither `BUS_STORE_DIR` nor a home folder is known.
    #[error(
        "no folder for the embedded store: set BUS_STORE_DIR (neither XDG_DATA_HOME nor HOME is set)"
    )]
    NoStoreFolder,
    /// Supabase is asked for by name, and its address or its key is missing.
    #[error(
        "the Supabase store needs its address and its key: set SUPABASE_URL (or SUPABASE_PROJECT_ID) and SUPABASE_KEY"
    )]
    NoSupabase,
    /// The `.env` file cannot be read.
    #[error("the file .env in this folder cannot be read ({0}): correct it or take it away")]
    DotenvUnreadable(String),
    /// The `.env` file is malformed.
    #[error(transparent)]
    Dotenv(#[from] dotenv::DotenvError),
}

/// Where messages are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreSpec {
    /// The embedded store in this folder.
    Embedded(PathBuf),
    /// A Supabase project.
    Supabase(SupabaseSettings),
    /// In memory, for as long as the process lives.
    Memory,
}

/// As a person is told: `the folder DIR`, `Supabase at URL`, `memory`.
impl fmt::Display for StoreSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(dir) => write!(f, "the folder {}", dir.display()),
            Self::Supabase(project) => write!(f, "Supabase at {}", url_without_user(&project.url)),
            Self::Memory => f.write_str("memory"),
        }
    }
}

/// Address and key of a Supabase project.
#[derive(Clone)]
pub struct SupabaseSettings {
    /// `SUPABASE_URL`, or made of `SUPABASE_PROJECT_ID`.
    pub url: String,
    /// `SUPABASE_KEY`. A secret: not in `Debug`.
    pub key: SecretString,
    /// `BUS_SUPABASE_TOKEN`: the access token of a user to act as. A secret, too.
    pub token: Option<SecretString>,
}

impl PartialEq for SupabaseSettings {
    fn eq(&self, other: &Self) -> bool {
        let token = |of: &Self| of.token.as_ref().map(|t| t.expose_secret().to_owned());
        self.url == other.url
            && self.key.expose_secret() == other.key.expose_secret()
            && token(self) == token(other)
    }
}

impl Eq for SupabaseSettings {}

/// Whoever writes a password into an address does not want it in a log.
fn url_without_user(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest)
}

impl fmt::Debug for SupabaseSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupabaseSettings")
            .field("url", &url_without_user(&self.url))
            .field("key", &"[secret]")
            .field("token", &self.token.as_ref().map(|_| "[secret]"))
            .finish()
    }
}

/// `CIRCUIT_BREAKER_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// `CIRCUIT_BREAKER_ENABLED`.
    pub enabled: bool,
    /// `CIRCUIT_BREAKER_THRESHOLD`: consecutive failures that open it.
    pub threshold: u32,
    /// `CIRCUIT_BREAKER_TIMEOUT_SECS`: the longest open period.
    pub timeout: Duration,
}

/// Every setting of the client, checked. Sizes are bytes; 1 MB in a setting is 1,048,576 bytes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `MESSAGE_BUS_ENABLED`; `None` where it is not set.
    pub enabled: Option<bool>,
    /// `MESSAGE_BUS_TTL_HOURS` (48).
    pub ttl: Ttl,
    /// `MESSAGE_BUS_MAX_PAYLOAD_MB` (100).
    pub max_payload: ByteSize,
    /// `MESSAGE_BUS_COMPRESSION` (zstd).
    pub compression: CompressionType,
    /// `MESSAGE_BUS_CHECKSUM_ENABLED` (true); false skips only the whole-payload check on reading.
    pub checksum: bool,
    /// `BUS_THRESHOLD_BYTES` (1048576): larger frames go by claim.
    pub threshold_bytes: u64,
    /// `BUS_LEASE_SECS` (60): how long a writer may stay silent before its upload is given up.
    pub lease: Duration,
    /// `BUS_STORE_DIR` (`$XDG_DATA_HOME/bus`, else `$HOME/.local/share/bus`).
    pub store_dir: Option<PathBuf>,
    /// `SUPABASE_URL`, `SUPABASE_KEY`, `SUPABASE_PROJECT_ID`, where both address and key are set.
    pub supabase: Option<SupabaseSettings>,
    /// `CIRCUIT_BREAKER_*`.
    pub breaker: BreakerSettings,
    /// `FALLBACK_TO_WEBSOCKET` (true).
    pub fallback_to_websocket: bool,
}

impl Default for Settings {
    /// What holds where nothing is set. There is no folder for the embedded store.
    fn default() -> Self {
        Self {
            enabled: None,
            ttl: Ttl::default(),
            max_payload: ByteSize::mib(100),
            compression: CompressionType::Zstd,
            checksum: true,
            threshold_bytes: DEFAULT_THRESHOLD_BYTES,
            lease: Duration::from_secs(60),
            store_dir: None,
            supabase: None,
            breaker: BreakerSettings {
                enabled: true,
                threshold: 5,
                timeout: Duration::from_secs(60),
            },
            fallback_to_websocket: true,
        }
    }
}

impl Settings {
    /// The settings of the process: its environment, and `.env` in its folder for what the
    /// environment does not say.
    ///
    /// # Errors
    /// [`SettingsError`] for the first setting that is not legal.
    pub fn from_env() -> Result<Self, SettingsError> {
        let env = Env::load()?;
        Self::from_lookup(|name| env.get(name))
    }

    /// The settings that `lookup` gives. An empty value counts as not set.
    ///
    /// # Errors
    /// [`SettingsError`] for the first setting that is not legal.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        parse::settings(&|name| lookup(name).filter(|value| !value.trim().is_empty()))
    }

    /// Which store these settings select: Supabase where it is enabled and both its address and
    /// its key are set, else the embedded store.
    ///
    /// # Errors
    /// [`SettingsError::NoStoreFolder`].
    pub fn store_spec(&self) -> Result<StoreSpec, SettingsError> {
        if self.enabled == Some(true) && self.supabase.is_some() {
            return self.supabase_spec();
        }
        self.store_dir
            .clone()
            .map(StoreSpec::Embedded)
            .ok_or(SettingsError::NoStoreFolder)
    }

    /// The Supabase project that these settings name, whatever `MESSAGE_BUS_ENABLED` says.
    ///
    /// # Errors
    /// [`SettingsError::NoSupabase`].
    pub fn supabase_spec(&self) -> Result<StoreSpec, SettingsError> {
        self.supabase
            .clone()
            .map(StoreSpec::Supabase)
            .ok_or(SettingsError::NoSupabase)
    }
}
