//! The list of all cases, in one place, and the macros that go through it.

use futures::future::LocalBoxFuture;

use super::Harness;

/// A case of the suite.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name, that of its test.
    pub name: &'static str,
    /// Runs it on a fresh store; panics where the store does not keep the contract.
    pub run: for<'a> fn(&'a dyn Harness) -> LocalBoxFuture<'a, ()>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// All cases, for a runner of one's own.
#[must_use]
pub fn cases() -> Vec<Case> {
    crate::__conformance_cases!(__conformance_array,)
}

/// Instantiates every case as a `#[tokio::test]` of the crate that calls it, and the model test.
///
/// The argument is the path of an `async fn() -> impl Harness` that makes a fresh, empty store.
#[macro_export]
macro_rules! conformance_suite {
    ($harness:path) => {
        $crate::__conformance_cases!(__conformance_tests, $harness);

        #[test]
        fn random_operations_agree_with_the_reference() {
            $crate::conformance::model::check($harness);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (($harness:path) $($theme:ident { $($case:ident)* })*) => {
        $($(
            #[tokio::test]
            async fn $case() {
                let harness = $harness().await;
                $crate::conformance::$theme::$case(&harness).await;
            }
        )*)*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_array {
    (() $($theme:ident { $($case:ident)* })*) => {
        vec![$($(
            $crate::conformance::Case {
                name: stringify!($case),
                run: |h| Box::pin($crate::conformance::$theme::$case(h)),
            },
        )*)*]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($with:ident, $($argument:path)?) => {
        $crate::$with! {
            ($($argument)?)
            writing {
                a_committed_message_is_read_back
                nothing_is_visible_before_the_commit
                chunks_may_come_in_any_order
                chunks_may_come_at_the_same_time
                a_repeated_chunk_is_harmless
                a_chunk_replaces_the_one_before
                a_replaced_chunk_is_found_out
                chunks_beyond_the_manifest_are_dropped
                a_missing_chunk_is_a_mismatch
                no_chunk_at_all_is_a_mismatch
                another_chunk_digest_is_a_mismatch
                another_chunk_size_in_the_manifest_is_a_mismatch
                swapped_chunks_are_a_mismatch
                another_encoding_than_planned_is_a_mismatch
                another_chunk_size_than_planned_is_a_mismatch
                another_digest_than_planned_is_a_mismatch
                another_size_than_planned_is_a_mismatch
                what_was_planned_is_taken
                an_abort_keeps_the_reason
                an_aborted_key_is_free_at_once
                an_invented_token_is_stale
                uploads_do_not_mix
            }
            leases {
                a_key_is_busy_while_the_lease_runs
                a_key_is_busy_whatever_the_plan
                a_key_is_busy_for_another_process
                a_key_is_busy_up_to_the_end
                each_writer_has_the_lease_it_asked_for
                a_chunk_starts_the_lease_anew
                a_renewal_starts_the_lease_anew
                a_refused_commit_does_not_start_the_lease
                the_record_shows_the_lease
                a_late_writer_may_go_on
                a_late_renewal_makes_the_upload_live_again
                a_lease_is_that_of_the_last_writer
                leases_of_different_keys_are_apart
            }
            takeover {
                the_next_writer_is_told_the_durable_chunks
                an_upload_without_chunks_is_resumed
                the_next_writer_uploads_what_is_missing
                the_next_writer_may_replace_chunks
                a_replaced_chunk_is_reported_once
                the_old_token_is_stale
                a_stale_writer_keeps_nothing_alive
                each_writer_has_a_fence_of_its_own
                another_encoding_starts_anew
                another_chunk_size_starts_anew
                another_expected_digest_starts_anew
                the_same_expected_digest_goes_on
                chunks_of_a_dropped_plan_are_gone
                the_next_writer_brings_its_own_attributes
                another_process_takes_over
                one_of_many_takes_over
                another_principal_takes_nothing_over
            }
            idempotency {
                a_complete_key_answers_with_its_record
                another_digest_is_a_conflict
                a_complete_key_ignores_the_plan
                the_same_put_twice_is_there_once
                another_put_is_a_conflict
                a_put_beside_a_writer_is_busy
                a_put_takes_over_from_the_dead
                a_failed_put_leaves_nothing
                a_put_takes_every_size
                one_of_many_begins
                equal_puts_at_once_write_once
                different_puts_at_once_do_not_mix
                a_repeated_commit_succeeds
                equal_commits_at_once_succeed
                another_commit_after_the_commit_is_refused
                committed_chunks_never_change
                a_committed_message_is_not_given_up
                a_given_up_upload_is_stale
            }
            reading {
                an_empty_payload_is_one_empty_chunk
                sizes_around_the_chunk_size_are_read_back
                every_byte_value_is_read_back
                a_large_body_is_read_back
                many_chunks_are_read_back_in_order
                every_range_of_chunks_is_read
                a_range_beyond_the_end_is_refused
                a_backward_range_is_refused
                a_pending_message_is_not_complete
                a_given_up_message_is_not_complete
                an_unknown_message_is_not_found
                the_record_shows_every_field
                the_record_is_the_same_everywhere
                times_are_whole_milliseconds
                the_manifest_is_the_committed_one
                metadata_is_kept_as_it_was
                ids_at_the_borders_are_kept
                ids_that_differ_in_case_are_two
                a_delete_under_a_reader_cuts_nothing_in_silence
                a_reader_may_stop_half_way
                many_readers_at_once_get_the_whole
                another_process_reads_the_message
            }
            expiry {
                a_message_is_served_until_its_time_is_over
                a_message_is_expired_at_its_very_time
                the_record_says_expired
                the_usual_list_has_no_expired_messages
                each_message_has_its_own_time
                the_time_to_live_starts_at_the_commit
                a_reader_has_grace_after_expiry
                there_are_no_chunks_after_the_grace
                a_stream_goes_on_through_the_expiry
                an_expired_message_is_purged_after_the_grace
                an_expired_key_can_be_used_again
                an_expired_message_answers_no_put
                an_expired_message_takes_no_stamps
                an_expired_message_can_be_deleted
                a_commit_can_be_repeated_after_expiry
                the_reason_is_kept_until_it_expires
                a_pending_message_does_not_expire
            }
            purge {
                an_empty_store_has_nothing_to_purge
                served_messages_stay
                a_purge_goes_in_batches
                purge_all_leaves_nothing
                a_live_upload_is_never_touched
                an_orphan_is_removed
                an_upload_that_was_taken_over_is_live
                only_what_is_over_goes
                a_purge_says_what_it_freed
                acknowledged_messages_stay_unless_asked_for
                acknowledged_messages_go_after_the_time_asked_for
                acknowledged_messages_can_go_at_once
                past_the_grace_counts_as_expired
                a_purge_under_a_reader_cuts_nothing_in_silence
                a_purge_is_for_all_principals
                a_renewed_key_is_not_purged
                a_second_purge_finds_nothing
            }
            principals {
                the_same_id_of_two_principals_is_two_messages
                principals_that_differ_in_case_are_two
                a_stranger_finds_nothing
                a_stranger_learns_of_no_status
                a_stranger_gets_no_chunks
                a_list_shows_only_ones_own
                a_token_is_bound_to_its_principal
                a_writer_does_not_hold_up_a_stranger
                a_stranger_stamps_nothing
                a_cursor_is_no_way_into_anothers_list
            }
            listing {
                an_empty_store_lists_nothing
                the_newest_comes_first
                the_order_is_that_of_creation
                each_name_filters
                filters_narrow_each_other
                a_filter_is_no_pattern
                a_window_of_time_has_its_start_and_not_its_end
                each_status_can_be_listed
                listed_records_have_no_payload
                pages_together_hold_everything_once
                the_last_page_has_no_next
                pages_stay_exact_while_messages_come
                pages_stay_exact_while_messages_go
                pages_stay_exact_within_a_millisecond
                records_come_in_the_order_of_their_cursors
                a_cursor_survives_being_written_down
                pages_and_filters_go_together
                a_page_of_nothing_is_refused
                what_was_replaced_is_listed_once
            }
            misc {
                a_touch_stamps_the_access
                a_touch_passes_over_what_cannot_be_read
                a_touch_changes_nothing_else
                an_acknowledgement_is_stamped
                a_second_acknowledgement_keeps_the_first_time
                a_deleted_message_is_gone
                a_deleted_key_can_be_used_again
                a_delete_takes_the_upload_away
                a_commit_is_not_repeated_after_a_delete
                a_given_up_message_can_be_deleted
                the_counts_of_an_empty_store_are_zero
                the_counts_tell_each_status
                an_upload_taken_over_counts_once
                a_store_in_order_says_so
                the_capabilities_are_enough_to_work_with
                an_impossible_chunk_size_is_refused
                a_payload_that_cannot_fit_is_refused
                a_chunk_that_is_too_large_is_refused
                the_longest_time_to_live_is_taken
                a_dropped_call_can_be_repeated
            }
        }
    };
}
