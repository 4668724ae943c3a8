"""Where gcp-storage-emulator 2026.7.19 does otherwise than the service, by the test that shows it."""

from __future__ import annotations

NO_PRECONDITIONS = "ignores ifGenerationMatch and ifMetagenerationMatch"
NO_GENERATIONS = "ignores the generation that a read or a delete names"
NO_HOLDS = "stores no temporary hold"
EMPTY_RANGE = "answers Range: bytes=0-0 for a session without bytes"
NO_CANCEL = "does not know the deletion of a session: 501"
NO_HEADER_CHECKSUM = "ignores X-Goog-Hash on the last chunk"
FORGETS_SESSIONS = "forgets a session once it has finished: 404"
STRICT_OFFSETS = "refuses a chunk that it has already, where the service acknowledges it"
METAGENERATION = "begins at metageneration 2 where metadata was given"

GAPS = {
    "test_get_of_another_generation_is_none": NO_GENERATIONS,
    "test_delete_touches_no_other_generation": NO_GENERATIONS,
    "test_hold_is_set_and_released": NO_HOLDS,
    "test_hold_that_is_there_already_can_be_set_again": NO_HOLDS,
    "test_held_object_cannot_be_deleted": NO_HOLDS,
    "test_object_can_be_held_from_its_first_moment": NO_HOLDS,
    "test_small_object_can_be_held_from_its_first_moment": NO_HOLDS,
    "test_hold_by_an_outdated_reading_is_refused": NO_PRECONDITIONS,
    "test_session_over_a_living_object_is_refused": NO_PRECONDITIONS,
    "test_object_that_appears_meanwhile_is_not_overwritten": NO_PRECONDITIONS,
    "test_of_two_sessions_for_one_name_one_wins": NO_PRECONDITIONS,
    "test_small_object_never_overwrites": NO_PRECONDITIONS,
    "test_even_the_same_bytes_meet_the_precondition": NO_PRECONDITIONS,
    "test_session_without_bytes_has_committed_nothing": EMPTY_RANGE,
    "test_chunk_beyond_what_is_committed_is_for_another_try": EMPTY_RANGE,
    "test_cancelled_session_takes_nothing_more": NO_CANCEL,
    "test_session_can_be_cancelled_twice": NO_CANCEL,
    "test_cancelling_after_the_end_leaves_the_object": NO_CANCEL,
    "test_status_of_a_finished_session_is_the_object": FORGETS_SESSIONS,
    "test_wrong_checksum_is_refused_and_leaves_no_object": NO_HEADER_CHECKSUM,
    "test_chunk_that_the_bucket_has_already_adds_nothing": STRICT_OFFSETS,
    "test_finished_object_is_what_the_bucket_says_it_is": METAGENERATION,
    "test_small_object_is_what_the_bucket_says_it_is": METAGENERATION,
}
