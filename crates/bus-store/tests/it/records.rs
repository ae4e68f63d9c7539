//! The reference of the records keeps their contracts, and no case of their suite is forgotten.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use bus_store::{
    Clock as _, ManualClock, Records,
    records::{
        MemoryRecords,
        conformance::{RecordsHarness, records_cases},
    },
};
use chrono::{DateTime, Utc};

struct Memory {
    clock: Arc<ManualClock>,
    records: MemoryRecords,
}

impl RecordsHarness for Memory {
    fn records(&self) -> Records {
        self.records.records()
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

async fn memory() -> Memory {
    let clock = Arc::new(ManualClock::default());
    let records = MemoryRecords::with_clock(Arc::clone(&clock) as _);
    Memory { clock, records }
}

bus_store::records_conformance_suite!(memory);

/// Every case that is written is in the list, once.
#[test]
fn every_case_of_the_records_is_in_the_list() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/records/conformance");
    let mut written = BTreeSet::new();
    for file in fs::read_dir(folder).expect("the folder of the suite") {
        let path = file.expect("a file of the suite").path();
        let source = fs::read_to_string(path).expect("a source of the suite");
        let names = source
            .lines()
            .filter_map(|line| line.strip_prefix("pub async fn "))
            .filter_map(|line| line.split_once('('));
        written.extend(names.map(|(name, _)| name.to_owned()));
    }
    let listed: Vec<_> = records_cases()
        .iter()
        .map(|case| case.name.to_owned())
        .collect();
    assert_eq!(listed.len(), written.len());
    assert_eq!(BTreeSet::from_iter(listed), written);
}
