//! Removing: `delete`, `purge`, and what crashes left.
//!
//! A message's row and the note that its file must go change in one transaction; then the file is
//! removed; then the note. A crash between two of them is finished by the next open or purge.

use bus_model::{MessageId, MessageKey};
use bus_store::{PurgeOptions, PurgeReport, StoreError};
use chrono::{DateTime, Utc};
use rusqlite::Connection;

use crate::{
    Step,
    bodies::{BodyFile, Claimed},
    core::Core,
    error::not_found,
    rows::{self, BodyPlace, MessageRow, Raw},
};

/// Free pages of the index that one purge gives back: 16 MiB.
const SHRINK_PAGES: u32 = 4096;

/// What one transaction of a purge removed.
#[derive(Default)]
struct Removed {
    report: PurgeReport,
    /// Messages whose files are to be removed.
    files: Vec<MessageId>,
    /// The locks on the files of dead writers, held until the files are gone.
    locks: Vec<BodyFile>,
}

impl Core {
    /// See [`Store::delete`](bus_store::Store::delete).
    pub(crate) fn delete(&self, key: &MessageKey) -> Result<(), StoreError> {
        let row = self.index.write_to_free(|transaction| {
            let row =
                rows::by_key(transaction, key)?.ok_or_else(|| not_found(&key.transaction_id))?;
            rows::remove(transaction, row.record.id, row.body == BodyPlace::File)?;
            Ok(row)
        })?;
        self.done(Step::RowDeleted);
        self.uploads.forget_id(row.record.id);
        if row.body == BodyPlace::File {
            self.remove_files_or_later(&[row.record.id]);
        }
        Ok(())
    }

    /// See [`Store::purge`](bus_store::Store::purge). The last batch also removes files that no
    /// row knows and gives free pages of the index back.
    pub(crate) fn purge(&self, options: &PurgeOptions) -> Result<PurgeReport, StoreError> {
        self.empty_trash()?;
        let now = self.now();
        let removed = self
            .index
            .write_to_free(|transaction| self.purge_rows(transaction, options, now))?;
        if removed.report.removed() > 0 {
            self.done(Step::RowDeleted);
        }
        let mut report = removed.report;
        self.remove_files(&removed.files)?;
        drop(removed.locks);
        if !report.more {
            report.freed_bytes += self.remove_strays()?;
            self.forget_deleted(now)?;
            self.index.tidy(SHRINK_PAGES);
        }
        Ok(report)
    }

    /// Lets go of uploads of this process that nobody writes any more and that another process has
    /// deleted: nothing else would ever close their files.
    fn forget_deleted(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        for upload in self.uploads.all() {
            let (id, fence) = (upload.row.record.id, upload.row.fence);
            if upload.lease_until() <= now
                && !self.index.read(|conn| rows::holds(conn, id, fence))?
            {
                self.uploads.forget(&upload);
            }
        }
        Ok(())
    }

    fn purge_rows(
        &self,
        conn: &Connection,
        options: &PurgeOptions,
        now: DateTime<Utc>,
    ) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        let left = |removed: &Removed| {
            let done = u32::try_from(removed.report.removed()).unwrap_or(u32::MAX);
            options.limit.saturating_sub(done)
        };
        for raw in rows::due_complete(conn, now, left(&removed))? {
            removed.take(conn, raw)?;
            removed.report.expired += 1;
        }
        for raw in rows::due_failed(conn, now, left(&removed))? {
            removed.take(conn, raw)?;
            removed.report.failed += 1;
        }
        if let Some(grace) = options.acknowledged_after {
            for raw in rows::due_acknowledged(conn, now, grace, left(&removed))? {
                removed.take(conn, raw)?;
                removed.report.acknowledged += 1;
            }
        }
        // Some of these are alive, so more than what is left are looked at.
        for raw in rows::due_pending(conn, now, u32::MAX)? {
            if left(&removed) == 0 {
                break;
            }
            if let Some(bytes) = self.abandoned(conn, &raw, now, &mut removed.locks)? {
                removed.take(conn, raw)?;
                removed.report.orphaned += 1;
                removed.report.freed_bytes += bytes;
            }
        }
        removed.report.more = left(&removed) == 0;
        Ok(removed)
    }

    /// The stored bytes that an upload whose lease is over has left, as far as they are known, if
    /// its writer is gone.
    fn abandoned(
        &self,
        conn: &Connection,
        raw: &Raw,
        now: DateTime<Utc>,
        locks: &mut Vec<BodyFile>,
    ) -> Result<Option<u64>, StoreError> {
        let id = MessageId::from(raw.id);
        let ours = self.uploads.get(id);
        if let (Some(upload), Ok(row)) = (ours, &raw.row)
            && upload.row.fence == row.fence
        {
            if upload.take_if_abandoned(now).is_none() {
                return Ok(None);
            }
            self.uploads.forget(&upload);
            return Ok(Some(upload.stored_bytes()));
        }
        match self.bodies.claim(id)? {
            Claimed::Held => Ok(None),
            Claimed::Missing => Ok(Some(0)),
            Claimed::Ours(file) => {
                locks.push(file);
                let known = rows::chunk_places(conn, raw.num, 0..u32::MAX)?;
                Ok(Some(known.values().map(|chunk| chunk.len).sum()))
            }
        }
    }

    /// Removes body files that no row knows; the bytes freed. The row of an upload is there before
    /// its file, so a file without one is nobody's; only one that somebody still holds is left to
    /// the next purge.
    fn remove_strays(&self) -> Result<u64, StoreError> {
        let mut freed = 0;
        self.bodies.walk(|found| {
            let Ok(id) = found else { return Ok(()) };
            if self.index.read(|conn| rows::is_known(conn, id))? {
                return Ok(());
            }
            if let Claimed::Ours(_lock) = self.bodies.claim(id)?
                && !self.index.read(|conn| rows::is_known(conn, id))?
            {
                freed += self.bodies.remove(id)?.unwrap_or(0);
            }
            Ok(())
        })?;
        Ok(freed)
    }
}

impl Removed {
    /// Removes one row. One that cannot be read is removed as well: its file, if any, is then a
    /// stray.
    fn take(&mut self, conn: &Connection, raw: Raw) -> Result<(), StoreError> {
        let id = MessageId::from(raw.id);
        let has_file = raw.row.as_ref().is_ok_and(has_file);
        rows::remove(conn, id, has_file)?;
        if has_file {
            self.files.push(id);
        }
        let stored = raw.row.ok().and_then(|r| r.record.compressed_size_bytes);
        self.report.freed_bytes += stored.unwrap_or(0);
        Ok(())
    }
}

fn has_file(row: &MessageRow) -> bool {
    row.body == BodyPlace::File
}
