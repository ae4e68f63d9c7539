//! The embedded store of bus: files beside a SQLite index, in a folder of the local file system.
//! No server, no settings; several processes may share it.
//!
//! ```
//! use bus_store::{Store as _, StoreExt as _};
//! use bus_store_embedded::EmbeddedStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), bus_store::StoreError> {
//! # let folder = tempfile::tempdir().expect("a temporary folder");
//! # let folder = folder.path().join("store");
//! let store = EmbeddedStore::open(&folder)?;
//! store.check().await?;
//! assert_eq!(store.stats().await?.complete, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # The folder
//!
//! | what | holds |
//! |---|---|
//! | `index.sqlite` (with `-wal` and `-shm`) | a row a message, a row a chunk, small bodies, the trash list; the audit log, conversation history and preferences |
//! | `bodies/<2 hex>/<id>.body` | the stored chunks of one message, in the order in which they arrived |
//! | `reserve` | 256 KiB of zeros, given up when the disk is full so that there is room to delete |
//!
//! It belongs to one user (modes 0700 and 0600). It must be on a local file system: neither SQLite's
//! shared memory nor the locks below work across a network.
//!
//! # What is durable when
//!
//! The order is the whole of the crash safety, so it is written down here, reported step by step
//! to [`Options::on_step`], and tested, also by killing a process after each [`Step`].
//!
//! 1. **Begin.** The pending row is committed (SQLite's WAL with `synchronous=FULL` syncs it). Only
//!    then the body file is made, so no crash leaves a file that no row knows.
//! 2. **Chunks** are appended; nothing is synced. After [`Options::checkpoint_bytes`] the file is
//!    synced, then its folder (once), then the chunk rows are committed. A chunk row therefore
//!    always means bytes that are on the disk, and a killed upload can be resumed from there.
//! 3. **Commit.** The file is synced, its folder too unless that was done, then one transaction
//!    writes all chunk rows and makes the message complete.
//! 4. **Removal.** One transaction deletes the row and puts the id on the trash list; then the file is
//!    unlinked; then the list forgets it. Open and purge finish what a crash left of that.
//!
//! A message that arrives whole and has at most [`Options::inline_bytes`] is one transaction, its body
//! inside the index. Those that wait for the writer at the same moment share that transaction, and
//! so one sync.
//!
//! # Who is alive
//!
//! A writer holds an exclusive lock on its body file from its making on. The system drops it with
//! the process, however that ends; a process that is merely stopped keeps it. So for another process
//! an upload is abandoned only when its lease is over *and* its lock is free. (Between its row and
//! its file there is no lock yet: a writer that stops just there for longer than its lease loses
//! the upload, and is told so.) Within a
//! process leases alone decide, since a call that was dropped leaves no other trace: whoever holds
//! an upload longer than its lease without a word loses it to the next `begin` or `purge`.
//! Chunks start the lease anew in memory; the index hears of it once a quarter has gone by, so
//! other processes may see a `lease_expires_at` that lags by that much.
//!
//! A resuming writer is offered only chunks whose bytes still match their digests: they are all
//! read again, one in memory at a time, which costs less than writing them again.
//!
//! # Formats
//!
//! The header of the index says its format. Format 2 added the tables of the records beside messages;
//! an index of format 1 gets them when it is first opened for writing, in one transaction, and is then
//! refused by an older bus. Opened for reading only it stays as it is, and holds no such records.
//!
//! # Damage
//!
//! Rows are checked against the digest of the manifest whenever a message is opened, bodies for
//! their length when they are read, their content by whoever reads. Each finding names its message
//! and leaves the rest alone. [`StoreExt::verify`](bus_store::StoreExt::verify) reads every body;
//! [`EmbeddedStore::deep_check`] compares index and folder. A folder that may not be written is
//! opened for reading.

mod begin;
mod bodies;
mod core;
mod deep_check;
mod error;
mod index;
mod options;
mod put;
mod read;
mod records;
mod reserve;
mod rows;
mod store;
mod sweep;
mod upload;
mod uploads;

pub use deep_check::{DeepCheck, StoreIssue};
pub use options::{Options, Step, StepHook};
pub use records::EmbeddedRecords;
pub use store::EmbeddedStore;
