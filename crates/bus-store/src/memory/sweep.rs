//! Purging.

use bus_model::{MessageKey, MessageStatus};
use chrono::{DateTime, Utc};

use super::{
    entry::{Entry, later},
    state::State,
};
use crate::{PurgeOptions, PurgeReport};

/// Why a message may go.
#[derive(Debug, Clone, Copy)]
enum Reason {
    Expired,
    Orphaned,
    Failed,
    Acknowledged,
}

impl State {
    pub(super) fn purge(&mut self, options: &PurgeOptions, now: DateTime<Utc>) -> PurgeReport {
        let due: Vec<(MessageKey, Reason)> = self
            .entries
            .iter()
            .filter_map(|(key, entry)| Some((key.clone(), reason(entry, options, now)?)))
            .take(options.limit as usize)
            .collect();
        let mut report = PurgeReport {
            more: due.len() as u64 >= u64::from(options.limit),
            ..PurgeReport::default()
        };
        for (key, reason) in due {
            report.freed_bytes += self.remove(&key).unwrap_or_default();
            match reason {
                Reason::Expired => report.expired += 1,
                Reason::Orphaned => report.orphaned += 1,
                Reason::Failed => report.failed += 1,
                Reason::Acknowledged => report.acknowledged += 1,
            }
        }
        report
    }
}

/// Why `entry` may go at `now`; `None` where it has to stay.
fn reason(entry: &Entry, options: &PurgeOptions, now: DateTime<Utc>) -> Option<Reason> {
    let record = &entry.record;
    match record.status {
        MessageStatus::Pending => entry.lease_left(now).is_none().then_some(Reason::Orphaned),
        MessageStatus::Error => (now >= record.expires_at).then_some(Reason::Failed),
        MessageStatus::Complete | MessageStatus::Expired if entry.grace_is_over(now) => {
            Some(Reason::Expired)
        }
        MessageStatus::Complete | MessageStatus::Expired => {
            let due = later(record.acknowledged_at?, options.acknowledged_after?);
            (now >= due).then_some(Reason::Acknowledged)
        }
    }
}
