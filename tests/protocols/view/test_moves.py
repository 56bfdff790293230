"""Stage and mode of a live view: moved by the words of its operator, within what the parts allow, and left there."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from drivers.approach import OnClock
from drivers.parts import OpticalMode, PositionReading, StageXYZFacts
from engine.errors import Refused
from engine.record.document import RunDocument
from engine.replay.replay import replay
from protocols.view.stagemoves import StageMoves
from protocols.view.view import VIEW
from protocols.view.words import Told
from tests.engine.virtually import virtual
from tests.protocols.view.test_view import Operator, calls

NO_TILT_MEANWHILE = {"microscope": {"driver": "simulated-timing", "stagexyz": {"xy_while_tilting": False}}}
BACKLASH_NM = 400.0


@pytest.fixture
def view(record_run: Callable[..., Any]) -> Callable[..., Any]:
    def play(said: Any, **more: Any) -> Any:
        return record_run("view", on=said if callable(said) else Operator(said), lasts_min=0.5, **more)

    return play


def texts(run: Any) -> list[str]:
    return [record["text"] for record in run.of("note", "operator")]


def test_a_move_goes_so_far_along_one_axis_and_arrives_from_below(view, assert_trace_matches):
    run = view({4: "move x 5", 14: "move y -3", 24: "stop"})
    first, second, third, fourth = calls(run, "stagexyz.move_xy")
    assert second == pytest.approx([5000, 0], abs=20)  # readings scatter
    assert first == pytest.approx([each - BACKLASH_NM for each in second])
    assert fourth == pytest.approx([5000, -3000], abs=30)
    assert third == pytest.approx([each - BACKLASH_NM for each in fourth])
    told = [(record["reason"], record["by"]) for record in run.of("command", "told")]
    assert told == [("move x 5", "the test"), ("move y -3", "the test")]
    assert_trace_matches(replay(run.trace), run)


def test_moves_that_are_told_in_quick_succession_add_up(view):
    run = view({4: "move x 100", 5: "move x 100", 6: "move z 2", 24: "stop"})
    assert calls(run, "stagexyz.move_xy")[-1] == pytest.approx([200e3, 0], abs=40)
    assert [z for (z,) in calls(run, "stagexyz.move_z")] == pytest.approx([1600, 2000], abs=20)
    assert texts(run) == []


def test_a_place_past_the_limits_is_refused_and_nothing_moves(view):
    run = view({4: "move x 1500", 6: "move z -250", 14: "stop"})
    assert not run.of("call", "stagexyz.move_xy")
    assert not run.of("call", "stagexyz.move_z")
    assert ["Nothing moved" in text and "is outside" in text for text in texts(run)] == [True, True]
    assert run.document["status"] == "stopped"


def test_the_stage_stops_at_once_and_begins_nothing_that_was_told_before(view, assert_trace_matches):
    run = view({4: "move x 300", 5: "move y 10", 7: "stop stage", 20: "stop"})
    (told_ns,) = [record["t_ns"] for record in run.of("command", "told") if record["reason"] == "stop stage"]
    (stopped,) = run.of("call", "stagexyz.stop")
    assert stopped["end_ns"] - told_ns < 0.5e9
    assert len(calls(run, "stagexyz.move_xy")) == 1
    here = [record["result"]["x_nm"] for record in run.of("call", "stagexyz.position")][-1]
    assert 1e3 < here < 299e3
    assert sum("told to stop" in text for text in texts(run)) == 2
    assert_trace_matches(replay(run.trace), run)


class Slow:
    """A stage that accepts a stop before the move that it was told has begun."""

    facts = StageXYZFacts(((-1e6, 1e6),) * 3, 400.0, xy_while_tilting=True, tilt_counts_as_moving=False)

    def __init__(self):
        self.moving, self.stopped = False, 0
        self.moves: Any = None

    async def position(self):
        return PositionReading(0.0, 0.0, 0.0, 0, 0)

    async def move_xy(self, x_nm, y_nm):
        await self.moves.stop()
        self.moving = True

    async def is_moving(self):
        return self.moving

    async def stop(self):
        self.moving, self.stopped = False, self.stopped + 1


@virtual
async def test_a_stop_that_comes_while_a_move_is_being_accepted_is_told_once_more(clock):
    stage: Any = Slow()
    run: Any = SimpleNamespace(gate=SimpleNamespace(wrap=lambda _, part: part), timeline=OnClock(clock))
    microscope: Any = SimpleNamespace(stage=None, stagexyz=stage)
    stage.moves = StageMoves(run, microscope)
    with pytest.raises(Refused, match="told to stop"):
        await stage.moves.move(Told("move x", 5.0))
    assert (stage.moving, stage.stopped) == (False, 2)


def test_a_move_goes_on_after_a_stop_that_was_told_before_it(view):
    run = view({4: "move x 300", 5: "stop stage", 12: "move y 10", 24: "stop"})
    before, *_, after = [record["result"]["y_nm"] for record in run.of("call", "stagexyz.position")][4:]
    assert calls(run, "stagexyz.move_xy")[-1][1] == pytest.approx(before + 10e3, abs=30)
    assert after == pytest.approx(before + 10e3, abs=30)


def test_tilts_by_an_angle_add_up_and_a_tilt_to_one_takes_the_place_of_what_goes_on(view, assert_trace_matches):
    run = view({4: "tilt by 3", 5: "tilt by -1", 30: "tilt 40", 33: "tilt 0", 40: "stop"})
    targets = [target for target, _ in calls(run, "stage.rotate")]
    assert targets == pytest.approx([3, 2, 40, 0], abs=0.05)
    begun = [record["begin_ns"] for record in run.of("call", "stage.rotate")]
    assert begun[3] - begun[2] < 3e9  # not after the 20 s that it takes to 40 deg
    assert_trace_matches(replay(run.trace), run)


def test_where_the_stage_may_not_move_while_it_tilts_a_move_waits_until_it_stands(view):
    run = view({4: "tilt 6", 6: "move x 5", 30: "stop"}, devices=NO_TILT_MEANWHILE)
    assert calls(run, "stagexyz.move_xy")[-1][0] == pytest.approx(5000, abs=20)
    assert texts(run) == []
    begun = run.of("call", "stagexyz.move_xy")[0]["begin_ns"]
    before = [record["result"]["value"] for record in run.of("call", "stage.angle") if record["end_ns"] < begun]
    assert before[-1] == pytest.approx(6, abs=0.05)


def test_where_it_may_not_tilt_while_the_stage_moves_a_tilt_waits_for_the_move_or_is_refused(view):
    """The second move is somebody else's: begun beside the view, as by hand at the microscope."""
    tell = Operator({4: "move x 100", 5: "tilt 3", 20: "tilt 9", 30: "stop"})

    def operator(record: Any, run: Any) -> None:
        if record["kind"] == "refused" and tell.shown == 18:
            run.in_background(run.microscope.stagexyz.move_xy(0.0, 0.0), "by hand")
        tell(record, run)

    run = view(operator, devices=NO_TILT_MEANWHILE)
    (tilted,) = run.of("call", "stage.rotate")
    assert tilted["args"] == [3.0, 2.0]
    assert tilted["begin_ns"] > run.of("call", "stagexyz.move_xy")[1]["end_ns"]
    (text,) = texts(run)
    assert "it was not tilted" in text


