//! The suite itself: that no case is forgotten.

use std::{collections::BTreeSet, fs, path::Path};

use bus_store::conformance::cases;

/// Every case that is written is in the list, once.
#[test]
fn every_case_is_in_the_list() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance");
    let mut written = BTreeSet::new();
    for file in fs::read_dir(folder).expect("the folder of the suite") {
        let path = file.expect("a file of the suite").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(path).expect("a source of the suite");
            let names = source
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn "))
                .filter_map(|line| line.split_once('('));
            written.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
    let listed: Vec<_> = cases().iter().map(|case| case.name.to_owned()).collect();
    assert_eq!(
        listed.len(),
        written.len(),
        "a case is listed twice, or not at all"
    );
    assert_eq!(BTreeSet::from_iter(listed), written);
}
