"""The primary beam of a whole run: found where it is sure, as it was given where it is not, and never in silence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from engine.errors import DataError
from protocols.products.corrections import Clipped
from protocols.products.runbeam import RunBeam, asked_beam, beam_questions, beam_row, run_beam
from protocols.products.survey import FrameSurvey, survey
from tests.protocols.spots.beams import CLEAN, SEEN, UNSEEN, Scene, draw
from tests.quickly import quick

SIZE = 256
NOMINAL = (124.0, 133.0)
"""Six pixels and more from the beam of the scenes, 129.8, 126.5."""
TRUE = (CLEAN.beam[0] * SIZE, CLEAN.beam[1] * SIZE)
FEW_COUNTS = SEEN["few counts"]
BRIGHTER = replace(CLEAN, spots=8, spot=60_000.0, peak=8000.0)
BRIGHT_SLOTS = [4, 5, 11, 18]
NOT_A_TRACE = replace(CLEAN, peak=0.0, halo=(), spots=8)


ALIKE = (
    "a rod's end",
    "a column that runs over",
    "one bad pixel in all frames",
    "too short to tell from a reflection",
    "a reflection that shines long, without the beam",
)
"""Runs in which the finder is wrong in the same way in all frames, and would have been believed."""


@dataclass(frozen=True)
class Case:
    """A run of `slots`, every `gap`-th of which is a snapshot: the scene of slot k, moved by `moved(k)` px.

    seed: of reflections that shine in all frames.
    """

    scene: Callable[[int], Scene]
    used: str
    slots: int = 30
    gap: int = 0
    moved: Callable[[int], tuple[float, float]] = lambda k: (0.0, 0.0)
    within_px: float = 0.15
    drift_px: float = 0.0
    jumps: Sequence[tuple[int, float]] = ()
    strays: Sequence[int] = ()
    says: str = ""
    seed: int | None = None


def always(scene: Scene) -> Callable[[int], Scene]:
    return lambda k: scene


CASES = {
    "a clean beam": Case(always(CLEAN), "found"),
    "snapshots between": Case(always(CLEAN), "found", gap=5),
    "saturated": Case(always(SEEN["saturated"]), "found"),
    "a flat disc": Case(always(SEEN["a flat disc"]), "found"),
    "a camera that counts few electrons": Case(always(FEW_COUNTS), "found", within_px=0.3),
    "a rod": Case(always(UNSEEN["behind a rod"]), "nominal", says="as beside a beam stop"),
    "a rod's end": Case(always(UNSEEN["behind a thin rod"]), "nominal", says="beam stop"),
    "a disc": Case(always(UNSEEN["behind a disc"]), "nominal"),
    "a column that runs over": Case(always(UNSEEN["a column that runs over"]), "nominal"),
    "off the camera": Case(always(replace(CLEAN, beam=(-0.05, 0.5))), "nominal"),
    "far off the camera, only reflections": Case(always(NOT_A_TRACE), "nominal", says="agree on a place"),
    "a reflection that shines long, without the beam": Case(
        always(NOT_A_TRACE), "nominal", seed=3, says="a reflection near the rotation axis may be so"
    ),
    "one bad pixel in all frames": Case(always(UNSEEN["one bad pixel"]), "nominal", says="one bright pixel"),
    "reflections brighter than the beam, at times": Case(
        lambda k: BRIGHTER if k in BRIGHT_SLOTS else CLEAN, "found", strays=BRIGHT_SLOTS
    ),
    "reflections brighter than the beam, always": Case(always(BRIGHTER), "nominal", says="agree on a place"),
    "drift": Case(
        always(CLEAN), "found", moved=lambda k: (0.2 * k, -0.1 * k), within_px=4.0, drift_px=29 * np.hypot(0.2, 0.1)
    ),
    "fast drift": Case(always(CLEAN), "found", moved=lambda k: (k - 15.0, 0.0), within_px=1.0, drift_px=29.0),
    "one jump": Case(always(CLEAN), "found", moved=lambda k: (5.0, 0.0) if k >= 22 else (0.0, 0.0), jumps=[(22, 5.0)]),
    "drift and two jumps": Case(
        always(CLEAN),
        "found",
        slots=60,
        moved=lambda k: (0.05 * k + 3.0 * (k >= 20), 4.0 * (k >= 41)),
        within_px=8.0,
        drift_px=59 * 0.05,
        jumps=[(20, 3.0), (41, 4.0)],
    ),
    "elsewhere for two frames": Case(
        always(CLEAN), "found", moved=lambda k: (20.0, 0.0) if k in (9, 17) else (0.0, 0.0), strays=[9, 17]
    ),
    "off for a third of the run": Case(lambda k: CLEAN if k % 3 else UNSEEN["empty"], "found"),
    "off for most of the run": Case(lambda k: UNSEEN["empty"] if k % 3 else CLEAN, "nominal", says="seen in 10 of 30"),
    "too short to tell from a reflection": Case(always(CLEAN), "nominal", slots=3, says="seen over 0.69 deg only"),
}


def surveys_of(case: Case, size: int = SIZE) -> list[FrameSurvey]:
    looked = []
    for slot in range(1, case.slots + 1):
        if case.gap and slot % case.gap == 0:
            continue
        scene, (fast, slow) = case.scene(slot), case.moved(slot)
        moved = replace(scene, beam=(scene.beam[0] + fast / size, scene.beam[1] + slow / size))
        counts, _ = draw(moved, size, seed=slot if case.seed is None else case.seed)
        looked.append(survey(slot, counts, Clipped(), NOMINAL, None, scene.full, look_for_spots=False))
    return looked


def beam_of(case: Case, asked: str | tuple[float, float] = "found") -> RunBeam:
    return run_beam(surveys_of(case), NOMINAL, asked, (SIZE, SIZE), 0.23)


@pytest.mark.parametrize("name", quick(8, CASES))
def test_a_run_takes_what_is_sure_and_else_what_was_given(name: str) -> None:
    case = CASES[name]
    beam = beam_of(case)
    assert beam.used == case.used, beam.why
    questions = beam_questions(beam, "RUN")
    if case.used == "nominal":
        assert beam.place_px == NOMINAL
        assert not beam.places
        assert case.says in beam.why
        assert "the nominal centre, 124.00, 133.00 px, stands in all files" in questions[0]
        assert ("What is brightest lies at" in questions[0]) == (name in ALIKE)
        return
    assert beam.place_px == pytest.approx(TRUE, abs=case.within_px)
    assert beam.motion is not None
    assert beam.motion.drift == pytest.approx(case.drift_px, abs=0.3)
    assert [slot for slot, _ in beam.motion.jumps] == [slot for slot, _ in case.jumps]
    assert [px for _, px in beam.motion.jumps] == pytest.approx([px for _, px in case.jumps], abs=0.3)
    assert list(beam.strays) == list(case.strays)
    assert "--set beam=nominal" in questions[0]  # it is 8.7 px from what was given
    assert any("moved" in line for line in questions) == bool(case.drift_px or case.jumps)


@pytest.mark.parametrize(
    ("asked", "place_px", "row"),
    [
        ("found", TRUE, "found"),
        ("nominal", NOMINAL, "the nominal one"),
        ((120.5, 121.5), (120.5, 121.5), "as beam = [fast, slow] says"),
    ],
)
def test_what_is_asked_for_holds(asked: str | tuple[float, float], place_px: tuple[float, float], row: str) -> None:
    beam = beam_of(CASES["a clean beam"], asked)
    assert beam.place_px == pytest.approx(place_px, abs=0.1)
    assert row in beam_row(beam)
    assert "seen in 30 of 30 frames; drift 0.0" in beam_row(beam)
    assert len(beam.places) == 30
    if asked != "found":
        assert "--set beam=found" in beam_questions(beam, "RUN")[0]


def test_a_place_that_is_asked_for_is_asked_about_only_where_the_beam_was_seen_elsewhere() -> None:
    hidden = beam_of(CASES["a rod"], (120.5, 121.5))
    assert hidden.place_px == (120.5, 121.5)
    assert beam_questions(hidden, "RUN") == []
    assert beam_questions(beam_of(CASES["a rod"], "nominal"), "RUN") == []


def test_nothing_is_asked_where_found_and_nominal_are_the_same() -> None:
    beam = run_beam(surveys_of(Case(always(CLEAN), "found", slots=3)), TRUE, "found", (SIZE, SIZE), 0.23)
    assert beam.used == "found"  # however short the run
    assert beam_questions(beam, "RUN") == []


def test_what_a_plan_says_of_the_beam() -> None:
    assert asked_beam({}) == "found"
    assert asked_beam({"beam": "nominal"}) == "nominal"
    assert asked_beam({"beam": [1, 2.5]}) == (1.0, 2.5)
    for wrong in ("both", [1], [1, "2"], [float("nan"), 1], None, [True, 1]):
        with pytest.raises(DataError, match="found, nominal, or a place"):
            asked_beam({"beam": wrong})
