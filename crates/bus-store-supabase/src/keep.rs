//! Keeping: stamps, deletes, the purge.

use bus_model::MessageKey;
use bus_store::{PurgeOptions, PurgeReport, StoreError};
use chrono::{DateTime, Utc};

use crate::{
    errors::Call,
    read::found,
    row::{self, Answer, KeyRow, KeysRow, PurgeRow, PurgedRow, lacking},
    rpc::PATIENT,
    store::Core,
};

const ACKNOWLEDGE: &str = "bus_acknowledge";
const DELETE: &str = "bus_delete";
/// The most keys that are touched in one call.
const TOUCHED: usize = 500;

impl Core {
    pub(crate) async fn touch(&self, keys: &[MessageKey]) -> Result<(), StoreError> {
        for keys in keys.chunks(TOUCHED) {
            let _: Answer = self.http.call("bus_touch", &KeysRow::of(keys)).await?;
        }
        Ok(())
    }

    pub(crate) async fn acknowledge(&self, key: &MessageKey) -> Result<DateTime<Utc>, StoreError> {
        let mut answer: Answer = self.http.call(ACKNOWLEDGE, &KeyRow::of(key)).await?;
        found(ACKNOWLEDGE, key, &mut answer)?;
        let stamp = answer.acknowledged_ms;
        row::time(stamp.ok_or_else(|| lacking(Call::of(ACKNOWLEDGE), "its time"))?)
    }

    pub(crate) async fn delete(&self, key: &MessageKey) -> Result<(), StoreError> {
        let mut answer: Answer = self.http.call(DELETE, &KeyRow::of(key)).await?;
        found(DELETE, key, &mut answer)
    }

    pub(crate) async fn purge(&self, options: &PurgeOptions) -> Result<PurgeReport, StoreError> {
        let request = PurgeRow::of(options);
        let row: PurgedRow = self
            .http
            .call_for("bus_purge", &request, Some(PATIENT))
            .await?;
        Ok(row.into())
    }
}
