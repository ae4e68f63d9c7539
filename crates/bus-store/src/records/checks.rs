//! What every backend asks and answers in the same words.

use super::{AuditEntry, ConversationKey, MAX_AUDIT_BATCH, PreferenceName};
use crate::{StoreError, StoreErrorKind};

/// The number of records of a page that `limit` asks for, at most `most`.
///
/// # Errors
/// [`StoreErrorKind::InvalidInput`] for 0.
pub fn page_limit(limit: u32, most: u32) -> Result<usize, StoreError> {
    if limit == 0 {
        return Err(StoreError::new(
            StoreErrorKind::InvalidInput,
            "a page of 0 records is not legal: ask for at least 1",
        ));
    }
    Ok(limit.min(most) as usize)
}

/// Whether a batch is small enough.
///
/// # Errors
/// [`StoreErrorKind::InvalidInput`] above [`MAX_AUDIT_BATCH`].
pub fn check_batch(entries: &[AuditEntry]) -> Result<(), StoreError> {
    if entries.len() <= MAX_AUDIT_BATCH {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::InvalidInput,
        format!(
            "{} audit entries at once are too many: append at most {MAX_AUDIT_BATCH}",
            entries.len()
        ),
    ))
}

/// The error for an entry that is not there, or not for this principal.
#[must_use]
pub fn no_such_entry(key: &ConversationKey, sequence: u64) -> StoreError {
    not_found(format!(
        "no entry {sequence} in the conversation {}",
        key.conversation_id
    ))
}

/// The error for a conversation that is not there, or not for this principal.
#[must_use]
pub fn no_such_conversation(key: &ConversationKey) -> StoreError {
    not_found(format!("no conversation {}", key.conversation_id))
}

/// The error for a preference that is not there.
#[must_use]
pub fn no_such_preference(name: &PreferenceName) -> StoreError {
    not_found(format!("no preference {name} is set"))
}

fn not_found(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, message)
}
