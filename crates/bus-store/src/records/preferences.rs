//! [`Preferences`]: JSON values of a principal, by name.

use std::fmt;

use async_trait::async_trait;
use bus_model::Principal;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{names::PreferenceName, timezone::Timezone};
use crate::{StoreError, StoreErrorKind};

/// The name of the one typed preference: a JSON string that holds an IANA timezone name.
pub const TIMEZONE: &str = "timezone";

/// Largest value, in bytes of JSON.
pub const MAX_PREFERENCE_BYTES: usize = 64 << 10;

/// Most preferences of one page; a larger limit is cut to it.
pub const MAX_PREFERENCE_PAGE: u32 = 100;

/// Preferences: the last value set under a name stands.
#[async_trait]
pub trait Preferences: fmt::Debug + Send + Sync + 'static {
    /// One preference.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`].
    async fn get(
        &self,
        principal: &Principal,
        name: &PreferenceName,
    ) -> Result<Preference, StoreError>;

    /// Sets a preference, whatever was there before; when, by the store's clock.
    ///
    /// # Errors
    /// [`StoreErrorKind::InvalidInput`] for a [`TIMEZONE`] that is none.
    async fn set(
        &self,
        principal: &Principal,
        name: &PreferenceName,
        value: &PreferenceValue,
    ) -> Result<DateTime<Utc>, StoreError>;

    /// Removes a preference.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`].
    async fn delete(&self, principal: &Principal, name: &PreferenceName) -> Result<(), StoreError>;

    /// A page of a principal's preferences, by name.
    ///
    /// # Errors
    /// [`StoreErrorKind::InvalidInput`] for a limit of 0.
    async fn list(&self, query: &PreferenceQuery) -> Result<PreferencePage, StoreError>;
}

/// Typed access to preferences; every [`Preferences`] has it.
#[async_trait]
pub trait PreferencesExt: Preferences {
    /// The principal's timezone, where it has set one.
    ///
    /// # Errors
    /// What the store says; [`StoreErrorKind::Damaged`] where what is stored is no timezone.
    async fn timezone(&self, principal: &Principal) -> Result<Option<Timezone>, StoreError> {
        match self.get(principal, &timezone_name()?).await {
            Ok(preference) => timezone_of(&preference.value).map(Some).map_err(|error| {
                let what = "the timezone that is stored is none: set it again";
                StoreError::new(StoreErrorKind::Damaged, what).with_source(error)
            }),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the principal's timezone; when, by the store's clock.
    ///
    /// # Errors
    /// What the store says.
    async fn set_timezone(
        &self,
        principal: &Principal,
        timezone: Timezone,
    ) -> Result<DateTime<Utc>, StoreError> {
        let value = PreferenceValue::text(timezone.name())?;
        self.set(principal, &timezone_name()?, &value).await
    }
}

impl<T: Preferences + ?Sized> PreferencesExt for T {}

fn timezone_name() -> Result<PreferenceName, StoreError> {
    PreferenceName::new(TIMEZONE).map_err(|error| {
        StoreError::new(StoreErrorKind::Internal, "the typed name is not legal").with_source(error)
    })
}

/// Whether `value` may stand under `name`; every store asks before it writes.
///
/// # Errors
/// [`StoreErrorKind::InvalidInput`] for a [`TIMEZONE`] that is none.
pub fn check_preference(name: &PreferenceName, value: &PreferenceValue) -> Result<(), StoreError> {
    if name.as_str() == TIMEZONE {
        timezone_of(value)?;
    }
    Ok(())
}

fn timezone_of(value: &PreferenceValue) -> Result<Timezone, StoreError> {
    let Ok(text) = serde_json::from_str::<String>(value.as_json()) else {
        let shown: String = value.as_json().chars().take(80).collect();
        return Err(StoreError::new(
            StoreErrorKind::InvalidInput,
            format!("the timezone {shown} is not a JSON string such as \"Europe/Berlin\""),
        ));
    };
    text.parse()
        .map_err(|error| StoreError::new(StoreErrorKind::InvalidInput, format!("{error}")))
}

/// A JSON value, kept exactly as it was written: the order of keys, duplicate ones, `1.0`, escapes
/// and white space inside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PreferenceValue(Box<str>);

impl PreferenceValue {
    /// Checks `json`.
    ///
    /// # Errors
    /// [`StoreErrorKind::InvalidInput`] where it is not one JSON value;
    /// [`StoreErrorKind::TooLarge`] above [`MAX_PREFERENCE_BYTES`].
    pub fn new(json: impl Into<Box<str>>) -> Result<Self, StoreError> {
        let json = json.into();
        if json.len() > MAX_PREFERENCE_BYTES {
            return Err(StoreError::new(
                StoreErrorKind::TooLarge,
                format!(
                    "the value has {} bytes, a preference takes at most {MAX_PREFERENCE_BYTES}",
                    json.len()
                ),
            ));
        }
        serde_json::from_str::<&RawValue>(&json).map_err(|error| {
            let shown: String = json.chars().take(80).collect();
            StoreError::new(
                StoreErrorKind::InvalidInput,
                format!("{shown:?} is not a JSON value; a text needs its quotes"),
            )
            .with_source(error)
        })?;
        Ok(Self(json))
    }

    /// A JSON string that holds `text`.
    ///
    /// # Errors
    /// [`StoreErrorKind::TooLarge`] above [`MAX_PREFERENCE_BYTES`].
    pub fn text(text: &str) -> Result<Self, StoreError> {
        Self::new(serde_json::Value::from(text).to_string())
    }

    /// The JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PreferenceValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for PreferenceValue {
    /// The value itself, not a text that holds it; as it was written, where the format is JSON.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PreferenceValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::new(raw.get()).map_err(serde::de::Error::custom)
    }
}

/// A preference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preference {
    /// Its name.
    pub name: PreferenceName,
    /// Its value.
    pub value: PreferenceValue,
    /// When it was set, by the store's clock.
    pub updated_at: DateTime<Utc>,
}

