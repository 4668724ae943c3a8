"""Where other emulators differ from the service, by the test that shows it.

A list belongs to the store `gcp-storage-emulator`; the store `environment` is given one by `COLDREEL_CONTRACT_GAPS`:
the name of a list kept here, or of a TOML file whose keys are tests and whose values are reasons.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

VARIABLE = "COLDREEL_CONTRACT_GAPS"

# --- gcp-storage-emulator 2026.7.19 ---

NO_PRECONDITIONS = "ignores ifGenerationMatch and ifMetagenerationMatch"
NO_GENERATIONS = "ignores the generation that a read or a delete names"
NO_HOLDS = "stores no temporary hold"
EMPTY_RANGE = "answers Range: bytes=0-0 for a session without bytes"
NO_CANCEL = "does not know the deletion of a session: 501"
NO_HEADER_CHECKSUM = "ignores X-Goog-Hash on the last chunk"
FORGETS_SESSIONS = "forgets a session once it has finished: 404"
STRICT_OFFSETS = "refuses a chunk that it has already, where the service acknowledges it"
METAGENERATION = "begins at metageneration 2 where metadata was given"

_GCP_STORAGE_EMULATOR = {
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

# --- Google's storage-testbench 0.45.0 (https://github.com/googleapis/storage-testbench) ---

IGNORES_HOLDS = "stores a hold and deletes the held object all the same"
ADDS_METADATA = "adds x_emulator_… and x_testbench_… to an object's metadata"
ANSWERS_412 = "answers 412 to a wrong checksum, where the service answers 400"
ACCEPTS_GAPS = "accepts a chunk that begins beyond what is committed"

_STORAGE_TESTBENCH = {
    "test_held_object_cannot_be_deleted": IGNORES_HOLDS,
    "test_finished_object_is_what_the_bucket_says_it_is": ADDS_METADATA,
    "test_small_object_is_what_the_bucket_says_it_is": ADDS_METADATA,
    "test_metadata_keeps_letters_of_any_script": ADDS_METADATA,
    "test_wrong_checksum_is_refused_and_leaves_no_object": ANSWERS_412,
    "test_small_object_with_a_wrong_checksum_is_refused": ANSWERS_412,
    "test_chunk_beyond_what_is_committed_is_for_another_try": ACCEPTS_GAPS,
}

READY = {"gcp-storage-emulator": _GCP_STORAGE_EMULATOR, "storage-testbench": _STORAGE_TESTBENCH}


def gaps_of(store: str, named: str | None = None) -> Mapping[str, str]:
    """Test names and reasons of a store's known gaps; `named` is what `COLDREEL_CONTRACT_GAPS` says, if not read there.

    Raises ValueError where that is neither a list kept here nor a file of test names and reasons.
    """
    if store != "environment":
        return READY.get(store, {})
    return _chosen(os.environ.get(VARIABLE, "") if named is None else named)


@cache
def _chosen(named: str) -> Mapping[str, str]:
    if not named:
        return {}
    if named in READY:
        return READY[named]
    try:
        found = tomllib.loads(Path(named).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{VARIABLE} is invalid: expected one of {', '.join(sorted(READY))}, or a TOML file; {error}"
        ) from error
    unknown = sorted(set(found) - names_of_tests())
    if unknown:
        raise ValueError(f"{named} is invalid: there are no tests {', '.join(unknown)} in tests/contract")
    if not all(isinstance(reason, str) and reason for reason in found.values()):
        raise ValueError(f"{named} is invalid: expected a reason, in quotes, for every test")
    return found


def names_of_tests() -> set[str]:
    """Every test of the suite by its name."""
    texts = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    lines = [line for text in texts for line in text.splitlines() if line.startswith("def test_")]
    return {line.removeprefix("def ").partition("(")[0] for line in lines}
