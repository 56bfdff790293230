"""Going on from an earlier run: what a new run is told of it (`credline run --continue FOLDER`).

The earlier run is recovered first where its program was cut off. The new run lies in a folder of its own, and its
header holds all that it was told, so that each of the two is replayed, recovered and exported alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel

from engine.errors import DataError, Refused
from engine.record.document import RunDocument
from engine.record.found import read_found
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.remains import Remains
from engine.record.salvage import protocol_of
from engine.run.contract import AnyExperiment
from engine.run.header import plan_in_trace
from engine.run.planfile import build_plan_from
from engine.run.recovery import recover_run
from engine.run.registry import experiment_type


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run that another one is to go on from; it has ended, or was recovered just now. told: what was recovered."""

    kind: AnyExperiment
    document: RunDocument
    remains: Remains
    folder: Path
    told: Sequence[str]

    @property
    def plan(self) -> JsonObject:
        """The keys of its plan: those of the new one too, where nothing else is asked."""
        return self.document.plan or self.remains.plan

    def carried_over(self, plan: BaseModel) -> JsonDict:
        """What the header of the new run, of this plan, holds of it under `continued`.

        Raises Refused, in the protocol's words, where it cannot go on or the new plan does not fit what was done.
        """
        done = self.kind.carried_over(plan, self.remains)
        before = plan_in_trace(build_plan_from(self.kind, self.plan), self.kind.path_keys)
        return {"run": self.folder.name, "status": self.document.status, "plan": before, "done": dict(done)}


def earlier_run(folder: Path, protocol: str | None = None, devices: str | None = None) -> Earlier:
    """The run to go on from, recovered if its program was cut off.

    protocol, devices: what the new run is to have, None where that is not known. Raises Refused, nothing started, for a
    run of another protocol or on other devices; DataError for a folder that holds no run or whose program is still at
    work; StorageError when the disk fails.
    """
    if not folder.is_dir():
        raise Refused(f"--continue {folder}: is no folder; nothing was started. Give the folder of a run.")
    found = protocol_of(folder)
    if found is None:
        raise Refused(
            f"--continue {folder}: that run ended before it had begun, so there is nothing to go on from; nothing was "
            "started. Perform it anew."
        )
    if protocol is not None and found != protocol:
        raise Refused(
            f"--continue {folder}: is a run of {found}, not of {protocol}; nothing was started. Name {found}."
        )
    kind = experiment_type(found)
    had_ended = _has_ended(folder)
    told = recover_run(folder)
    kinds = {item.name: tuple(column.name for column in item.arrival) for item in kind.frame_kinds}
    left = read_found(folder, kinds)
    document = left.document
    if document is None:
        raise DataError(f"{folder}: its run.json cannot be read after its recovery; nothing was started.")
    before = document.devices
    if devices is not None and before is not None and Path(before).name != Path(devices).name:
        raise Refused(
            f"--continue {folder}: that run was on --devices {before}, this one would be on {devices}; nothing was "
            f"started. Give --devices {before}."
        )
    cut_off = document.recovered is not None and document.recovered.get("cut_off") is True
    return Earlier(kind, document, replace(left.remains, cut_off=cut_off), folder, () if had_ended else told)


def _has_ended(folder: Path) -> bool:
    try:
        return RunDocument.read(folder).has_ended
    except DataError:
        return False