def test_a_move_that_is_under_way_when_the_view_ends_is_stopped_and_one_that_is_over_stays(view):
    cut = view({4: "move x 900", 7: "stop"})
    assert len(cut.of("call", "stagexyz.stop")) == 1
    assert cut.document["alarms"] == []
    over = view({4: "move x 5", 14: "stop"})
    assert not over.of("call", "stagexyz.stop")
    assert calls(over, "stagexyz.move_xy")[-1] == pytest.approx([5000, 0], abs=20)


def test_the_mode_changes_with_its_magnification_is_read_at_once_and_stays_at_the_end(view, assert_trace_matches):
    run = view(
        {4: "mode imaging 20000", 10: "mode low-mag", 14: "mode diffraction 400", 20: "mode imaging", 26: "stop"}
    )
    assert [mode for (mode,) in calls(run, "mode.set_mode")] == ["imaging", "low-mag", "diffraction", "imaging"]
    assert calls(run, "mode.set_magnification") == [[20000.0]]
    assert calls(run, "mode.set_camera_length_mm") == [[400.0]]
    changed = run.of("call", "mode.set_magnification")[0]["end_ns"]
    assert any(record["begin_ns"] == changed for record in run.of("call", "mode.mode"))
    read = next(record for record in run.of("call", "mode.magnification") if record["begin_ns"] >= changed)
    assert read["result"] == 20000.0
    assert run.document["alarms"] == []
    assert_trace_matches(replay(run.trace), run)


