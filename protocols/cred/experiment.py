"""cRED as the engine sees it: the type in the register, a plan prepared for devices, a run with its data."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivers.contract import Microscope
from drivers.replayed.microscope import describe
from engine.errors import Refused
from engine.record.document import RunDocument
from engine.record.endings import Ending, Status
from engine.record.folder import to_disk
from engine.record.spool import Spool
from engine.run.machine import StrictMachine
from engine.run.run import Run
from protocols.cred.machine import cred_machine
from protocols.cred.plan import FORMATS, CredPlan, SlotPlan
from protocols.cred.sequence import CredSequence

if TYPE_CHECKING:
    from protocols.cred.soak.trial import CredTrial

# Spool and frames.h5 stand side by side for a moment; counts deflate to less than 0.6 of their size.
DISK_FACTOR = 1.6
DISK_RESERVE_BYTES = 16 * 1024 * 1024


class CredRun(CredSequence):
    """One cRED run with its data on disk. Implements `engine.run.contract.Experiment`."""

    def __init__(self, prepared: "PreparedCred", run: Run) -> None:
        self._spool_file = Spool(run.folder / "frames.spool", run.writer, durable=run.durable)
        run.files.callback(self._spool_file.close)
        super().__init__(prepared.plan, prepared.slot_plan, prepared.microscope, run, self._spool_file)
        self._microscope = prepared.microscope

    async def write(self) -> None:
        """See `CredSequence.write`; in the writer's thread, so that stop and abort stay heard."""
        from protocols.cred.results import data_files, write_data, write_truth

        await self.run.drain()
        self._spool_file.close()
        folder, detector = self.run.folder, self._microscope.detector
        await self.run.writer.run(lambda: write_data(self, folder))
        if self.run.durable:
            await self.run.writer.run(lambda: to_disk(folder, data_files(self, folder)))
        self.run.save(self, None)  # a program cut off from here on has left everything but its ending
        if self.run.durable:
            await self.run.writer.run(lambda: to_disk(folder))
        (folder / "frames.spool").unlink()
        await self.run.writer.run(lambda: write_truth(self.plan, self.collected, folder, self._microscope))
        ending = self.run.ending
        wanted = ending is not None and ending.status is not Status.ABORTED and any(self.collected.kept())
        if wanted and self.plan.formats and detector.has_pictures:
            await self.run.writer.run(lambda: self._export(ending))

    def _export(self, ending: Ending | None) -> None:
        self.run.save(self, ending)  # the exporters read it
        CRED.export(
            self.run.folder, self.plan.formats, lambda done, total: self.run.progress("writing products", done, total)
        )

    def _forget_unwritten(self) -> None:
        """When the disk failed, count what is on it; the others are lost by name."""
        collected, written = self.collected, self._spool_file.written
        if self.run.writer.error is None or not written:
            return
        begins_ns = sorted([f.start_ns for f in collected.frames] + [s.start_ns for s in collected.snapshots])
        unwritten = set(begins_ns[written - (self._microscope.detector.flatfield is not None) :])
        collected.lost_slots += [frame.slot for frame in collected.frames if frame.start_ns in unwritten]
        collected.frames = [frame for frame in collected.frames if frame.start_ns not in unwritten]
        collected.snapshots = [shot for shot in collected.snapshots if shot.start_ns not in unwritten]

    def document(self) -> dict[str, Any]:
        """See `Experiment.document`."""
        self._forget_unwritten()
        from protocols.cred.results import instrument_of, reading_list, result_of, snapshot_list

        return {
            **instrument_of(self._microscope),
            "result": result_of(self),
            "snapshots": snapshot_list(self.collected, self.slots),
            "stage_readings": reading_list(self.collected, self.slots),
        }


@dataclass(frozen=True)
class PreparedCred:
    """Implements `engine.run.contract.Prepared`."""

    plan: CredPlan
    slot_plan: SlotPlan
    microscope: Microscope

    @property
    def budgets(self) -> Any:
        """See `Prepared.budgets`."""
        return self.slot_plan.budgets

    @property
    def facts(self) -> Mapping[str, str]:
        """See `Prepared.facts`."""
        slots = self.slot_plan
        begin_deg, end_deg = slots.travel_deg
        return {
            "acquisition period": f"{slots.period_s * 1000:.1f} ms",
            "oscillation angle": f"{slots.oscillation_deg:.4f} deg per slot",
            "slots": f"{slots.slots} ({slots.snapshots} snapshots, {slots.snapshot_slots} slot(s) each)",
            "not recorded": (
                f"{100 * slots.missing_share:.0f} % of the range, in wedges of {slots.wedge_deg:.4g} deg"
                if slots.snapshots
                else "nothing is left out"
            ),
            "duration": f"{slots.slots * slots.period_s:.1f} s",
            "stage travel": f"{begin_deg:.2f} to {end_deg:.2f} deg, run-in and run-out included",
            "a frame may start late by": f"{slots.tolerance_s * 1000:.1f} ms",
            "smallest margin": f"{slots.smallest_margin_s * 1000:.1f} ms",
            "disk space": f"{self.size_bytes / 1e6:.0f} MB",
        }

    @property
    def instrument(self) -> Mapping[str, Any]:
        """See `Prepared.instrument`."""
        return describe(self.microscope, self.plan.exposure_s, self.plan.defocus)

    @property
    def slots(self) -> int:
        """See `Prepared.slots`."""
        return self.slot_plan.slots

    @property
    def smallest_margin_s(self) -> float:
        """See `Prepared.smallest_margin_s`."""
        return self.slot_plan.smallest_margin_s

    @property
    def size_bytes(self) -> int:
        """See `Prepared.size_bytes`."""
        rows, columns = self.microscope.detector.shape
        return round(DISK_FACTOR * self.slots * rows * columns * 2) + DISK_RESERVE_BYTES

    def begin(self, run: Run) -> CredRun:
        """See `Prepared.begin`."""
        return CredRun(self, run)


class Cred:
    """The entry in the register of protocols."""

    name = "cred"
    summary = "continuous rotation electron diffraction of one crystal, with defocused snapshots"
    plan_type = CredPlan
    formats = FORMATS

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """See `ExperimentType.export`."""
        from protocols.products.export import export_run

        if not RunDocument.read(folder).instrument.get("detector", {}).get("has_pictures", True):
            raise Refused(f"{folder}: its camera delivered no pictures (a run for timing); nothing was exported.")
        summary = export_run(folder, formats, min(os.cpu_count() or 1, 4), progress)
        fast_px, slow_px = summary.beam_px
        return (
            f"{summary.files} files in {', '.join(summary.formats)} from {summary.frames} frames",
            f"primary beam at {fast_px:.2f}, {slow_px:.2f} px (fast, slow); {summary.clipped_pixels} pixels clipped",
            *summary.warnings,
        )

    def recover(self, folder: Path) -> Sequence[str]:
        """See `ExperimentType.recover`."""
        from protocols.cred.recovery.recovery import recover_run

        return recover_run(folder, draw=True)

    def machine(self) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return cred_machine()

    def trial(self) -> "CredTrial":
        """What a soak of cRED draws and judges (`engine.testing.soak.Trial`)."""
        from protocols.cred.soak.trial import CredTrial

        return CredTrial()

    def device_options(self, plan: CredPlan) -> Mapping[str, Any]:
        """See `ExperimentType.device_options`."""
        return plan.device_options()

    def prepare(self, plan: CredPlan, microscope: Microscope) -> PreparedCred:
        """See `ExperimentType.prepare`."""
        return PreparedCred(plan, SlotPlan(plan, microscope), microscope)


CRED = Cred()
