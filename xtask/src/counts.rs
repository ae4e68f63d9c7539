//! Reading how many tests passed and failed from what the runners print.

use std::ops::AddAssign;

/// Tests that ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Adds up nextest's `Summary` line, or every `test result:` line of libtest where there is no such line.
///
/// Nextest shows the output of a failed test, which has a `test result:` line of its own; that must not count twice.
pub(crate) fn read(output: &str) -> Counts {
    let mut counts = Counts::default();
    let summary = output
        .lines()
        .rev()
        .find(|line| line.trim_start().starts_with("Summary ["));
    if let Some(summary) = summary {
        counts += from_line(summary);
        return counts;
    }
    for line in output
        .lines()
        .filter(|line| line.starts_with("test result:"))
    {
        counts += from_line(line);
    }
    counts
}

fn from_line(line: &str) -> Counts {
    let words: Vec<&str> = line
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let before = |label: &str| -> u64 {
        words
            .windows(2)
            .filter(|pair| pair[1] == label)
            .find_map(|pair| pair[0].parse().ok())
            .unwrap_or(0)
    };
    Counts {
        passed: before("passed"),
        // "1 timed out" and "1 exec failed" are failures too.
        failed: before("failed") + before("timed") + before("exec"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_closes_with_a_summary() {
        let output = "  Summary [   0.128s] 9 tests run: 8 passed (1 slow), 1 failed, 2 skipped\n";
        assert_eq!(
            read(output),
            Counts {
                passed: 8,
                failed: 1
            }
        );
    }

    #[test]
    fn a_test_that_timed_out_or_did_not_start_failed() {
        let output =
            "  Summary [ 1.0s] 5 tests run: 1 passed, 1 failed, 2 timed out, 1 exec failed\n";
        assert_eq!(
            read(output),
            Counts {
                passed: 1,
                failed: 4
            }
        );
    }

    #[test]
    fn libtest_prints_a_line_for_each_binary() {
        let output = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
                      test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured\n";
        assert_eq!(
            read(output),
            Counts {
                passed: 7,
                failed: 2
            }
        );
    }

    #[test]
    fn the_output_of_a_failed_test_does_not_count_twice() {
        let output = "test result: FAILED. 0 passed; 1 failed; 0 ignored\n\
                      Summary [ 0.1s] 9 tests run: 8 passed, 1 failed, 0 skipped\n";
        assert_eq!(
            read(output),
            Counts {
                passed: 8,
                failed: 1
            }
        );
    }
}
