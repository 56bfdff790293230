"""Replay: the same protocol and machine on a virtual clock, with recorded answers at their recorded instants.

Everything that differs from run to run entered through four gates (`engine.trace`); here the recorded events enter
again. What the program makes of them must then be the same, byte for byte; the first difference is the answer to
"what did my change do?".
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import experiment_type, registered
from engine.errors import DataError
from engine.rehearsal import rehearse
from engine.run import Run
from engine.trace import SCHEMA, Record, read_trace
from engine.virtual import VirtualClock, VirtualLoop

CONTEXT_RECORDS = 20


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first record that differs: its number, both sides (None = there is none), the state, what came before."""

    seq: int
    recorded: Record | None
    replayed: Record | None
    state: str
    before: Sequence[Record]


class ReplayClock(VirtualClock):
    """Virtual time in which waits end as late as they were recorded to."""

    def __init__(self, loop: VirtualLoop, records: Sequence[Record]) -> None:
        super().__init__(loop)
        self._late: dict[int, list[int]] = {}
        for record in records:
            if record["kind"] == "wake":
                self._late.setdefault(record["deadline_ns"], []).append(record["woke_ns"])

    async def sleep_until(self, deadline_ns: int, *, precise: bool = False) -> int:
        """Wait until the recorded wake of this deadline; until the deadline itself where none was late."""
        late = self._late.get(deadline_ns)
        return await super().sleep_until(late.pop(0) if late else deadline_ns, precise=precise)


def load_run(folder: Path) -> list[Record]:
    """The records of a run folder or trace file. Raises DataError with the remedy when it is not one."""
    path = folder / "trace.jsonl" if folder.is_dir() else folder
    records = list(read_trace(path))
    if not records or records[0]["kind"] != "header":
        raise DataError(f"{path}: does not begin with a header, so it is no whole trace; nothing was replayed.")
    schema = records[0].get("schema")
    if schema != SCHEMA:
        raise DataError(
            f"{path}: has schema {schema}, this program reads {SCHEMA}; nothing was replayed. Use the version of "
            f"credline that wrote it ({records[0].get('version', 'unknown')}) or a newer one."
        )
    return records


def replay(records: Sequence[Record]) -> list[Record]:
    """Run the experiment of a trace again with its recorded answers; the records that this makes."""
    return replay_with_result(records)[0]


def replay_with_result(records: Sequence[Record]) -> tuple[list[Record], dict[str, Any]]:
    """The same, with the result that stands in the run's run.json."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_replay(records))


async def _replay(records: Sequence[Record]) -> tuple[list[Record], dict[str, Any]]:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError("a replay needs virtual time")
    header = records[0]
    kind = experiment_type(header["protocol"])
    clock = ReplayClock(loop, records)
    punctual = VirtualClock(loop)  # recorded devices and commands come at their instants, whatever waits were late
    await punctual.sleep_until(header["t_ns"])
    microscope = registered("recorded")["microscope"].load()(punctual, header["instrument"], records)
    own = ("seq", "t_ns", "kind", "name", "schema")
    made, document = await rehearse(
        kind,
        kind.plan_type.model_validate(header["plan"]),
        clock,
        microscope,
        {key: value for key, value in header.items() if key not in own},
        lambda run: _operator(run, punctual, records),
    )
    # As a file would hold them: what was recorded was read from one.
    return [json.loads(json.dumps(record)) for record in made], document["result"]


async def _operator(run: Run, clock: VirtualClock, records: Sequence[Record]) -> None:
    """Give the recorded commands again at their instants."""
    give: dict[str, Any] = {"stopped": run.commands.stop, "aborted": run.commands.abort}
    for record in records:
        if record["kind"] == "command" and record["name"] in give:
            await clock.sleep_until(record["t_ns"])
            give[record["name"]](record["reason"])


def first_divergence(recorded: Sequence[Record], replayed: Sequence[Record]) -> Divergence | None:
    """The first record in which two traces differ; None when they agree to the last."""
    state = ""
    for k in range(max(len(recorded), len(replayed))):
        old = recorded[k] if k < len(recorded) else None
        new = replayed[k] if k < len(replayed) else None
        if old != new:
            return Divergence(k, old, new, state, recorded[max(0, k - CONTEXT_RECORDS) : k])
        if old is not None and old["kind"] == "state":
            state = old["name"]
    return None
