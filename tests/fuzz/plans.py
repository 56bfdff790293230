"""Readers of plans, settings and devices files, and inputs for them."""

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

from drivers.contract import Microscope
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import CredlineError
from engine.run.devicesfile import connect_devices
from engine.run.planbasis import declared_basis
from engine.run.planfile import build_plan, parse_setting
from protocols.cred import CRED
from protocols.cred.plan import CredPlan
from tests.fuzz.mutations import (
    ODD_WORDS,
    noise,
)

PLANS = (
    b"""# every key
sample = "grain_7"
exposure_s = 0.5
speed_deg_s = 0.45
start_deg = -30.0
range_deg = 60.0
rotation = "pedal"
rotation_timeout_s = 120.0
snapshot_interval = 10
snapshot_exposure_s = 0.01
defocus = 1500
relax_cycles = 5
unblank = true
formats = ["smv", "tiff", "xds"]
truth = false

[crystal]
orientation_seed = 3
""",
    b"exposure_s = 0.3\nrange_deg = -20\nstart_deg = 10\nrotation = 'commanded'\nsnapshot_interval = 0\nformats = []\n",
    b'[crystal]\ncif = "no_such.cif"\norientation_seed = 4\n',
    b"sample = '''a'''\ncrystal = {orientation_seed = 1}\n",
)
DEVICES = (
    b"""[microscope]
driver = "simulated-timing"
start_deg = 3.0
beam_on = true
api_call_s = 0.035
api_jitter = 0.5
crystal = {orientation_seed = 1}
[microscope.geometry]
wavelength_A = 0.0251
beam_fast_px = 20.0
beam_slow_px = 20.0
[microscope.stage]
limits_deg = [-70, 70]
acceleration_s = 0.1
backlash_deg = 0.1
speed_error = 0.001
encoder_deg = 0.002
stage_read_s = 0.05
pedal_wait_s = [0.5, 3.0]
stops_at_deg = 12.5
[microscope.lens]
focus = 31000
shift_px = [6.4, 4.8]
hysteresis_left = 0.35
[microscope.detector]
readout_s = 0.008
overhead_s = [0.003, 0.004]
exposure_limits_s = [0.001, 10.0]
slow_first_s = [1.2, 1.0]
[microscope.pictures]
shape = [32, 32]
wide_cross = false
saturation = 11810
""",
    b"""[microscope]
driver = "simulated-timing"
[detector]
driver = "simulated-timing"
detector = {arm_s = 0.2}
[stage]
driver = "simulated-timing"
start_deg = 1
[geometry]
camera_length_mm = 300.0
rotation_axis_deg = -38.5
distortion_amplitude_percent = 2.4
[timing]
api_call_s = 0.04
""",
    b'microscope = {driver = "simulated-timing"}\n[beam]\ndriver = "simulated-timing"\n',
)
UNCONNECTED = (
    b"""[microscope]
driver = "instamatic"
host = "10.0.0.2"
limits_deg = [-60, 60]
settling_s = 0.4
rotation = {pace = 1.2, windup = 0.3}
[microscope.mode]
diff = [250.0, 500.0]
[detector]
driver = "merlin"
depth = 24
subframe_s = 0.01
[geometry]
camera_length_mm = 300.0
rotation_axis_deg = -38.5
beam_fast_px = 128.0
beam_slow_px = 128.0
""",
    b"""[microscope]
driver = "thermo"
motion_port = 8081
rotation = {limits = [0.001, 1.0], pace = 0.03}
[stage]
driver = "jeol"
fixed_speed_deg_s = 0.5
still = 187
[detector]
driver = "dectris"
series = "external"
depth_bits = 32
[geometry]
camera_length_mm = 300.0
rotation_axis_deg = -38.5
beam_fast_px = 128.0
beam_slow_px = 128.0
[timing]
api_call_s = 0.04
""",
)
"""Of instruments that are not there: a plan reads all of their options and asks nobody."""
KEYS = (*CredPlan.model_fields, *"crystal.cif crystal.orientation_seed exposure crystal crystal.x a.b.c".split(), "")
BETWEEN = "\x1e"
"""Stands between the words of a command line within one input."""


def words_of(random: Random) -> bytes:
    """Some `--set` words, `BETWEEN` them."""
    words = []
    for _ in range(random.randrange(1, 4)):
        if random.random() < 0.6:
            words.append(random.choice(PLAUSIBLE))
            continue
        value = random.choice(ODD_WORDS) if random.random() < 0.7 else noise(random, 30).decode("latin-1")
        words.append(random.choice(KEYS) + random.choice(("=", "=", "=", "=", " = ", "", "==", ".=", "\n=")) + value)
    return BETWEEN.join(words).encode("utf-8", "surrogatepass")


PLAUSIBLE = (
    "exposure_s=0.3 speed_deg_s=1 start_deg=-10 range_deg=20 range_deg=-20 rotation=commanded snapshot_interval=0 "
    "snapshot_interval=5 defocus=-900 relax_cycles=0 unblank=false formats=[] formats=['smv'] truth=true sample=g_1 "
    "crystal.orientation_seed=7 snapshot_exposure_s=0.02 rotation_timeout_s=9"
).split()


def use_plan(folder: Path, content: bytes) -> None:
    """`credline plan cred --config FILE`."""
    path = folder / "plan.toml"
    path.write_bytes(content)
    prepare(build_plan(CRED, path, []), "simulated-timing")


def use_settings(folder: Path, content: bytes) -> None:
    """`credline plan cred --set ... --set ...`."""
    words = content.decode("utf-8", "surrogateescape").split(BETWEEN)
    for word in words:
        try:
            parse_setting(word)
        except CredlineError:
            continue
    prepare(build_plan(CRED, None, words), "simulated-timing")


def use_devices(folder: Path, content: bytes) -> None:
    """`credline plan cred --devices FILE`."""
    path = folder / "devices.toml"
    path.write_bytes(content)
    prepare(CredPlan(), str(path))


def use_unconnected(folder: Path, content: bytes) -> None:
    """`credline plan cred --devices FILE` of an instrument that is not there."""
    path = folder / "devices.toml"
    path.write_bytes(content)
    plan_unconnected(CredPlan(), str(path))


def plan_unconnected(plan: CredPlan, devices: str) -> None:
    """What `credline plan` does with a plan."""
    declared = declared_basis(devices, CRED.device_options(plan))
    facts: Any = declared.facts  # the engine knows less of them than a protocol does
    json.dumps([declared.rows, dict(declared.unknown), dict(CRED.prepare(plan, facts).words)])


def prepare(plan: CredPlan, devices: str) -> None:
    """What `credline plan` and `plan --connected` do with a plan, and `credline run` before it begins."""

    async def connected() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with connect_devices(devices, VirtualClock(loop), 0, CRED.device_options(plan)) as microscope:
            assert isinstance(microscope, Microscope)
            prepared = CRED.prepare(plan, microscope.facts)
            json.dumps(
                [microscope.facts.as_dict(), dict(prepared.words), prepared.size_bytes, prepared.smallest_margin_s]
            )
            _ = [(budget.available_s, budget.slack_s) for budget in prepared.budgets]

    json.dumps(plan.model_dump(mode="json"))
    plan_unconnected(plan, devices)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(connected())
