"""Plans: what is refused, with which words, and what the examples promise."""

from pathlib import Path
from typing import Any

import pytest

from drivers.contract import Microscope
from engine.clock import Clock
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import Refused
from engine.run.devicesfile import connect_devices
from engine.run.planfile import build_plan
from protocols.cred import CRED
from protocols.cred.slotplan import SlotPlan

EXAMPLES = Path(__file__).parents[3] / "examples"


def slots_of(plan: Any, **options: Any) -> SlotPlan:
    import asyncio

    async def prepare() -> SlotPlan:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock: Clock = VirtualClock(loop)
        merged = {**plan.device_options(), **options}
        async with connect_devices("simulated-timing", clock, 0, merged) as microscope:
            assert isinstance(microscope, Microscope)
            return SlotPlan(plan, microscope.facts)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(prepare())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["exposre_s=1"], "exposre_s: the plan has no such key. Did you mean exposure_s?"),
        (["exposure_s=500ms"], "exposure_s = '500ms': give a plain number of seconds"),
        (["speed_deg_s=fast"], "speed_deg_s = 'fast': give a plain number of degrees per second"),
        (["exposure_s=-1"], "exposure_s = -1: should be greater than 0"),
        (["snapshot_interval=-1"], "snapshot_interval = -1: should be greater than or equal to 0"),
        (["crystal.orientation_seed=-1"], "crystal.orientation_seed = -1: should be greater than or equal to 0"),
        (["speed_deg_s=-0.45"], "to rotate the other way, give a negative range_deg"),
        (["beam=258.3,260.1"], 'fast then slow, as --set "beam=[258.3, 260.1]"'),
        (["beam=off"], "beam = 'off': say found, nominal, or a place"),
        (["formats=cif"], "'cif' is no format; choose from smv, tiff"),
        (["formats=none"], "'none' is no format; choose from smv, tiff"),
        (["crystal=lta.cif"], "Give one of these, for example --set crystal.cif=VALUE"),
        (["snapshot_interval=1"], "snapshot_interval = 1: with 1 every slot would be a snapshot"),
        (["range_deg=0"], "range_deg = 0: a range of 0 deg has no frames"),
        (["rotation=pedals"], "rotation = 'pedals': should be 'pedal' or 'commanded'"),
        (["sample=../up"], "sample = '../up': it names the run folder"),
        (["sample=a b"], "sample = 'a b': it names the run folder"),
        (["crystal.file=1"], "crystal.file: the plan has no such key. Did you mean crystal.cif?"),
        (["defocus=0"], "defocus: 0 shows no crystal"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key_and_the_remedy(settings: list[str], words: str) -> None:
    with pytest.raises(Refused) as refused:
        build_plan(CRED, None, settings)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["range_deg=170"], "the rotation from -30.00 to 141.51 deg (run-in and run-out"),
        (["range_deg=170"], "leaves the holder's -80..80 deg"),
        (["start_deg=-85"], "start_deg: the rotation from -85.00"),
        (["exposure_s=0.05", "snapshot_interval=5"], "'settling' ends 245.8 ms"),
        (["exposure_s=0.05", "snapshot_interval=5"], "Set snapshot_interval to 9 or more"),
        (["exposure_s=60"], "exposure_s = 60: the detector exposes for 0.001 to 10 s"),
    ],
)
def test_a_plan_that_cannot_fit_says_which_step_and_by_how_much(settings: list[str], words: str) -> None:
    with pytest.raises(Refused) as refused:
        slots_of(build_plan(CRED, None, settings))
    assert words in str(refused.value)


def test_formats_are_named_as_export_names_them_or_in_a_list() -> None:
    for words in ("formats=xds, autoed", 'formats=["xds", "autoed"]'):
        assert build_plan(CRED, None, [words]).formats == ("xds", "autoed")


def test_the_largest_orientation_seed_is_taken() -> None:
    assert build_plan(CRED, None, [f"crystal.orientation_seed={2**63 - 1}"]).crystal.orientation_seed == 2**63 - 1


def test_a_cooling_holder_with_less_tilt_refuses_what_a_tomography_holder_allows() -> None:
    plan = build_plan(CRED, None, ["start_deg=-45", "range_deg=30"])
    slots_of(plan)
    with pytest.raises(Refused, match=r"-42\.\.42 deg"):
        slots_of(plan, stage={"limits_deg": [-42.0, 42.0]})


def test_a_larger_defocus_settles_longer_and_may_take_another_slot() -> None:
    small, large = (slots_of(build_plan(CRED, None, [f"defocus={value}"])) for value in (1500, 20000))
    assert 0.3 < small.settling_s < 0.4 < large.settling_s
    assert (small.snapshot_slots, large.snapshot_slots) == (1, 2)


@pytest.mark.parametrize(("name", "slots", "snapshots"), [("mordenite-1", 553, 55), ("mordenite-2", 439, 43)])
def test_the_examples_are_the_data_sets_of_table_1(name: str, slots: int, snapshots: int) -> None:
    planned = slots_of(build_plan(CRED, EXAMPLES / f"{name}.toml", []))
    assert abs(planned.slots - slots) <= 1
    assert planned.snapshots.fewest == snapshots
    assert planned.period_s == pytest.approx(0.512)


# (plan, share of the range that snapshots take, wedge of one)
WEDGES = {
    "none": (["snapshot_interval=0"], 0.0, 0.0),
    "every tenth slot": (["exposure_s=0.5", "speed_deg_s=0.45", "snapshot_interval=10"], 0.1, 0.2304),
    "the last one reaches beyond the range": (
        ["exposure_s=0.1", "speed_deg_s=0.45", "snapshot_interval=6", "range_deg=0.6048"],
        0.5,
        5 * 0.0504,
    ),
    "short exposures": (["exposure_s=0.1", "speed_deg_s=0.45", "snapshot_interval=6"], 5 / 6, 5 * 0.0504),
}


@pytest.mark.parametrize("case", WEDGES)
def test_a_plan_says_what_of_the_range_snapshots_take(case: str) -> None:
    keys, share, wedge_deg = WEDGES[case]
    planned = slots_of(build_plan(CRED, None, keys))
    assert planned.snapshots.least_missing == pytest.approx(share, abs=0.004)
    assert planned.wedge_deg == pytest.approx(wedge_deg, abs=1e-6)


def test_every_example_is_a_valid_plan() -> None:
    plans = [file for file in EXAMPLES.glob("*.toml") if "[microscope]" not in file.read_text()]
    assert len(plans) == 3
    for file in plans:
        slots_of(build_plan(CRED, file, []))