def test_the_lens_is_back_in_focus_before_the_mode_changes(view):
    run = view({4: "defocus 700", 8: "mode imaging", 20: "stop"})
    order = [record["name"] for record in run.of("call") if record["name"] in ("optics.set_focus", "mode.set_mode")]
    assert order == ["optics.set_focus", "optics.set_focus", "mode.set_mode"]
    (away,), (back,) = calls(run, "optics.set_focus")
    assert away - back == 700


@pytest.mark.parametrize("words", ["mode imaging 1234", "mode diffraction 5000", "mode low-mag 1000000"])
def test_a_step_that_the_mode_does_not_have_is_refused_and_nothing_changes(view, words):
    run = view({4: words, 12: "stop"})
    assert not run.of("call", "mode.set_mode")
    (text,) = texts(run)
    assert text.startswith(f"{words}: ")
    assert text.endswith("nothing was changed.")


NO_MOVES = ["move", "move x", "move q 5", "move x far", "move x 2001", "tilt by"]
NO_MODES = ["mode", "mode tem", "mode imaging x", "mode imaging 0", "mode imaging 5000 2", "mode imaging nan"]


@pytest.mark.parametrize("words", [*NO_MOVES, *NO_MODES])
def test_what_is_no_distance_and_no_mode_is_refused_where_it_is_said(words):
    with pytest.raises(Refused, match="nothing was done"):
        VIEW.understood(words, RunDocument(protocol="view"))


def test_large_magnifications_are_said_as_they_are_written():
    assert VIEW.understood(" Mode  Imaging 1500000", RunDocument(protocol="view")) == "mode imaging 1500000"


STAGE = {"can_rotate": True, "limits_deg": [-60.0, 60.0]}
MODE = {"modes": ["imaging", "diffraction"], "magnifications": {"imaging": [5000.0]}, "camera_lengths_mm": []}


@pytest.mark.parametrize(
    ("parts", "there"),
    [
        ({}, []),
        ({"optics": {"time_constant_s": 0.0}}, ["Defocus", "Focus", "Relax"]),
        ({"stage": STAGE}, ["Tilt by", "Tilt to", "Stop stage"]),
        ({"stage": {**STAGE, "can_rotate": False}}, ["Stop stage"]),
        ({"stagexyz": {"backlash_nm": 0.0}}, ["Move x", "Move y", "Move z", "Stop stage"]),
        ({"mode": MODE}, ["Imaging", "Diffraction"]),
        ({"mode": "of another version"}, []),
    ],
)
def test_only_parts_that_the_instrument_has_have_buttons(parts, there):
    labels = [each.label for each in VIEW.buttons(RunDocument(protocol="view", instrument=parts))]
    assert labels == ["Unblank", "Blank", *there, "Exposure", "Save image"]


def test_a_mode_offers_the_steps_that_its_driver_declares_and_none_where_these_are_not_known():
    told = {each.label: each for each in VIEW.buttons(RunDocument(protocol="view", instrument={"mode": MODE}))}
    assert told["Imaging"].choices == [("", "as it was"), ("5000", "5000")]
    assert told["Diffraction"].choices == []
    assert {each.words for each in told.values() if each.words.startswith("mode")} <= {f"mode {m}" for m in OpticalMode}
