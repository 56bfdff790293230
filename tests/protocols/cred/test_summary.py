"""The table at the end of a run: what a person reads first."""

import pytest

from protocols.cred.summary import rows_of

QUIET = {
    "frames": 0,
    "snapshots": 0,
    "slots": 64,
    "period_changes": 0,
    "frames_not_kept": 0,
    "range_deg": None,
    "lateness_ms": {"median": None},
    "gap_error_ms": {"median": None},
    "slack_ms": {"min": None},
}


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ([], None),
        ([2, 21], "2: 2, 21"),
        (list(range(1, 41)), "40: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 and 25 more"),
    ],
)
def test_lost_slots_are_counted_and_the_first_named(lost: list[int], says: str | None) -> None:
    rows = dict(rows_of({**QUIET, "lost_slots": len(lost), "lost_slot_numbers": lost}))
    assert rows.get("lost slots") == says
