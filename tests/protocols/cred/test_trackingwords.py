"""An operator says where in the aperture the crystal is to be held, while the run goes; a replay hears it again."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from engine.errors import Refused
from engine.record.document import RunDocument
from engine.replay.replay import first_divergence, load_run, replay
from protocols.cred.experiment import CRED
from protocols.cred.trackingwords import offset_in
from tests.protocols.cred.conftest import Perform
from tests.protocols.cred.test_tracked import DEVICES, PLAN


def telling(words: str, slot: int) -> Callable[[Any, Any], None]:
    """Tells it in the middle of a slot."""

    def on(record: Any, run: Any) -> None:
        if record["kind"] == "frame" and record["name"] == "diffraction" and record["slot"] == slot:
            run.commands.tell(words)

    return on


def test_the_crystal_is_held_where_it_was_said_from_the_next_snapshot_on(perform: Perform) -> None:
    run = perform(DEVICES, tracking="correct", on=telling("track offset 200 -100", 55), **PLAN)
    with h5py.File(run.folder / "truth.h5") as file:
        at_nm, slots = file["frame_crystal_nm"][:], file["slot"][:]
    assert np.median(np.hypot(*at_nm[(slots > 30) & (slots < 55)].T)) < 60
    off = at_nm[slots > 75] - (200.0, -100.0)
    assert np.median(np.hypot(*off.T)) < 60
    (said,) = run.of("command", "told")
    (aimed,) = (record for record in run.of("tracking") if record["name"] == "aimed")
    assert (said["reason"], aimed["x_nm"], aimed["y_nm"]) == ("track offset 200 -100", 200.0, -100.0)
    assert run.document["result"]["tracking"]["away_median_nm"] < 60  # from where it was wanted
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None


@pytest.mark.parametrize(
    ("tracking", "words", "says"),
    [
        ("correct", "track offset 800 0", "800 nm from the middle a crystal is lit no more, 750 nm is the farthest"),
        ("correct", "turn left", "'turn left' is not understood"),
        ("show", "track offset 100 0", "the crystal is not held"),
        ("off", "track offset 100 0", "tracking = off"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    perform: Perform, tracking: str, words: str, says: str
) -> None:
    run = perform(DEVICES, tracking=tracking, on=telling(words, 5), **{**PLAN, "range_deg": 5.0})
    notes = [record["text"] for record in run.of("note") if record["name"] == "operator"]
    assert any(says in text for text in notes)
    assert not [record for record in run.of("tracking") if record["name"] == "aimed"]
    assert run.document["status"] == "done"


def test_words_are_read_as_numbers_in_nm() -> None:
    assert offset_in("track offset 200 -50.5") == (200.0, -50.5)


@pytest.mark.parametrize(
    "words", ["", "track", "track offset 1", "track offset a b", "track offset nan 0", "track offset 1 2 3"]
)
def test_other_words_are_refused_with_those_that_there_are(words: str) -> None:
    with pytest.raises(Refused, match="Say track offset X Y, in nm"):
        offset_in(words)


def test_it_is_known_before_whether_a_run_would_follow() -> None:
    document = RunDocument(protocol="cred", plan={"tracking": "show"})
    with pytest.raises(Refused, match="tracking = show: this run brings no crystal back"):
        CRED.understood("track offset 1 2", document)
    document = RunDocument(protocol="cred", plan={"tracking": "correct"})
    assert CRED.understood("track  offset 1.50 2", document) == "track offset 1.5 2"
