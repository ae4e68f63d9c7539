//! User preferences.

use async_trait::async_trait;
use bus_model::Principal;
use bus_store::{
    StoreError,
    records::{
        MAX_PREFERENCE_PAGE, Preference, PreferenceName, PreferencePage, PreferenceQuery,
        PreferenceValue, Preferences, check_preference, no_such_preference, page_limit,
    },
};
use chrono::{DateTime, Utc};
use rusqlite::{Row, params};

use super::{Bad, EmbeddedRecords, checked, cut, rows, time};
use crate::error::sqlite;

#[async_trait]
impl Preferences for EmbeddedRecords {
    async fn get(
        &self,
        principal: &Principal,
        name: &PreferenceName,
    ) -> Result<Preference, StoreError> {
        let (principal, name) = (principal.clone(), name.clone());
        self.read(move |conn| {
            let found = rows(
                conn,
                "SELECT name, value, updated_ms FROM user_preferences \
                 WHERE principal = ?1 AND name = ?2",
                (principal.as_str(), name.as_str()),
                "a preference",
                parse,
            )?;
            let mut found = found.into_iter();
            found.next().ok_or_else(|| no_such_preference(&name))
        })
        .await
    }

    async fn set(
        &self,
        principal: &Principal,
        name: &PreferenceName,
        value: &PreferenceValue,
    ) -> Result<DateTime<Utc>, StoreError> {
        check_preference(name, value)?;
        let (principal, name, value) = (principal.clone(), name.clone(), value.clone());
        self.write(move |transaction, now| {
            let at = now.timestamp_millis();
            transaction
                .execute(
                    "INSERT INTO user_preferences (principal, name, value, updated_ms) \
                     VALUES (?1, ?2, ?3, ?4) ON CONFLICT (principal, name) \
                     DO UPDATE SET value = excluded.value, updated_ms = excluded.updated_ms",
                    params![principal.as_str(), name.as_str(), value.as_json(), at],
                )
                .map_err(|error| sqlite("set a preference", error))?;
            Ok(now)
        })
        .await
    }

    async fn delete(&self, principal: &Principal, name: &PreferenceName) -> Result<(), StoreError> {
        let (principal, name) = (principal.clone(), name.clone());
        self.write_to_free(move |transaction, _| {
            let removed = transaction
                .execute(
                    "DELETE FROM user_preferences WHERE principal = ?1 AND name = ?2",
                    (principal.as_str(), name.as_str()),
                )
                .map_err(|error| sqlite("delete a preference", error))?;
            if removed == 0 {
                return Err(no_such_preference(&name));
            }
            Ok(())
        })
        .await
    }

    async fn list(&self, query: &PreferenceQuery) -> Result<PreferencePage, StoreError> {
        let limit = page_limit(query.limit, MAX_PREFERENCE_PAGE)?;
        let query = query.clone();
        self.read(move |conn| {
            let after = query.after.as_ref().map_or("", |after| after.as_str());
            let mut preferences = rows(
                conn,
                "SELECT name, value, updated_ms FROM user_preferences \
                 WHERE principal = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
                params![query.principal.as_str(), after, limit + 1],
                "a preference",
                parse,
            )?;
            let next = cut(&mut preferences, limit, |p| p.name.clone());
            Ok(PreferencePage { preferences, next })
        })
        .await
    }
}

fn parse(row: &Row<'_>) -> Result<Preference, Bad> {
    let json: String = row.get(1)?;
    Ok(Preference {
        name: checked(row, 0)?,
        value: PreferenceValue::new(json).map_err(|error| Bad(error.to_string()))?,
        updated_at: time(row, 2)?,
    })
}
