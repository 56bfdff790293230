"""An experiment of a campaign with automatic tracking: a whole virtual run of the engine on a simulated microscope, of
which the truth tells how far it really came.
"""

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from engine.clock import NS_PER_S, Clock
from engine.clock.virtual import VirtualLoop
from engine.errors import CredlineError
from engine.record.endings import Ending
from engine.record.trace import Record
from engine.run.conduct import Outcome
from engine.run.contract import Prepared
from engine.run.perform import Request, carry_out
from engine.run.planfile import build_plan_from
from engine.run.registry import experiment_type
from engine.run.run import Run
from engine.testing.soak import fast_folder, quiet
from protocols.cred.campaign.population import SCENE, SPEED_DEG_S, Experiment, gone_at
from protocols.cred.machine import State
from protocols.cred.seencrystal import LOST_AFTER
from protocols.cred.trackedpath import FOUND, NOT_FOUND
from protocols.tracking.path import Seen

if TYPE_CHECKING:
    from drivers.contract import Microscope


class Watched:
    """What is seen of a run as it goes: angles of its snapshots, and whether the crystal was found in them and
    believed; from when on it rotates, in ns of the clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.looks: list[tuple[float, bool]] = []
        self.rotates_ns = 0

    def see(self, record: Record) -> None:
        """A record of the trace. What was before the rotation, as a pre-scan, is not judged."""
        if record["kind"] == "state" and record["name"] == State.DELAY.value:
            self.looks.clear()
            self.rotates_ns = self._clock.now_ns()
        elif record["kind"] == "tracking" and record["name"] in (FOUND, NOT_FOUND):
            self.looks.append((record["angle_deg"], record.get("seen", Seen.DOUBTED) != Seen.DOUBTED))


EXPOSURE_S, INTERVAL = 1.0, 5
"""Snapshots as often as with ten slots of half a second, by half as many frames."""
SNAPSHOT_S = 0.05
"""Five times as long as usual, for pale crystals: it costs no slot, and no dose, for the beam is on anyway."""


@dataclass(frozen=True, slots=True)
class AutomaticRun:
    """How an experiment with automatic tracking went.

    range_deg: without sign, until the crystal was gone in truth, or until the run ended if that was before. lost_deg:
    when tracking itself took it for lost for the first time, at which a run with crystal_lost = "stop" would have
    ended; None where it did not. median_nm, worst_nm: of the distances of the crystal from the middle of the aperture
    in all exposures until then.
    """

    range_deg: float
    planned_deg: float
    status: str
    reason: str
    lost_deg: float | None
    median_nm: float
    worst_nm: float


def automatically(experiment: Experiment) -> AutomaticRun:
    """The experiment carried out; 1 to 2 s of one processor. Never raises for what the run does."""
    quiet()
    planned_deg = abs(experiment.range_deg)
    with TemporaryDirectory(prefix="credline-campaign-", dir=fast_folder()) as name:
        try:
            run, outcome, watched = _carried_out(experiment, Path(name))
        except CredlineError as error:
            return AutomaticRun(0.0, planned_deg, "refused", str(error), None, math.nan, math.nan)
    return _as_it_was(experiment, run, outcome.ending, watched)


def plan_of(experiment: Experiment) -> dict[str, Any]:
    """The plan of the run."""
    return {
        "sample": f"campaign{experiment.number}",
        "exposure_s": EXPOSURE_S,
        "snapshot_interval": INTERVAL,
        "snapshot_exposure_s": SNAPSHOT_S,
        "speed_deg_s": SPEED_DEG_S,
        "start_deg": experiment.start_deg,
        "range_deg": experiment.range_deg,
        "rotation": "commanded",
        "tracking": "correct",
        "prescan_images": 1,
        "crystal_lost": "go on",
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


def _carried_out(experiment: Experiment, folder: Path) -> tuple[Run, Outcome, Watched]:
    devices = folder / "devices.toml"
    devices.write_text(devices_of(experiment), encoding="utf-8")
    kind = experiment_type("cred")
    seen: list[Run] = []
    watched: list[Watched] = []

    def watch(run: Run, prepared: Prepared) -> None:
        run.compute.inline = True
        watched.append(Watched(run.clock))
        run.trace.observe(watched[-1].see)
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
    return seen[-1], outcome, watched[-1]


def _as_it_was(experiment: Experiment, run: Run, ending: Ending, watched: Watched) -> AutomaticRun:
    """Judged by what the simulation knows."""
    planned_deg, status, reason = abs(experiment.range_deg), ending.status.value, ending.reason
    truth = cast("Microscope", run.microscope).truth  # it is the one that `devices_of` names
    looks, every = watched.looks, [] if truth is None else truth.exposures()
    exposures = [each for each in every if each[0] >= watched.rotates_ns]
    if truth is None or not exposures:
        return AutomaticRun(0.0, planned_deg, status, reason, None, math.nan, math.nan)
    begin_ns = exposures[0][0]
    begin_deg = truth.angle_deg(begin_ns)
    turned_deg = [abs(truth.angle_deg(begin) - begin_deg) for begin, _ in exposures]
    t_s = [(begin - begin_ns) / NS_PER_S for begin, _ in exposures]
    range_deg = abs(truth.angle_deg(exposures[-1][1]) - begin_deg)
    gone_deg = gone_at(turned_deg, t_s, lambda k: truth.crystal_share(*exposures[k]))
    if gone_deg is not None:
        range_deg, reason = gone_deg, "the crystal was gone"
    lost_deg = next(
        (
            abs(looks[k][0] - begin_deg)
            for k in range(LOST_AFTER - 1, len(looks))
            if not any(found for _, found in looks[k - LOST_AFTER + 1 : k + 1])
        ),
        None,
    )
    if lost_deg is not None and lost_deg >= range_deg:
        lost_deg = None
    away_nm = sorted(
        math.hypot(*truth.crystal_nm(*each)) for each, at in zip(exposures, turned_deg, strict=True) if at <= range_deg
    )
    return AutomaticRun(range_deg, planned_deg, status, reason, lost_deg, away_nm[len(away_nm) // 2], away_nm[-1])
