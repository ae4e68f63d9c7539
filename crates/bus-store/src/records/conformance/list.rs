//! The list of all cases, in one place, and the macros that go through it.

use futures::future::LocalBoxFuture;

use super::RecordsHarness;

/// A case of the suite.
#[derive(Clone, Copy)]
pub struct RecordsCase {
    /// Its name, that of its test.
    pub name: &'static str,
    /// Runs it on fresh records; panics where the backend does not keep the contract.
    pub run: for<'a> fn(&'a dyn RecordsHarness) -> LocalBoxFuture<'a, ()>,
}

impl std::fmt::Debug for RecordsCase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RecordsCase").field(&self.name).finish()
    }
}

/// All cases, for a runner of one's own.
#[must_use]
pub fn records_cases() -> Vec<RecordsCase> {
    crate::__records_cases!(__records_array,)
}

/// Instantiates every case of the records as a `#[tokio::test]` of the crate that calls it.
///
/// The argument is the path of an `async fn() -> impl RecordsHarness` that makes fresh records.
#[macro_export]
macro_rules! records_conformance_suite {
    ($harness:path) => {
        $crate::__records_cases!(__records_tests, $harness);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __records_tests {
    (($harness:path) $($theme:ident { $($case:ident)* })*) => {
        $($(
            #[tokio::test]
            async fn $case() {
                let harness = $harness().await;
                $crate::records::conformance::$theme::$case(&harness).await;
            }
        )*)*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __records_array {
    (() $($theme:ident { $($case:ident)* })*) => {
        vec![$($(
            $crate::records::conformance::RecordsCase {
                name: stringify!($case),
                run: |h| Box::pin($crate::records::conformance::$theme::$case(h)),
            },
        )*)*]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __records_cases {
    ($with:ident, $($argument:path)?) => {
        $crate::$with! {
            ($($argument)?)
            audit {
                an_empty_log_shows_nothing
                an_audit_entry_comes_back_as_it_was
                a_batch_may_be_sent_again
                an_id_twice_in_a_batch_is_one_entry
                an_empty_batch_is_nothing
                a_batch_is_bounded
                the_longest_audit_texts_are_taken
                what_is_too_much_is_cut
                each_principal_sees_its_own_log
                the_same_audit_id_of_two_principals_is_two_entries
                a_cursor_is_no_way_into_anothers_log
                a_purge_takes_what_is_old
                a_purge_of_the_log_is_bounded
                an_endless_age_takes_nothing
            }
            audit_pages {
                the_newest_entry_comes_first
                each_audit_filter_filters
                an_audit_filter_is_no_pattern
                a_window_of_the_log_has_its_start_and_not_its_end
                audit_pages_together_hold_everything_once
                the_last_audit_page_has_no_next
                audit_pages_stay_exact_while_entries_come_and_go
                audit_pages_and_filters_go_together
                an_audit_page_has_a_size
            }
            history {
                entries_get_places_in_order
                a_history_entry_comes_back_as_it_was
                texts_of_every_kind_come_back
                a_claim_comes_back_as_it_was
                what_is_too_long_is_refused
                the_largest_metadata_is_taken
                a_repeated_append_changes_nothing
                the_same_text_by_claim_is_the_same_entry
                another_entry_under_an_id_is_a_conflict
                the_same_entry_id_elsewhere_is_another_entry
                a_stranger_finds_no_conversation
                what_was_never_said_is_not_found
                a_deleted_conversation_is_gone
                entries_at_once_get_places_of_their_own
                one_entry_at_once_is_one_entry
                conversations_are_listed_by_name
                a_minted_entry_id_is_taken
            }
            history_pages {
                forwards_is_from_the_oldest_on
                backwards_is_from_the_newest_back
                one_can_go_on_from_any_entry
                the_last_page_of_a_conversation_has_no_next
                pages_stay_exact_while_more_is_said
                a_follower_misses_nothing
                a_conversation_that_is_not_there_is_empty
                a_history_page_has_a_size
                long_entries_are_all_there
            }
            preferences {
                what_is_not_set_is_not_found
                a_value_comes_back_exactly
                the_largest_value_is_taken
                the_last_value_stands
                a_deleted_preference_is_gone
                names_that_differ_in_case_are_two
                preferences_are_listed_by_name
                a_page_of_preferences_has_a_size
                each_principal_has_its_own_preferences
                a_timezone_is_an_iana_name
                the_timezone_is_there_as_a_type
                of_several_values_at_once_one_stands
            }
        }
    };
}
