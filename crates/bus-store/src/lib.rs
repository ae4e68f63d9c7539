//! The Store contract of bus: where payloads wait until their claims are redeemed.
//!
//! [`Store`] is small, object-safe and in chunks, so that streaming, resume, ranges and
//! parallelism come for free. Its semantics (atomicity, idempotency, what a reader may see) are in
//! the docs of its methods; `conformance` holds them as tests that every backend runs.
//!
//! | module | holds |
//! |---|---|
//! | [`contract`] | the [`Store`] trait |
//! | [`types`] | what goes into it and comes out |
//! | [`error`] | [`StoreError`] |
//! | [`clock`] | the clock that a store judges leases and expiry by |
//! | [`ext`] | conveniences made of the contract |
//! | [`records`] | the contracts beside messages: audit log, conversation history, preferences |
//! | `memory` (feature) | the in-memory reference |
//! | `conformance` (feature) | the suite and the model test, for a backend's tests |
//! | `mock` (feature) | `MockStore`, for faults that a real store cannot be made to show |

pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod contract;
pub mod error;
pub mod ext;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "mock")]
pub mod mock;
pub mod records;
pub mod types;

pub use clock::{Clock, ManualClock, SystemClock};
pub use contract::{ChunkStream, READ_GRACE, Store};
pub use error::{StoreError, StoreErrorKind};
pub use ext::{StoreExt, VerifyIssue, VerifyReport};
#[cfg(feature = "memory")]
pub use memory::MemoryStore;
#[cfg(feature = "mock")]
pub use mock::MockStore;
pub use records::Records;
pub use types::{
    Begin, Capabilities, Cursor, DurableChunk, ListQuery, NewMessage, OpenMessage, Page, Plan,
    PurgeOptions, PurgeReport, PutOutcome, Stats, StoredChunk, Upload, UploadToken,
};
