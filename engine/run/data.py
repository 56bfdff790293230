"""The data of one run: frames into the spool as they arrive, and their final form when the instrument is safe.

`Run.data` is what an experiment gives its frames to. At the end the protocol's `finish` makes the result from the
records and the frames that are on disk; frames.h5 and run.json are written from it, and only then the spool goes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import StorageError
from engine.frame import Frame, Picture, bounds
from engine.record.folder import to_disk
from engine.record.framekinds import SHOWN_ONLY
from engine.record.frametable import DATA_FILE, Extra, write_frames
from engine.record.remains import Remains, RunEnd, entries_of
from engine.record.shownframe import ShownFrame
from engine.record.spool import SPOOL_FILE, Spool, SpooledFrame, crc_of, read_spool
from engine.record.spoolformat import Columns
from engine.record.warned import warnings_in
from engine.run.framewatch import FrameWatch

if TYPE_CHECKING:
    from pydantic import BaseModel

    from engine.run.contract import AnyExperiment, Experiment
    from engine.run.run import Run


class RunData:
    """Frames, records and result of one run of `kind`. plan: checked. watched: the kinds of frames that are watched."""

    def __init__(self, run: "Run", kind: "AnyExperiment", plan: "BaseModel", watched: Sequence[str] = ()) -> None:
        self._run = run
        self._kind = kind
        self._plan = plan
        self._columns = {frames.name: tuple(c.name for c in frames.arrival) for frames in kind.frame_kinds}
        self._spool = Spool(run.folder / SPOOL_FILE, run.writer, durable=run.durable)
        run.files.callback(self._spool.close)
        self._shown = ShownFrame(run.folder, run.writer)
        run.files.callback(self._shown.close)
        self._extra: dict[str, Extra] = {}
        self.watch = FrameWatch(run, [frames for frames in kind.frame_kinds if frames.name in watched])
        self.last: tuple[int, int] = (-1, 0)
        """Index and CRC-32 of the frame that was kept last."""
        self.products: list[str] = []
        """What was made for other programs and what is to be known of it, or why nothing was; lines for a person."""

    async def keep(self, kind: str, frame: Frame, *, arrived_ns: int, columns: Columns | None = None) -> bool:
        """Queue a frame for the disk and record it; False, and it is lost by name, when the disk has failed.

        kind, columns: as `ExperimentType.frame_kinds` declares them. Takes under 1 ms while the disk keeps up, else
        waits for it.
        """
        columns = columns or {}
        if kind not in self._columns or set(columns) != set(self._columns[kind]):
            declared = self._columns.get(kind)
            raise ValueError(f"frames of kind {kind!r} are declared with the columns {declared}, not {tuple(columns)}")
        try:
            index = await self._spool.append(frame, kind, columns)
        except StorageError:
            self.refuse(frame, "the disk has failed", arrived_ns=arrived_ns, columns=columns)
            return False
        self.last = index, self._spool.crc
        self._run.trace.record(
            "frame",
            kind,
            **columns,
            number=frame.number,
            start_ns=frame.start_ns,
            end_ns=frame.end_ns,
            **bounds(frame),
            arrived_ns=arrived_ns,
            index=index,
            crc=self._spool.crc,
        )
        return True

    def refuse(
        self, frame: Frame, reason: str, *, arrived_ns: int, columns: Columns | None = None, dtype: str = ""
    ) -> None:
        """Say of a frame that it was not kept, with all that a replay needs for getting it again.

        dtype: of its counts, where that is why.
        """
        self._run.trace.record(
            "refused",
            "frame",
            reason=reason,
            **(columns or {}),
            number=frame.number,
            start_ns=frame.start_ns,
            end_ns=frame.end_ns,
            arrived_ns=arrived_ns,
            shape=list(frame.counts.shape),
            **({"dtype": dtype} if dtype else {}),
            crc=crc_of(frame),
        )

    def show(self, kind: str, frame: Frame, *, arrived_ns: int, columns: Columns | None = None) -> None:
        """Give a frame to whoever watches, and keep it no longer than until the next one; the trace says so.

        Takes under 1 ms; where the disk is behind nobody sees this frame.
        """
        self.refuse(frame, SHOWN_ONLY, arrived_ns=arrived_ns, columns=columns)
        self._shown.show(kind, frame, columns or {})

    async def keep_extra(self, name: str, counts: Picture) -> int:
        """Keep a picture that belongs to all frames (a flatfield): a dataset of its own in frames.h5.

        Returns its index in the spool: a computation that corrects the frames it is given names this picture as well.
        """
        index = await self._spool.append(Frame(counts, 0, 0, 0), name, {})
        self._extra[name] = Extra(counts, index)
        return index

    def remains(self) -> Remains:
        """What there is of the run now, as far as it is on disk."""
        written = self._spool.written if self._run.writer.error is not None else self._spool.frames
        records = self._run.trace.recorded()
        return Remains(
            header=self._run.trace.first or {},
            plan=self._plan.model_dump(mode="json"),
            records=records,
            frames=entries_of(records, lambda kind: self._columns[kind], written),
            states=[record["name"] for record in records if record["kind"] == "state"],
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the run has warned of so far."""
        return warnings_in(self._run.trace.recorded())

    def end(self) -> RunEnd:
        """What the protocol makes of that."""
        return self._kind.finish(self.remains())

    async def write(self, experiment: "Experiment") -> None:
        """Bring the data into their final form; the instrument is safe. In the writer's thread, so that stop and abort
        stay heard. Raises StorageError; the spool then stays.
        """
        run = self._run
        await run.drain()
        self._spool.close()
        remains = self.remains()
        end = self._kind.finish(remains)
        await run.on_disk("write", partial(self._write, experiment, remains, end))
        formats = self._kind.products(self._plan)
        if formats and end.unusable:
            self.products = [f"no files for other programs: {end.unusable}"]
        elif formats and run.products_wanted:
            await run.on_disk("export", lambda: run.writer.run(lambda: self._export(formats)))

    async def _write(self, experiment: "Experiment", remains: Remains, end: RunEnd) -> None:
        """Write the files, and let the spool go."""
        run, folder = self._run, self._run.folder
        on_disk = {frame.index for frame in remains.frames}
        files: list[Path] = []

        def frames(name: str) -> Iterator[SpooledFrame]:
            return (frame for frame in read_spool(folder / SPOOL_FILE, name) if frame.index in on_disk)

        await run.writer.run(lambda: files.extend(write_data(self._kind, folder, remains, end, frames, self._extra)))
        await run.writer.run(lambda: experiment.write_extra(folder))
        if run.durable:
            await run.writer.run(lambda: to_disk(folder, files))
        run.save(None)  # a program cut off from here on has left everything but its ending
        if run.durable:
            await run.writer.run(lambda: to_disk(folder))
        (folder / SPOOL_FILE).unlink()

    def _export(self, formats: Sequence[str]) -> None:
        self._run.save(self._run.ending)  # the exporters read it
        self.products = list(
            self._kind.export(
                self._run.folder, formats, lambda done, total: self._run.progress("writing products", done, total)
            )
        )


def write_data(
    kind: "AnyExperiment",
    folder: Path,
    remains: Remains,
    end: RunEnd,
    frames: Callable[[str], Iterator[SpooledFrame]],
    extra: Mapping[str, Extra],
) -> list[Path]:
    """Write frames.h5, and the protocol's own files; which were written. Blocks: for a thread.

    frames: gives the frames of `remains` of one kind, in order, from the spool. Raises StorageError or DataError. The
    spool stays: it may go when run.json speaks of what is in frames.h5, and both are on the disk itself.
    """

    def pictures(name: str) -> Iterator[Picture]:
        return (frame.counts for frame in frames(name))

    tables = {k.name: k.table(remains.of_kind(k.name), end.columns.get(k.name)) for k in kind.frame_kinds}
    files = []
    if any(len(table) for table in tables.values()):
        write_frames(folder / DATA_FILE, tables, pictures, extra)
        files.append(folder / DATA_FILE)
    return [*files, *kind.write_files(folder, remains, end, frames)]
