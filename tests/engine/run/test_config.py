"""Every mistake in a plan, a setting or a devices file becomes one line that names the key and the remedy."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from drivers.contract import Microscope, Parts
from drivers.simulated.detector import Timepix
from drivers.simulated.microscope import SIMULATED_TIMING
from engine.clock.virtual import VirtualClock
from engine.errors import Refused
from engine.run.devicesfile import connect_devices
from engine.run.planfile import build_plan, parse_setting, read_toml
from engine.run.registry import experiment_type, registered
from tests.engine.virtually import virtual


class Crystal(BaseModel):
    model_config = ConfigDict(extra="forbid")
    cif: Path | None = None
    orientation_seed: int = 0


class Plan(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    sample: str = "grain"
    exposure_s: Annotated[float, Field(gt=0)] = 0.5
    speed_deg_s: float = 0.45
    defocus: int = 1500
    unblank: bool = True
    formats: tuple[str, ...] = ()
    crystal: Crystal = Crystal()


KIND: Any = SimpleNamespace(plan_type=Plan)


def refusal(settings: list[str], config: Path | None = None) -> str:
    with pytest.raises(Refused) as refused:
        build_plan(KIND, config, settings)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_status == 2
    return str(refused.value)


# --- settings


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("exposure_s=0.3", (["exposure_s"], 0.3)),
        ("defocus=-1500", (["defocus"], -1500)),
        ("defocus=1_500", (["defocus"], 1500)),
        ("unblank=false", (["unblank"], False)),
        ("sample=grain-7", (["sample"], "grain-7")),
        ('sample="true"', (["sample"], "true")),
        ("sample=", (["sample"], "")),
        ("sample=a=b", (["sample"], "a=b")),
        ("crystal.cif=data/lta.cif", (["crystal", "cif"], "data/lta.cif")),
        ('formats=["smv", "tiff"]', (["formats"], ["smv", "tiff"])),
        (" exposure_s = 0.3 ", (["exposure_s"], 0.3)),
        ("sample=0.3 s", (["sample"], "0.3 s")),
    ],
)
def test_a_setting_is_toml_if_it_can_be_and_text_otherwise(word: str, expected: tuple[list[str], Any]) -> None:
    assert parse_setting(word) == expected


@pytest.mark.parametrize("word", ["exposure_s", "=0.3", "", "  = 1"])
def test_a_word_that_is_no_setting_is_refused_with_an_example(word: str) -> None:
    with pytest.raises(Refused, match=r"--set .*write key=value, for example"):
        parse_setting(word)


@pytest.mark.parametrize("value", ["1" + 400 * "0", "0x" + 5000 * "f"], ids=["decimal", "hexadecimal"])
def test_a_whole_number_without_end_is_refused(value: str) -> None:
    for key in ("exposure_s", "defocus", "formats"):
        assert f"--set '{key}=" in (said := refusal([f"{key}=[{value}]" if key == "formats" else f"{key}={value}"]))
        assert "more than 64 bits" in said


def test_settings_fill_a_plan_and_later_words_win() -> None:
    plan = build_plan(KIND, None, ["exposure_s=0.3", "crystal.orientation_seed=4", "exposure_s=0.2", "defocus=9"])
    assert plan == Plan(exposure_s=0.2, defocus=9, crystal=Crystal(orientation_seed=4))


def test_settings_win_over_the_file_and_leave_the_rest_of_a_table(tmp_path: Path) -> None:
    config = tmp_path / "plan.toml"
    config.write_text('exposure_s = 0.3\nsample = "a"\n[crystal]\norientation_seed = 7\n')
    plan = build_plan(KIND, config, ["sample=b", "crystal.cif=x.cif"])
    assert plan == Plan(exposure_s=0.3, sample="b", crystal=Crystal(orientation_seed=7, cif=Path("x.cif")))


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("exposure=0.3", ["exposure: the plan has no such key", "Did you mean exposure_s?"]),
        ("crystal.cfi=x", ["crystal.cfi: the plan has no such key", "Did you mean crystal.cif?"]),
        ("zzz=1", ["zzz: the plan has no such key", "Keys are: sample, exposure_s", "crystal.cif"]),
        ("exposure_s=fast", ["exposure_s = 'fast'", "plain number of seconds", "exposure_s=0.5"]),
        ("exposure_s=0.3 s", ["exposure_s = '0.3 s'", "plain number of seconds"]),
        ("speed_deg_s=1 deg/s", ["speed_deg_s = '1 deg/s'", "plain number of degrees per second", "speed_deg_s=0.45"]),
        ("exposure_s=-1", ["exposure_s = -1", "greater than 0"]),
        ("exposure_s=nan", ["exposure_s = nan", "greater than 0"]),
        ("defocus=1.5", ["defocus = 1.5", "give a whole number"]),
        ("unblank=perhaps", ["unblank = 'perhaps'", "write true or false"]),
        ("formats=smv", ["formats = 'smv'", "give a list", '["a", "b"]']),
        ("crystal=x.cif", ["crystal = 'x.cif'", "crystal.cif, crystal.orientation_seed", "--set crystal.cif=VALUE"]),
        ("geometry.camera_length_mm=250", ["geometry: the plan has no such key", "devices file", "--devices"]),
        ("sample.name=7", ["sample", "string"]),
    ],
)
def test_a_mistake_in_a_setting_names_key_value_and_remedy(word: str, parts: list[str]) -> None:
    text = refusal([word])
    assert [part for part in parts if part not in text] == []


def test_the_first_of_several_mistakes_is_told_and_the_rest_counted() -> None:
    assert refusal(["exposure=1", "speed=1", "defocus=x"]).endswith("(2 more after this one)")


def test_a_value_is_no_table() -> None:
    assert "exposure_s is a value, not a table" in refusal(["exposure_s=1", "exposure_s.x=2"])


# --- files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"sample = mordenite\n", r"is not valid TOML: .*line 1.*\. Text values need quotes"),
        (b"exposure_s = 0.3 s\n", r"is not valid TOML: .*line 1.*\. A number stands without its unit"),
        (b"exposure_s = 0.3\nspeed_deg_s 0.4\n", r"is not valid TOML: .*line 2, column 13\)\.$"),
        (b"a = 1\na = 2\n", r"is not valid TOML: .*line 2"),
        (b"[x]\na = [1, 1" + 400 * b"0" + b"]\n", r"is not valid TOML: a whole number has more than 64 bits"),
        (b"a = 0x" + 5000 * b"f" + b"\n", r"is not valid TOML: a whole number has more than 64 bits"),
        (b"sample = \xff\n", r"is not a text file in UTF-8"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_with_its_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes(content)
    with pytest.raises(Refused, match=rf"--config .*plan\.toml: {words}"):
        read_toml(path, "--config")


@pytest.mark.parametrize(
    ("name", "words"),
    [("none.toml", r"cannot be read .*Check the name"), (".", r"is a folder. Name a TOML file in it")],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        read_toml(tmp_path / name, "--config")


def test_a_mistake_in_a_file_names_its_key(tmp_path: Path) -> None:
    config = tmp_path / "plan.toml"
    config.write_text("exposure_s = -1\n")
    assert "exposure_s = -1" in refusal([], config)


# --- what is registered


def test_an_unknown_protocol_is_refused_with_those_there_are() -> None:
    with pytest.raises(Refused, match=r"protocol 'cerd' is not known; registered are: .*cred.*Did you mean cred"):
        experiment_type("cerd")


def test_the_simulated_drivers_are_registered() -> None:
    assert {"simulated", "simulated-timing"} <= set(registered("drivers"))


# --- devices


async def connect(clock: VirtualClock, name: str, options: Mapping[str, Any] | None = None) -> Microscope:
    async with connect_devices(name, clock, 1, options or {}) as microscope:
        assert isinstance(microscope, Microscope)
        return microscope


def devices_file(folder: Path, content: str) -> str:
    path = folder / "devices.toml"
    path.write_text(content)
    return str(path)


@virtual
async def test_a_driver_connects_by_its_name(clock: VirtualClock) -> None:
    microscope = await connect(clock, "simulated-timing", {"api_call_s": 0.05})
    assert microscope.timing.api_call_s == 0.05


@virtual
async def test_a_devices_file_gives_a_driver_its_options(clock: VirtualClock, tmp_path: Path) -> None:
    name = devices_file(
        tmp_path,
        '[microscope]\ndriver = "simulated-timing"\napi_call_s = 0.07\n'
        "stage = {limits_deg = [-30, 30], backlash_deg = 1}\n",
    )
    microscope = await connect(clock, name, {"api_call_s": 0.05})
    assert microscope.timing.api_call_s == 0.07  # the file knows its devices better than the plan
    assert microscope.stage.facts.limits_deg == (-30, 30)


@virtual
async def test_a_devices_file_mixes_drivers(clock: VirtualClock, tmp_path: Path) -> None:
    name = devices_file(
        tmp_path,
        '[microscope]\ndriver = "simulated-timing"\n'
        '[detector]\ndriver = "simulated-timing"\ndetector = {readout_s = 0.1, overhead_s = [0.0, 0.0]}\n'
        '[stage]\ndriver = "simulated-timing"\nstage = {limits_deg = [-5, 5]}\n',
    )
    microscope = await connect(clock, name)
    assert isinstance(microscope.detector, Timepix)
    assert microscope.detector.facts.cycle_s(1.0) == pytest.approx(1.1)
    assert microscope.stage.facts.limits_deg == (-5, 5)


@virtual
async def test_a_devices_file_says_what_no_driver_knows(clock: VirtualClock, tmp_path: Path) -> None:
    name = devices_file(
        tmp_path,
        '[microscope]\ndriver = "simulated-timing"\n'
        "[geometry]\ncamera_length_mm = 400\n[timing]\nstage_read_s = 0.277\n",
    )
    microscope = await connect(clock, name)
    assert microscope.geometry.camera_length_mm == 400
    assert microscope.geometry.wavelength_A == 0.02508  # the driver's own
    assert microscope.timing.stage_read_s == 0.277


@virtual
async def test_a_part_or_a_figure_that_nobody_has_is_refused(clock: VirtualClock) -> None:
    async with SIMULATED_TIMING.connect(clock, 1, {}) as parts:
        blind = replace(parts, detector=None)
        with pytest.raises(Refused, match=r"there is no detector.*\[detector\]"):
            blind.assembled()
        assert blind.assembled({"detector": parts}).detector is parts.detector
        known = {name: value for name, value in parts.geometry.items() if name != "camera_length_mm"}
        lost = replace(parts, geometry={**known, "pixel_size_mm": 0.055})
        with pytest.raises(Refused, match=r"\[geometry\] camera_length_mm is known to no driver"):
            lost.assembled()
        camera = Parts(detector=parts.detector, geometry={"camera_length_mm": 400.0})
        whole = lost.assembled({"detector": camera}).geometry
        assert whole.camera_length_mm == 400.0
        # Where the beam was on the microscope's own camera tells nothing of another one, of 32 x 32 pixels.
        assert (whole.beam_fast_px, whole.beam_slow_px) == (16.0, 16.0)


@virtual
async def test_what_was_connected_is_let_go_when_a_later_part_fails(clock: VirtualClock, tmp_path: Path) -> None:
    name = devices_file(
        tmp_path, '[microscope]\ndriver = "simulated-timing"\n[detector]\ndriver = "simulated-timing"\nodd = 1\n'
    )
    with pytest.raises(Refused, match="odd"):
        await connect(clock, name)
    assert asyncio.all_tasks() == {asyncio.current_task()}


GOOD = '[microscope]\ndriver = "simulated-timing"\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[microscop]\n", r"table \[microscop\] is not known; use \[microscope\], \[stage\]"),
        ('[stage]\ndriver = "simulated-timing"\n', r"\[microscope\] .*is missing"),
        ("", r"\[microscope\] .*is missing"),
        ('[microscope]\ndriver = "jeool"\n', r"\[microscope\] driver = 'jeool' is not one of: .*simulated"),
        ("[microscope]\n", r"\[microscope\] has no driver; nothing was started. Write driver = one of: .*simulated"),
        ('[microscope]\ndriver = ["simulated"]\n', r"\[microscope\] driver = \['simulated'\] is not one of"),
        ('microscope = "simulated"\n', r"microscope .*table"),
        (GOOD + "api_cal_s = 1\n", r"no option 'api_cal_s'.*Did you mean api_call_s\? Options are api_call_s"),
        (GOOD + 'api_call_s = "fast"\n', r"api_call_s.*number"),
        (GOOD + "api_call_s = 0\n", r"api_call_s.*0"),
        (GOOD + "stage = {backlash = 1}\n", r"\[stage\] has no key 'backlash'.*backlash_deg"),
        (GOOD + 'stage = {backlash_deg = "little"}\n', r"\[stage\] backlash_deg = 'little' is not a number"),
        (GOOD + "stage = {backlash_deg = true}\n", r"\[stage\] backlash_deg = True is not a number"),
        (GOOD + "stage = {limits_deg = 70}\n", r"\[stage\] limits_deg = 70"),
        (GOOD + "stage = {limits_deg = [70]}\n", r"\[stage\] limits_deg = "),
        (GOOD + "stage = 3\n", r"stage.*table"),
        (GOOD + "geometry = 3\n", r"geometry.*table"),
        (GOOD + "[geometry]\ncamera_length = 3\n", r"\[geometry\] has no key 'camera_length'.*camera_length_mm"),
        (GOOD + '[timing]\nstage_read_s = "slow"\n', r"\[timing\] stage_read_s = 'slow' is not a number"),
        ("driver = simulated\n", r"is not valid TOML"),
    ],
)
@virtual
async def test_a_mistake_in_a_devices_file_is_refused(
    clock: VirtualClock, tmp_path: Path, content: str, words: str
) -> None:
    with pytest.raises(Refused, match=words) as refused:
        await connect(clock, devices_file(tmp_path, content))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "words"), [("jeol2100", "no driver of that name; registered are: .*simulated"),
                                             ("none.toml", "cannot be read")])  # fmt: skip
@virtual
async def test_devices_that_do_not_exist_are_refused(clock: VirtualClock, name: str, words: str) -> None:
    with pytest.raises(Refused, match=f"--devices {name}: {words}"):
        await connect(clock, name)
