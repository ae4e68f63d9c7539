//! The verbs, one a file.

pub(crate) mod audit;
pub(crate) mod call;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod ls;
pub(crate) mod migrate;
pub(crate) mod prefs;
pub(crate) mod purge;
pub(crate) mod put;
pub(crate) mod rm;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod stats;
pub(crate) mod verify;
