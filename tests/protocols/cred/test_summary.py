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


LOOK = {
    "deg": 19.1,
    "determined": True,
    "reasons": [],
    "cell": [18.0714, 20.4863, 7.5097, 90.0, 90.0, 90.0],
    "cell_sigma": [0.0356, 0.0412, 0.0152, 0.0, 0.0, 0.0],
    "bravais": "oC",
    "phases": ["mordenite"],
    "indexed": 0.9925,
    "lattices": 1,
    "resolution_A": 1.088,
    "completeness": 0.238,
}
LOOKS = {
    "a cell": (
        LOOK,
        {
            "cell": "oC 18.071 +-0.036, 20.486 +-0.041, 7.510 +-0.015 A, 90.00 90.00 90.00 deg (mordenite), "
            "after 19.1 deg",
            "indexed": "99% of the reflections are on its lattice, 24% complete, seen to 1.09 A",
        },
    ),
    "two lattices": (
        {**LOOK, "lattices": 2, "resolution_A": None},
        {"indexed": "99% of the reflections are on its lattice, 24% complete, 2 lattices"},
    ),
    "no cell": (
        {**LOOK, "determined": False, "reasons": ["too few reflections"]},
        {"cell": "not determined after 19.1 deg: too few reflections"},
    ),
}


@pytest.mark.parametrize("name", LOOKS)
def test_the_cell_that_was_seen_stands_in_it(name: str) -> None:
    live, wanted = LOOKS[name]
    rows = dict(rows_of({**QUIET, "lost_slots": 0, "lost_slot_numbers": [], "live": live}))
    assert {key: rows.get(key) for key in wanted} == wanted
