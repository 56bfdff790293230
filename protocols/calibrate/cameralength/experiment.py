"""The run of a camera length: the lens relaxed, then frames of a powder at one camera length after the other.

The safe state blanks the beam first, puts the lens in focus and the camera length back to what was found. What becomes
of the frames is in `analysis`.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path

from drivers.calibration.standards import STANDARDS, standard
from drivers.contract import Microscope
from drivers.facts import DetectorFacts, Facts
from drivers.parts import OpticalMode
from engine.clock import ns
from engine.errors import DeviceError, Refused
from engine.record.document import RunDocument
from engine.record.endings import Status
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.run.contract import Experiment, ExperimentType, Prepared, Progress, SafeAction, Times, Work
from engine.run.machine import StrictMachine
from engine.run.panels import Kept
from engine.run.run import Run
from engine.run.series import Series
from engine.run.trial import Case, Rules, SoakedRun, Trial
from protocols.calibrate.asfound import AsFound
from protocols.calibrate.cameralength.plan import POWDER, CameraLengthPlan, State, camera_length_machine
from protocols.calibrate.setting import CAMERA_LENGTH, MODE, looked_at

RELAX_HALF_CYCLE_S = 0.5
BACK_S = 1.5
SAME_SHARE = 1e-6
VACUUM = "vacuum"
LENS_ALARM = "THE LENS IS NOT IN FOCUS: focus it by hand before the next experiment"


class CameraLengthExperiment(Experiment):
    """The work of each state."""

    def __init__(self, plan: CameraLengthPlan, facts: Facts, microscope: Microscope, run: Run) -> None:
        super().__init__(run, microscope, camera_length_machine(run.entered))
        self.plan, self.facts = plan, facts
        self.beam = run.gate.wrap("beam", microscope.beam)
        self.optics = run.gate.wrap("optics", microscope.optics)
        self.detector = run.gate.wrap("detector", microscope.detector)
        self.found = AsFound(run, microscope)
        self.focus: int | None = None
        self.lengths: list[float | None] = list(plan.camera_lengths_mm) or [None]
        self.nominal_mm = math.nan

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {State.RELAX: self.relax, State.SET_LENGTH: self.set_length, State.EXPOSE: self.expose}

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `Experiment.safe_actions`: as usual, and lens and camera length back to where they were found."""
        actions = [*super().safe_actions(), *self.found.actions()]
        if self.focus is not None:
            actions.append(SafeAction("focus the lens", self._back_in_focus, BACK_S, LENS_ALARM))
        return actions

    async def _back_in_focus(self) -> None:
        if self.focus is not None:
            await self.optics.set_focus(self.focus)

    async def relax(self) -> str:
        """Toggle the lens against its hysteresis, as before a cRED run; arm the camera."""
        if self.found.mode is not None:
            await self.found.remember_mode()
        if self.plan.relax_cycles:
            self.focus = await self.optics.focus()
            for _ in range(self.plan.relax_cycles):
                for value in (self.focus + self.plan.defocus, self.focus):
                    await self.optics.set_focus(value)
                    await self.run.timeline.wait("relax", self.run.timeline.now_ns + ns(RELAX_HALF_CYCLE_S))
        if self.detector.flatfield is not None:
            await self.run.data.keep_extra("flatfield", self.detector.flatfield)
        await self.detector.arm((self.plan.exposure_s,))
        self.series = Series(self.run, self.detector)
        return "relaxed"

    async def set_length(self) -> str:
        """The next camera length; the beam is off meanwhile. The run may be paused here."""
        await self.run.checkpoint()
        wanted_mm, mode = self.lengths.pop(0), self.found.mode
        if mode is not None:
            if wanted_mm is not None:
                await mode.set_camera_length_mm(wanted_mm)
                settled_ns = self.run.timeline.now_ns + ns(mode.facts.settling_s)
                await self.run.timeline.wait("lenses settled", settled_ns)
            self.nominal_mm = await mode.camera_length_mm()
            if wanted_mm is not None and not math.isclose(self.nominal_mm, wanted_mm, rel_tol=SAME_SHARE):
                raise DeviceError(
                    f"camera length: told to go to {wanted_mm:g} mm, the microscope stays at {self.nominal_mm:g} mm; "
                    "nothing is stored. Set it at the microscope, and leave camera_lengths_mm out."
                )
        return "set"

    async def expose(self) -> str:
        """Frames at this camera length, the beam on for them alone."""
        columns = {"nominal_mm": self.nominal_mm}
        await self.beam.unblank()
        for _ in range(self.plan.frames):
            await self.series.start(self.plan.exposure_s)
            frame = await self.series.frame(self.plan.exposure_s, columns)
            await self.series.keep(POWDER.name, frame, columns)
        await self.beam.blank()
        return "taken" if self.lengths else self.run.finish(Status.DONE, "all frames taken")

    def write_extra(self, folder: Path) -> None:
        """See `Experiment.write_extra`."""
        if self.microscope.truth is not None:
            self.microscope.truth.write_hidden(folder / "truth.h5")


