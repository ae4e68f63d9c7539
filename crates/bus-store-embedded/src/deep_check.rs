//! The deep check: whether index and folder say the same. What the bodies hold is for
//! [`StoreExt::verify`](bus_store::StoreExt::verify), which reads them all.

use std::{fs, path::PathBuf};

use bus_model::{MessageKey, MessageStatus};
use bus_store::{StoreError, StoreErrorKind};

use crate::{
    core::Core,
    read::{manifest, places},
    rows::{self, BodyPlace, MessageRow, Place, Raw},
};

/// Rows looked at in one go.
const BATCH: u32 = 500;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreIssue {
    /// SQLite finds the index itself damaged.
    #[error("the index is damaged: {0}")]
    Index(String),
    /// The rows of a message are damaged.
    #[error("{0}")]
    Rows(String),
    /// A complete message without its body.
    #[error("message {0}: its body file is missing")]
    MissingBody(MessageKey),
    /// A complete message whose body lacks its end.
    #[error("message {key}: its body has {size} bytes, at least {needed} are needed")]
    ShortBody {
        /// Which message.
        key: MessageKey,
        /// Bytes that are there.
        size: u64,
        /// Bytes that its chunks need.
        needed: u64,
    },
    /// A file that belongs to no message; the next purge removes it where it is a body.
    #[error("the file {} belongs to no message: bus purge removes it where it is a body", .0.display())]
    UnknownFile(PathBuf),
}

impl StoreIssue {
    /// Whether reading the message that it is about shows it too.
    pub(crate) fn is_of_a_readable_message(&self) -> bool {
        matches!(self, Self::MissingBody(_) | Self::ShortBody { .. })
    }
}

/// What a deep check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeepCheck {
    /// Messages of any status and any principal that were looked at.
    pub messages: u64,
    /// All that is wrong; empty where the store is sound.
    pub issues: Vec<StoreIssue>,
}

impl Core {
    /// See [`EmbeddedStore::deep_check`](crate::EmbeddedStore::deep_check).
    pub(crate) fn deep_check(&self) -> Result<DeepCheck, StoreError> {
        let mut found = DeepCheck::default();
        let index = self.index.integrity().and_then(|lines| {
            found
                .issues
                .extend(lines.into_iter().map(StoreIssue::Index));
            self.check_rows(&mut found)?;
            self.check_files(&mut found)
        });
        match index {
            Err(error) if error.kind() == StoreErrorKind::Damaged => {
                found.issues.push(StoreIssue::Index(error.to_string()));
                Ok(found)
            }
            other => other.map(|()| found),
        }
    }

    fn check_rows(&self, found: &mut DeepCheck) -> Result<(), StoreError> {
        let mut after = i64::MIN;
        loop {
            let batch = self.index.read(|conn| rows::page(conn, after, BATCH))?;
            let Some(last) = batch.last() else {
                return Ok(());
            };
            after = last.num;
            found.messages += batch.len() as u64;
            for Raw { row, .. } in batch {
                match row {
                    Ok(row) => found.issues.extend(self.check_row(&row)?),
                    Err(error) => found.issues.push(StoreIssue::Rows(error.to_string())),
                }
            }
        }
    }

    fn check_row(&self, row: &MessageRow) -> Result<Option<StoreIssue>, StoreError> {
        if row.record.status != MessageStatus::Complete {
            return Ok(None);
        }
        let id = row.record.id;
        let looked_up = self.index.read(|conn| {
            // It may have been deleted since its page was read.
            let Some(row) = rows::by_id(conn, id)? else {
                return Ok(None);
            };
            let places = places(conn, &row)?;
            manifest(&row, &places)?;
            let inline = rows::inline_body(conn, row.num)?.map(|body| body.len() as u64);
            Ok(Some((places, inline)))
        });
        let (places, inline) = match looked_up {
            Ok(None) => return Ok(None),
            Ok(Some(looked_up)) => looked_up,
            Err(error) if error.kind() == StoreErrorKind::Damaged => {
                return Ok(Some(StoreIssue::Rows(error.to_string())));
            }
            Err(error) => return Err(error),
        };
        let needed = places.values().map(Place::end).max().unwrap_or(0);
        let size = match row.body {
            BodyPlace::File => self.bodies.open(id)?.map(|file| file.len()).transpose()?,
            BodyPlace::Inline => inline,
            BodyPlace::Nowhere => None,
        };
        let key = row.record.key();
        Ok(match size {
            Some(size) if size < needed => Some(StoreIssue::ShortBody { key, size, needed }),
            Some(_) => None,
            None if self.index.read(|conn| rows::by_id(conn, id))?.is_none() => None,
            None => Some(StoreIssue::MissingBody(key)),
        })
    }

    fn check_files(&self, found: &mut DeepCheck) -> Result<(), StoreError> {
        self.bodies.walk(|file| {
            let path = match file {
                Err(path) => path.to_owned(),
                Ok(id) => {
                    let expected = self
                        .index
                        .read(|conn| Ok(rows::is_known(conn, id)? || rows::is_trash(conn, id)?))?;
                    if expected {
                        return Ok(());
                    }
                    self.bodies.path(id)
                }
            };
            // A file that was on its way out may be gone by now.
            if fs::exists(&path).unwrap_or(true) {
                found.issues.push(StoreIssue::UnknownFile(path));
            }
            Ok(())
        })
    }
}