/// Which preferences to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferenceQuery {
    /// Whose.
    pub principal: Principal,
    /// Only those whose name sorts after this one, byte by byte.
    pub after: Option<PreferenceName>,
    /// At most this many.
    pub limit: u32,
}

impl PreferenceQuery {
    /// The first preferences of `principal`, 100 a page.
    #[must_use]
    pub fn new(principal: Principal) -> Self {
        Self {
            principal,
            after: None,
            limit: 100,
        }
    }
}

/// A page of preferences, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PreferencePage {
    /// The preferences.
    pub preferences: Vec<Preference>,
    /// What to go on after; `None` where there is no more.
    pub next: Option<PreferenceName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_as_it_was_written() {
        for json in [
            "{\"b\":1,\"a\":1.0, \"b\" : 2}",
            "1e400",
            "\"\\ud800 \\u0000\"",
            "null",
        ] {
            let value = PreferenceValue::new(json).unwrap();
            assert_eq!(value.as_json(), json);
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            let back: PreferenceValue = serde_json::from_str(json).unwrap();
            assert_eq!(back, value);
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in ["", "dark", "{", "1 2", "'x'", "NaN"] {
            let error = PreferenceValue::new(bad).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::InvalidInput, "{bad}");
        }
        let long = format!("\"{}\"", "x".repeat(MAX_PREFERENCE_BYTES));
        let error = PreferenceValue::new(long).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::TooLarge);
    }

    #[test]
    fn only_the_timezone_is_typed() {
        let name = |text| PreferenceName::new(text).unwrap();
        let value = |json: &str| PreferenceValue::new(json).unwrap();
        assert!(check_preference(&name("timezone2"), &value("7")).is_ok());
        assert!(check_preference(&name(TIMEZONE), &value("\"Europe/Berlin\"")).is_ok());
        for bad in ["7", "\"Berlin\"", "null", "\"europe/berlin\""] {
            let error = check_preference(&name(TIMEZONE), &value(bad)).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::InvalidInput, "{bad}");
        }
    }
}