class PreparedCameraLength(Prepared):
    """A plan that fits the instrument."""

    def __init__(self, plan: CameraLengthPlan, facts: Facts, camera: DetectorFacts) -> None:
        self.plan, self.facts, self.camera = plan, facts, camera

    @property
    def words(self) -> Mapping[str, str]:
        """See `Prepared.words`."""
        plan, lengths = self.plan, self.plan.camera_lengths_mm
        cycle_s = self.camera.cycle_s(plan.exposure_s) + 2 * self.facts.timing.api_call_s
        settling_s = self.facts.mode.settling_s if self.facts.mode is not None else 0.0
        relax_s = 2 * plan.relax_cycles * (RELAX_HALF_CYCLE_S + self.facts.timing.api_call_s)
        total_s = relax_s + max(1, len(lengths)) * (plan.frames * cycle_s + settling_s)
        return {
            "before it begins": f"a film of {plan.standard} in the beam, in focus, beam stop out, in diffraction",
            "camera lengths": ", ".join(f"{each:g} mm" for each in lengths) or "the one that is set",
            "frames": f"{plan.frames} of {plan.exposure_s:g} s at each",
            "lattice known to": f"{known_to_percent(plan):g} %: the camera length is not known better",
            "duration": f"{total_s:.0f} s",
        }

    @property
    def size_bytes(self) -> int:
        """See `Prepared.size_bytes`."""
        rows, columns = self.camera.shape or (0, 0)
        return super().size_bytes + 2 * rows * columns * self.plan.frames * max(1, len(self.plan.camera_lengths_mm))

    def begin(self, run: Run, microscope: Microscope) -> CameraLengthExperiment:
        """See `Prepared.begin`."""
        return CameraLengthExperiment(self.plan, self.facts, microscope, run)


class CameraLengths(ExperimentType[CameraLengthPlan]):
    """The entry in the register of protocols."""

    name = "camera-length"
    summary = "true camera length, beam centre and ellipse, from the rings of a powder"
    plan_type = CameraLengthPlan
    frame_kinds = (POWDER,)
    pauses = True
    needs = ("beam", "optics", "detector")

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return camera_length_machine(entered)

    def prepare(self, plan: CameraLengthPlan, facts: Facts) -> PreparedCameraLength:
        """See `ExperimentType.prepare`."""
        if facts.detector is None:
            raise Refused("camera-length: this instrument has no camera; nothing was started.")
        if said := facts.detector.cannot_expose((plan.exposure_s,)):
            raise Refused(f"exposure_s: the camera {said}; nothing was started.")
        if not (of := standard(plan.standard)).cif.is_file():
            raise Refused(
                f"standard = {plan.standard!r} is none of {', '.join(STANDARDS)}, and there is no CIF {of.cif}; "
                "nothing was started."
            )
        if plan.camera_lengths_mm and facts.mode is None:
            raise Refused(
                "camera_lengths_mm: this instrument has no part that sets a camera length; nothing was started. "
                "Leave it out, and set the camera length at the microscope."
            )
        for length_mm in plan.camera_lengths_mm:
            if facts.mode is not None and (said := facts.mode.no_camera_length(OpticalMode.DIFFRACTION, length_mm)):
                raise Refused(f"camera_lengths_mm: {said}; nothing was started.")
        return PreparedCameraLength(plan, facts, facts.detector)

    def device_options(self, plan: CameraLengthPlan) -> Mapping[str, object]:
        """See `ExperimentType.device_options`: an instrument that hides what it is, with a film of the standard."""
        film = plan.standard if standard(plan.standard).cif.is_file() else VACUUM  # refused by `prepare`
        return {"hidden": True, "crystal": {"film": film}}

    async def look(self, plan: CameraLengthPlan, microscope: Microscope) -> JsonDict:
        """See `ExperimentType.look`: the mode, which has to be diffraction, and the camera length."""
        seen = await looked_at(microscope)
        if seen and CAMERA_LENGTH not in seen:
            raise Refused(
                f"camera-length: the microscope is in {seen[MODE]} mode; nothing was started. Go to diffraction at the "
                "microscope, with the film in focus."
            )
        return seen

    def kept(self, folder: Path, document: RunDocument) -> Kept | None:
        """See `ExperimentType.kept`."""
        from protocols.calibrate.keeping import kept_of

        return kept_of(folder, document)

    def times(self, plan: CameraLengthPlan) -> Times:
        """See `ExperimentType.times`."""
        return Times((plan.exposure_s, plan.exposure_s))

    def progress(self, record: Record) -> Progress | None:
        """See `ExperimentType.progress`."""
        return Progress(record["index"] + 1, record["name"]) if record["kind"] == "frame" else None

    def trial(self) -> Trial:
        """See `ExperimentType.trial`."""
        return CameraLengthTrial()


class CameraLengthTrial(Trial):
    """What `credline soak camera-length` draws, and the rules that it adds to those of the engine."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        lengths = rng.choice([[], [300.0], [200.0, 250.0, 400.0]])
        plan: JsonDict = {
            "camera_lengths_mm": lengths,
            "frames": rng.choice([1, 3]),
            "relax_cycles": rng.choice([0, 2]),
        }
        return {**plan, "exposure_s": rng.choice([0.1, 0.3])}, super().draw(rng)[1]

    def instrument(self, case: Case) -> JsonDict:
        """See `Trial.instrument`: a small camera that makes pictures."""
        geometry = {"beam_fast_px": 48.0, "beam_slow_px": 48.0}
        return {"driver": "simulated", "pictures": {"shape": [96, 96], "wide_cross": False}, "geometry": geometry}

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield "the beam is off, or an alarm says so", soaked.microscope.truth.is_blanked() or bool(soaked.alarms), ""
        in_focus = soaked.microscope.truth.is_in_focus() or bool(soaked.alarms)
        yield "the lens is in focus, or an alarm says so", in_focus, ""
        mode = soaked.microscope.mode
        state = getattr(mode, "state", None)
        if state is not None:
            is_back = state[2] == 250.0 or bool(soaked.alarms)
            yield "the camera length is back, or an alarm says so", is_back, f"{state[2]:g} mm"


def known_to_percent(plan: CameraLengthPlan) -> float:
    """How well the lattice of the film is known."""
    told = plan.standard_known_to_percent
    return standard(plan.standard).known_to_percent if told is None else told


CAMERA_LENGTH_TYPE = CameraLengths()
