"""The run of a calibration that takes pictures with the beam on, as a base: its parts, its frames, its way back.

What `snapshot`, `flux`, `lens` and `rotation` share. Beam, stage and camera are the engine's to make safe, beam first;
what was changed goes back behind that (`asfound`).
"""

from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Protocol

from drivers.contract import Microscope
from drivers.facts import DetectorFacts, Facts
from drivers.parts import OpticalMode
from engine.clock import ns
from engine.errors import Refused
from engine.frame import Frame
from engine.record.framekinds import FrameKind
from engine.record.jsonobject import JsonDict
from engine.record.spoolformat import Columns
from engine.run.contract import Experiment, SafeAction
from engine.run.machine import StrictMachine
from engine.run.run import Run
from engine.run.series import Series
from engine.run.trial import Rules, SoakedRun
from protocols.calibrate.asfound import AsFound
from protocols.calibrate.setting import MODE, looked_at

SMALL: JsonDict = {
    "driver": "simulated",
    "hidden": True,
    "pictures": {"shape": [96, 96], "wide_cross": False, "disc_radius_px": 28.0},
    "geometry": {"beam_fast_px": 48.0, "beam_slow_px": 48.0},
    "lens": {"shift_px": [3.2, 2.4]},
}
"""A simulated instrument with a small camera, for soaks."""


class Machine(Protocol):
    """Makes a machine in its initial state; it tells every state boundary to `entered`."""

    def __call__(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """The machine."""
        ...


class Picturing(Experiment):
    """Parts behind the gate, and one series of frames."""

    def __init__(self, facts: Facts, microscope: Microscope, run: Run, machine: Machine) -> None:
        super().__init__(run, microscope, machine(run.entered))
        self.facts, self.found = facts, AsFound(run, microscope)
        self.beam = run.gate.wrap("beam", microscope.beam)
        self.detector = run.gate.wrap("detector", microscope.detector)
        self.stage = None if microscope.stage is None else run.gate.wrap("stage", microscope.stage)
        self.focus = 0
        """The value of the lens in focus, once it was read."""
        self.flatfield: int | None = None
        """Where the camera's response lies in the spool; None where nobody knows it."""

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `Experiment.safe_actions`: as usual, and everything back to where it was found."""
        return [*super().safe_actions(), *self.found.actions()]

    async def begin_series(self, exposures_s: Sequence[float]) -> None:
        """Blank the beam, arm the camera, keep its response where it brings one."""
        await self.beam.blank()
        if self.detector.flatfield is not None:
            self.flatfield = await self.run.data.keep_extra("flatfield", self.detector.flatfield)
        await self.detector.arm(exposures_s)
        self.series = Series(self.run, self.detector)

    async def frame(self, kind: FrameKind, exposure_s: float, columns: Columns | None = None) -> Frame:
        """Take a frame and keep it."""
        told = columns or {}
        await self.series.start(exposure_s)
        frame = await self.series.frame(exposure_s, told)
        await self.series.keep(kind.name, frame, told)
        return frame

    async def defocus(self, units: int) -> None:
        """Tell the lens to go to a distance from focus; it is on its way then."""
        optics = self.found.optics
        if optics is None:
            raise Refused("calibration: this instrument has no lens that can be defocused; nothing was started.")
        await optics.set_focus(self.focus + units)

    async def wait(self, what: str, seconds: float) -> None:
        """Wait so long from now."""
        await self.run.timeline.wait(what, self.run.timeline.now_ns + ns(seconds))

    def write_extra(self, folder: Path) -> None:
        """See `Experiment.write_extra`."""
        if self.microscope.truth is not None:
            self.microscope.truth.write_hidden(folder / "truth.h5")


def camera_of(facts: Facts, exposures_s: Sequence[float], calibration: str) -> DetectorFacts:
    """The camera's facts. Raises Refused where there is none, or none that can expose as the plan says."""
    if facts.detector is None:
        raise Refused(
            f"{calibration}: this instrument has no camera; nothing was started. Name one in the devices file."
        )
    if said := facts.detector.cannot_expose(tuple(exposures_s)):
        raise Refused(f"{calibration}: the camera {said}; nothing was started. Choose another exposure.")
    return facts.detector


async def looked_at_diffraction(microscope: Microscope) -> JsonDict:
    """As `looked_at`. Raises Refused outside diffraction."""
    look = await looked_at(microscope)
    if look.get(MODE, OpticalMode.DIFFRACTION.value) != OpticalMode.DIFFRACTION.value:
        raise Refused(
            f"the microscope is in {look[MODE]} mode, and a defocused disc is there in diffraction only; nothing was "
            "started. Set diffraction, and the camera length of your runs."
        )
    return look


def as_sentence(why: str) -> str:
    """A reason with its full stop; one that ends with a question has its mark."""
    return why if why.endswith(("?", ".")) else f"{why}."


def beam_is_off(soaked: SoakedRun) -> Rules:
    """The rule that a soak of these adds to those of the engine."""
    yield "the beam is off, or an alarm says so", soaked.microscope.truth.is_blanked() or bool(soaked.alarms), ""
    if not soaked.alarms:
        yield "the lens is in focus at the end", soaked.microscope.truth.is_in_focus(), ""
