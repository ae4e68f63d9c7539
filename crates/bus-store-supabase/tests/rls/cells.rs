//! A matrix is judged as a whole: every wrong cell is told at once.

/// The cells of a matrix so far.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    checked: usize,
    wrong: Vec<String>,
}

impl Cells {
    /// One cell; `what` says which, and what was found there.
    pub(crate) fn check(&mut self, right: bool, what: impl FnOnce() -> String) {
        self.checked += 1;
        if !right {
            self.wrong.push(what());
        }
    }

    pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(
        &mut self,
        found: &T,
        wanted: &T,
        what: impl FnOnce() -> String,
    ) {
        self.check(found == wanted, || {
            format!("{}: {found:?}, not {wanted:?}", what())
        });
    }

    /// Fails with all that is wrong. `at_least` keeps a matrix from becoming empty unnoticed.
    #[allow(
        clippy::print_stderr,
        reason = "the number of cells belongs to the report of a run"
    )]
    pub(crate) fn judge(self, at_least: usize) {
        let Self { checked, wrong } = self;
        eprintln!("{checked} cells");
        assert!(
            wrong.is_empty(),
            "{} of {checked} cells are wrong:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        assert!(
            checked >= at_least,
            "only {checked} cells were checked, not {at_least}"
        );
    }
}
