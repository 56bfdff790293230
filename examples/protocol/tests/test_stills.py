"""The stills are where they belong, and what cannot be is refused. The fixtures are those of credline's test kit."""

from dataclasses import replace

import pytest
from engine.errors import Refused
from engine.replay.replay import replay

from stills import STILLS, StillsPlan

TWO_TILTS = {"tilts_deg": (-5.0, 5.0), "frames": 2}


def test_every_tilt_has_its_frames(record_run, assert_trace_matches):
    run = record_run("stills", **TWO_TILTS)
    assert run.document["result"] == {"frames": 4, "stops": 2}
    assert [round(frame["tilt_deg"]) for frame in run.of("frame")] == [-5, -5, 5, 5]
    assert_trace_matches(replay(run.trace), run)


def test_the_beam_is_off_while_the_stage_moves(record_run):
    names = [call["name"] for call in record_run("stills", **TWO_TILTS).of("call")]
    second_tilt = len(names) - names[::-1].index("stage.rotate")
    assert [name for name in names[:second_tilt] if name.startswith("beam")] == ["beam.unblank", "beam.blank"]


@pytest.mark.parametrize("what", [{"tilts_deg": (85.0,)}, {"beam_limit_s": 0.3}, {"exposure_s": 60.0}])
@pytest.mark.asyncio
async def test_what_cannot_be_is_refused(simulated_microscope, what):
    with pytest.raises(Refused):
        STILLS.prepare(StillsPlan(**what), simulated_microscope.facts)


@pytest.mark.asyncio
async def test_where_the_stage_has_no_x_and_y_there_are_no_places(simulated_microscope):
    with pytest.raises(Refused, match="has no x and y"):
        STILLS.prepare(StillsPlan(places_nm=((0.0, 0.0),)), replace(simulated_microscope.facts, stagexyz=None))
