"""A crystal that slips out of the aperture is looked for around it, and the run ends where that was in vain."""

from typing import Any

import numpy as np
import pytest

from benchmarks.trackingpaths import IMAGE_SHIFT, NEUTRAL
from engine.replay.replay import first_divergence, load_run, replay
from protocols.cred.lookingaround import SEARCHED
from protocols.tracking.correction import CorrectionLimits, Corrector, Trust
from protocols.tracking.path import CrystalPath
from protocols.tracking.place import Place
from tests.protocols.cred.conftest import Finished, Perform
from tests.protocols.cred.test_tracked import PLAN, away_nm, with_options

pytestmark = pytest.mark.long

SEARCH: dict[str, Any] = {
    "tracking": "correct",
    "crystal_lost": "search",
    "snapshot_interval": 20,
    "snapshot_when_unsure_nm": 100.0,
}
SLIPS = {"drawn_seed": -1, "jumps_per_deg": 0.01, "jump_nm": 1000.0, "seed": 362}
"""Once, near -38 deg, out of the aperture."""


def notes(run: Finished) -> list[str]:
    return [record["text"] for record in run.of("note") if record["name"] == "operator"]


def searched(run: Finished) -> list[tuple[float, float]]:
    return [(record["x_nm"], record["y_nm"]) for record in run.of("tracking") if record["name"] == SEARCHED]


def test_a_crystal_that_slipped_out_of_the_aperture_is_found_and_brought_back(perform: Perform) -> None:
    run = perform(with_options(motion=SLIPS), **PLAN, **SEARCH)
    assert run.document["status"] == "done"
    assert away_nm(run).max() > 1000
    assert away_nm(run)[-20:].max() < 100
    assert searched(run)[0] == (0.0, 0.0)
    said = [text for text in notes(run) if "Tracking" in text]
    assert said[:2] == [
        "Tracking: the crystal is lost; it is looked for around where it should be.",
        "Tracking: the crystal was found again.",
    ]
    assert "No more corrections" not in " ".join(notes(run))


def test_without_search_it_is_not(perform: Perform) -> None:
    run = perform(with_options(motion=SLIPS), **PLAN, **{**SEARCH, "crystal_lost": "go on"})
    assert away_nm(run)[-20:].min() > 1000
    assert not searched(run)


def test_a_search_in_vain_ends_the_run_says_so_and_leaves_the_shifts_where_they_were(perform: Perform) -> None:
    far = {**SLIPS, "jump_nm": 9000.0}
    run = perform(with_options(motion=far), **{**PLAN, "range_deg": 90.0}, **SEARCH)
    assert run.document["status"] == "stopped"
    assert "crystal_lost = search: not found in 10 snapshots in a row" in run.document["reason"]
    assert "nor in 7 around where it should be" in run.document["reason"]
    assert len(set(searched(run))) == 7
    read = {call["args"][0]: call["result"] for call in run.calls("deflectors.read")}
    last = {call["args"][0]: call["args"][1:] for call in run.calls("deflectors.set")}
    assert last == read


def test_a_crystal_that_was_never_found_is_not_searched_for_and_ends_nothing(perform: Perform) -> None:
    """Nobody knows how it looks, or whether it is there and only pale, or behind a bar."""
    empty = with_options(motion={"drawn_seed": -1, "centred_off_nm": [3000.0, 0.0]})
    run = perform(empty, **PLAN, **SEARCH)
    assert run.document["status"] == "done"
    assert not run.calls("deflectors.set")


def test_a_replay_searches_the_same_places_byte_for_byte(perform: Perform) -> None:
    run = perform(with_options(motion=SLIPS), **PLAN, **SEARCH)
    assert searched(run)
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None


def test_it_costs_no_slot(perform: Perform) -> None:
    result = perform({**with_options(motion=SLIPS), "api_jitter": 0.0}, **PLAN, **SEARCH).document["result"]
    assert (result["snapshot_slots"], result["lost_slots"]) == (1, 0)
    assert result["lateness_ms"]["max"] < 1.0


@pytest.mark.parametrize("step", [(1.0, 0.0), (0.0, -1.0)])
def test_what_a_look_elsewhere_moves_is_not_taken_for_a_correction_that_failed(step: tuple[float, float]) -> None:

    corrector = Corrector(IMAGE_SHIFT, CorrectionLimits(), (NEUTRAL, NEUTRAL), (NEUTRAL, NEUTRAL))
    effect = CrystalPath().effect()
    moved = corrector.shifted(900.0 * np.array(step), effect)
    assert moved is not None
    assert moved.moves_nm == pytest.approx([900.0 * each for each in step], abs=2.0)
    corrector.looked_elsewhere(moved)
    assert corrector.judge(effect, Place.even(0.0, 0.0, 10.0)) is Trust.UNTRIED
