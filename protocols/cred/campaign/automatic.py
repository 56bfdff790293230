"""An experiment of a campaign with automatic tracking: a whole virtual run of the engine on a simulated microscope, of
which the truth tells how far it really came.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.clock import NS_PER_S
from engine.clock.virtual import VirtualLoop
from engine.errors import CredlineError
from engine.record.endings import Status
from engine.run.conduct import Outcome
from engine.run.contract import Prepared
from engine.run.perform import Request, carry_out
from engine.run.planfile import build_plan_from
from engine.run.registry import experiment_type
from engine.run.run import Run
from engine.testing.soak import fast_folder, quiet
from protocols.cred.campaign.population import SCENE, SPEED_DEG_S, Experiment, gone_at

EXPOSURE_S, INTERVAL = 1.0, 5
"""Snapshots as often as with ten slots of half a second, by half as many frames."""


@dataclass(frozen=True, slots=True)
class AutomaticRun:
    """How an experiment with automatic tracking went. range_deg: without sign, until the crystal was gone in truth, or
    until the run ended if that was before. median_nm, worst_nm: of the distances of the crystal from the middle of the
    aperture in the frames until then.
    """

    range_deg: float
    planned_deg: float
    status: str
    reason: str
    median_nm: float
    worst_nm: float


def automatically(experiment: Experiment) -> AutomaticRun:
    """The experiment carried out; 1 to 2 s of one processor. Never raises for what the run does."""
    quiet()
    planned_deg = abs(experiment.range_deg)
    with TemporaryDirectory(prefix="credline-campaign-", dir=fast_folder()) as name:
        try:
            run, outcome = _carried_out(experiment, Path(name))
        except CredlineError as error:
            return AutomaticRun(0.0, planned_deg, "refused", str(error), math.nan, math.nan)
    ending = outcome.ending
    return _as_it_was(experiment, run, ending.status, ending.reason)


def plan_of(experiment: Experiment) -> dict[str, Any]:
    """The plan of the run."""
    return {
        "sample": f"campaign{experiment.number}",
        "exposure_s": EXPOSURE_S,
        "snapshot_interval": INTERVAL,
        "speed_deg_s": SPEED_DEG_S,
        "start_deg": experiment.start_deg,
        "range_deg": experiment.range_deg,
        "rotation": "commanded",
        "tracking": "correct",
        "crystal_lost": "stop",
        "relax_cycles": 0,
        "formats": [],
    }


def devices_of(experiment: Experiment) -> str:
    """The instrument of the run, as the text of a devices file."""
    return f"""[microscope]
driver = "simulated"
start_deg = {experiment.start_deg}
crystal.scene = "{SCENE}"
crystal.orientation_seed = {experiment.crystal_seed}
motion.drawn_seed = {experiment.crystal_seed}
motion.worse = {experiment.worse}
pictures.rendered = "snapshots"
stage.limits_deg = [{-experiment.limit_deg}, {experiment.limit_deg}]
"""


def _carried_out(experiment: Experiment, folder: Path) -> tuple[Run, Outcome]:
    devices = folder / "devices.toml"
    devices.write_text(devices_of(experiment), encoding="utf-8")
    kind = experiment_type("cred")
    seen: list[Run] = []

    def watch(run: Run, prepared: Prepared) -> None:
        run.compute.inline = True
        seen.append(run)

    request = Request(
        kind,
        build_plan_from(kind, plan_of(experiment)),
        folder / "runs",
        str(devices),
        virtual=True,
        seed=experiment.crystal_seed,
        accept_gaps=True,
        draw=False,
        watchdog=False,
        signals=False,
    )
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        outcome = runner.run(carry_out(request, watch))
    return seen[-1], outcome


def _as_it_was(experiment: Experiment, run: Run, status: Status, reason: str) -> AutomaticRun:
    """Judged by what the simulation knows."""
    planned_deg = abs(experiment.range_deg)
    truth = None if run.microscope is None else run.microscope.truth
    exposures: Sequence[tuple[int, int]] = [] if truth is None else truth.exposures()
    if truth is None or not exposures:
        return AutomaticRun(0.0, planned_deg, status.value, reason, math.nan, math.nan)
    begin_ns = exposures[0][0]
    begin_deg = truth.angle_deg(begin_ns)
    turned_deg = [abs(truth.angle_deg(begin) - begin_deg) for begin, _ in exposures]
    t_s = [(begin - begin_ns) / NS_PER_S for begin, _ in exposures]
    gone_deg = gone_at(turned_deg, t_s, lambda k: truth.crystal_share(*exposures[k]))
    range_deg = abs(truth.angle_deg(exposures[-1][1]) - begin_deg)
    if gone_deg is not None:
        range_deg, reason = gone_deg, f"the crystal was gone; {reason}"
    there = [math.hypot(*truth.crystal_nm(*each)) for each, at in zip(exposures, turned_deg, strict=True) if at <= range_deg]
    there.sort()
    return AutomaticRun(range_deg, planned_deg, status.value, reason, there[len(there) // 2], there[-1])
