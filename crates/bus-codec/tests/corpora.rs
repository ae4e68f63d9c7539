//! Replays the fuzz corpora: what a fuzzer once found stays found, wherever the tests run.

#[path = "../fuzz/src/checks.rs"]
mod checks;

use std::{fs, path::PathBuf};

use rstest::rstest;

/// A check that panics where something does not hold.
type Check = fn(&[u8]);

#[rstest]
#[case::manifest("manifest", checks::manifest)]
#[case::decode_zstd("decode_zstd", checks::decode_zstd)]
#[case::decode_gzip("decode_gzip", checks::decode_gzip)]
#[case::body("body", checks::body)]
fn the_corpus_holds(#[case] target: &str, #[case] check: Check) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files = 0;
    for file in fs::read_dir(&folder).unwrap() {
        let input = fs::read(file.unwrap().path()).unwrap();
        check(&input);
        // Cut anywhere it must hold as well.
        (0..input.len().min(300)).for_each(|len| check(&input[..len]));
        files += 1;
    }
    assert!(files >= 3, "the corpus of {target} has {files} files");
}
