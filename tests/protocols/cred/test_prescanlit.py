"""A rotation that would begin behind a bar of the grid begins where there is light."""

from collections.abc import Callable
from typing import Any

import pytest

from drivers.simulated.scenedrawing import draw_scene
from engine.replay.replay import replay
from protocols.cred.prescanlit import KNOWN_TO_DEG, FirstLit
from tests.protocols.cred.conftest import Perform
from tests.protocols.cred.test_prescan import called, in_prescan, said
from tests.protocols.cred.test_tracked import PLAN, with_options

SCENE, APERTURE_NM = "brick, bars", 375.0
LOOKS: dict[str, tuple[str, float | None, float]] = {
    # angle, and d where it was dark; where it has to be looked next; where the rotation begins
    "lit": ("-50 -39 -6 50", None, -50),
    "nothing was seen yet": ("", None, -50),
    "all dark": ("-50d -39d -6d 50d", None, -50),
    "dark at first": ("-50d -39 -6 50", -44.5, -50),
    "dark for long": ("-50d -39d -6 50", -22.5, -39),
    "known": ("-50d -39d -6 50 -22.5d -14.25 -18.25d", None, -14.25),
    "light comes and goes": ("-50d -39 -6d 50", -44.5, -50),
    "dark at the end alone": ("-50 -39 -6 50d", None, -50),
}


@pytest.mark.parametrize(("looks", "next_deg", "begin_deg"), LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("way", [1, -1])
def test_the_way_between_dark_and_light_is_halved(
    looks: str, next_deg: float | None, begin_deg: float, way: int
) -> None:
    first = FirstLit(way * -50.0, way)
    for look in looks.split():
        first.saw(way * float(look.rstrip("d")), dark=look.endswith("d"))
    assert first.next_deg == (None if next_deg is None else pytest.approx(way * next_deg))
    assert first.begin_deg == way * begin_deg


@pytest.mark.long
@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize("scene_seed", [33, 202, 44])
def test_the_rotation_begins_in_the_light(
    perform: Perform, scene_seed: int, way: int, assert_trace_matches: Callable[..., None]
) -> None:
    scene = draw_scene(SCENE, scene_seed)

    def is_lit(angle_deg: float) -> bool:
        return scene.share_lit((0.0, 0.0), angle_deg, APERTURE_NM) > 0.9

    angles_deg = [way * -50.0 + way * k for k in range(101)]
    lit = [angle for angle in angles_deg if is_lit(angle)]
    start_deg, end_deg = way * -50.0, lit[-1]
    asked: dict[str, Any] = {**PLAN, "tracking": "correct", "prescan_images": 4, "rotation": "commanded"}
    run = perform(
        with_options(crystal={"scene": SCENE, "orientation_seed": scene_seed}, motion={"drawn_seed": -1}),
        **{**asked, "start_deg": start_deg, "range_deg": end_deg - start_deg, "speed_deg_s": 1.0},
    )
    result = run.document["result"]
    assert run.document["status"] == "done"
    if is_lit(start_deg):
        assert result["start_deg"] == pytest.approx(start_deg, abs=1.0)
        return
    # Half in the shadow counts as lit.
    assert -KNOWN_TO_DEG < way * (result["start_deg"] - lit[0]) < KNOWN_TO_DEG + 2.0
    assert result["end_deg"] == pytest.approx(end_deg, abs=1.0)
    assert "something stands in the beam, so the rotation begins there" in said(run)
    went = [args[0] for name, args in called(in_prescan(run)) if name == "stage.rotate"]
    assert min(way * angle for angle in went[-1:]) > -50.0
    assert_trace_matches(replay(run.trace), run.trace)
