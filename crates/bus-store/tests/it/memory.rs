//! The reference keeps the contract: as it is, and behind a pointer as callers hold it.

mod as_it_is {
    bus_store::conformance_suite!(crate::support::memory);
}

mod behind_a_pointer {
    bus_store::conformance_suite!(crate::support::wrapped);
}
