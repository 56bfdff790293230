"""A long run: memory that does not grow, slots that keep their grid, nothing left. benchmarks/longrun.py does more."""

import tracemalloc

import pytest

from benchmarks.longrun import Figures, Slope, Watch, complaints, drift, grid_errors_ns, long_run, plan_of

SLOTS = 1000
# What is kept of a slot on purpose: its frame's record, slack and readings, for the fit and for run.json (260 bytes),
# and the simulated instrument's own history. A picture that is not let go is 2 kilobytes here, half a megabyte there.
BYTES_PER_SLOT = 700


@pytest.fixture(scope="module")
def nine_minutes() -> Figures:
    long_run(plan_of(0.5, 40, 10), virtual=True, watch=Watch())  # what any run loads once and for all
    tracemalloc.start()
    try:
        return long_run(plan_of(0.5, SLOTS, 10), virtual=True, watch=Watch())
    finally:
        tracemalloc.stop()


@pytest.mark.long
def test_memory_does_not_grow_with_the_length_of_a_run(nine_minutes: Figures) -> None:
    assert nine_minutes.memory_per_slot_bytes.value < BYTES_PER_SLOT
    assert nine_minutes.most_pending_records < 200


@pytest.mark.long
def test_a_thousand_slots_later_the_grid_is_where_it_was(nine_minutes: Figures) -> None:
    assert nine_minutes.slots >= SLOTS
    assert nine_minutes.grid_error_max_ns == 0
    assert nine_minutes.grid_drift_ns_per_s == Slope(0.0, 0.0)


@pytest.mark.long
def test_every_slot_is_accounted_for_and_nothing_is_left_open(nine_minutes: Figures) -> None:
    assert complaints(nine_minutes, virtual=True) == []


# --- the measure itself


def frames(*starts_ns: int) -> list[dict[str, object]]:
    step = {"kind": "step", "name": "frame", "slot": 1, "planned_ns": 1000}
    return [step] + [
        {"kind": "frame", "name": "diffraction", "slot": slot, "start_ns": start}
        for slot, start in enumerate(starts_ns, start=1)
    ]


def test_the_grid_is_laid_through_the_plan_of_the_first_slot() -> None:
    assert grid_errors_ns(frames(1000, 1107, 1200), 100) == [(1, 0), (2, 7), (3, 0)]


def test_after_a_lengthened_period_the_grid_begins_anew() -> None:
    change = {"kind": "slot", "name": "stretched", "slot": 3, "start_ns": 1250, "period_ns": 150}
    assert grid_errors_ns([*frames(1000, 1100, 1250, 1403), change], 100) == [(1, 0), (2, 0), (3, 0), (4, 3)]


def test_a_drift_is_found_and_late_frames_are_none() -> None:
    drifting = drift([(k, 2 * k) for k in range(400)], 1_000_000_000)
    assert drifting.value == pytest.approx(2.0)
    late = drift([(k, 5_000_000 * (k % 37 == 0)) for k in range(400)], 1_000_000_000)
    assert late == Slope(0.0, 0.0)


def test_a_slope_knows_how_uncertain_it_is() -> None:
    exact = Slope.of(range(10), [3.0 * k for k in range(10)])
    assert (exact.value, exact.uncertainty) == pytest.approx((3.0, 0.0))
    assert Slope.of(range(10), [3.0 * k + (-1) ** k for k in range(10)]).uncertainty > 0.05
