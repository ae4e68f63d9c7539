//! What goes wrong between bus and a project, on real servers: each fault is really made, by a proxy, by killing
//! servers, by breaking schemas and disks. Only what no server here can be made to show is answered by the gateway.
//!
//! After every fault the same holds, and every scenario looks at it: the error says of which kind it is, whether to try
//! again and what to do, and holds no secret; a message is whole and byte for byte the same, or it is not there; no
//! chunk lies about without its message; the same call made again, or a new publish, succeeds.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test says by its panic what failed"
)]

mod answers;
mod damage;
mod database;
mod disk;
mod download;
mod hang;
mod keys;
mod kit;
mod limits;
mod restart;
mod schema;
mod takeover;
mod upload;
mod writers;
