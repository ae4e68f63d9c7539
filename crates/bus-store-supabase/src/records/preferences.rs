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

use super::{
    SupabaseRecords,
    row::{AfterNameRow, NameRow, OnePreferenceRow, PreferenceRow, PreferencesRow},
    strange,
};
use crate::row::{Outcome, time};

const GET: &str = "bus_prefs_get";
const SET: &str = "bus_prefs_set";
const DELETE: &str = "bus_prefs_delete";

#[async_trait]
impl Preferences for SupabaseRecords {
    async fn get(
        &self,
        principal: &Principal,
        name: &PreferenceName,
    ) -> Result<Preference, StoreError> {
        let row: OnePreferenceRow = self.call(GET, &named(principal, name)).await?;
        match (row.outcome, row.preference) {
            (Outcome::Ok, Some(preference)) => preference.into_preference(),
            (Outcome::NotFound, _) => Err(no_such_preference(name)),
            (outcome, _) => Err(strange(GET, outcome)),
        }
    }

    async fn set(
        &self,
        principal: &Principal,
        name: &PreferenceName,
        value: &PreferenceValue,
    ) -> Result<DateTime<Utc>, StoreError> {
        check_preference(name, value)?;
        let mut request = named(principal, name);
        request.value = Some(value.as_json());
        let row: OnePreferenceRow = self.call(SET, &request).await?;
        match (row.outcome, row.updated_ms) {
            (Outcome::Ok, Some(ms)) => time(ms),
            (outcome, _) => Err(strange(SET, outcome)),
        }
    }

    async fn delete(&self, principal: &Principal, name: &PreferenceName) -> Result<(), StoreError> {
        let row: OnePreferenceRow = self.call(DELETE, &named(principal, name)).await?;
        match row.outcome {
            Outcome::Ok => Ok(()),
            Outcome::NotFound => Err(no_such_preference(name)),
            outcome => Err(strange(DELETE, outcome)),
        }
    }

    async fn list(&self, query: &PreferenceQuery) -> Result<PreferencePage, StoreError> {
        let request = AfterNameRow {
            principal: &query.principal,
            after: query.after.as_ref(),
            limit: page_limit(query.limit, MAX_PREFERENCE_PAGE)?,
        };
        let row: PreferencesRow = self.call("bus_prefs_list", &request).await?;
        let listed = row.preferences.into_iter();
        let preferences = listed.map(PreferenceRow::into_preference);
        let preferences = preferences.collect::<Result<Vec<_>, _>>()?;
        let last = preferences.last().filter(|_| row.more);
        let next = last.map(|last| last.name.clone());
        Ok(PreferencePage { preferences, next })
    }
}

fn named<'a>(principal: &'a Principal, name: &'a PreferenceName) -> NameRow<'a> {
    NameRow {
        principal,
        name,
        value: None,
    }
}
