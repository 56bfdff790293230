"""Bugs that leave beam, stage or lens as they must not be left."""
# ruff: noqa: SLF001 a bug is planted where it would be made, inside

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import protocols.cred.sequence as sequence
from benchmarks.plantedbugs.registry import Swap, bug
from engine.errors import DeviceError
from engine.record.endings import Status
from engine.run.contract import SafeAction
from engine.run.safety import Safety
from protocols.cred.rotation.stagewatch import StageWatch
from protocols.cred.sequence import CredSequence


def without(skipped: set[str], when: Callable[[CredSequence], bool]) -> list[Swap]:
    """Safe actions left out under a condition."""
    unchanged = CredSequence.safe_actions

    def safe_actions(self: CredSequence) -> Any:
        return [a for a in unchanged(self) if not (when(self) and a.name in skipped)] or unchanged(self)[:1]

    return [(CredSequence, "safe_actions", safe_actions)]


def ended_as(sequence: CredSequence, status: Status) -> bool:
    return sequence.run.ending is not None and sequence.run.ending.status is status


@bug("blank missing when aborted")
def _() -> list[Swap]:
    return without({"blank the beam", "make sure of the beam"}, lambda self: ended_as(self, Status.ABORTED))


@bug("beam blanked last instead of first")
def _() -> list[Swap]:
    return without({"blank the beam"}, lambda _: True)


@bug("image shift left where tracking has brought it")
def _() -> list[Swap]:
    return without({"image shift back"}, lambda _: True)


@bug("nobody makes sure of the beam")
def _() -> list[Swap]:
    return without({"make sure of the beam"}, lambda _: True)


@bug("one answer of the blanker believed")
def _() -> list[Swap]:
    def sure_of(beam: Any, alarm: str) -> SafeAction:
        async def make_sure() -> None:
            await beam.blank()
            if not await beam.is_blanked():
                raise DeviceError("beam: the blanker does not close.")

        return SafeAction("make sure of the beam", make_sure, 1.5, alarm)

    return [(sequence, "sure_of", sure_of)]


@bug("beam unblanked while waiting for rotation")
def _() -> list[Swap]:
    unchanged = CredSequence.wait_for_rotation

    async def wait_for_rotation(self: CredSequence) -> str:
        await self._beam.unblank()
        return await unchanged(self)

    return [(CredSequence, "wait_for_rotation", wait_for_rotation)]


@bug("stage not stopped")
def _() -> list[Swap]:
    return without({"stop the rotation"}, lambda self: ended_as(self, Status.FAILED))


@bug("a stop believed before the stage was seen to turn")
def _() -> list[Swap]:
    unchanged = StageWatch._see_it_stand

    async def see_it_stand(self: StageWatch) -> None:
        if self.turning:
            await unchanged(self)

    return [(StageWatch, "_see_it_stand", see_it_stand)]


@bug("a stop believed")
def _() -> list[Swap]:
    async def see_it_stand(self: StageWatch) -> None: ...

    return [(StageWatch, "_see_it_stand", see_it_stand)]


@bug("detector not disarmed")
def _() -> list[Swap]:
    return without({"disarm the detector"}, lambda _: True)


@bug("focus forgotten at the end")
def _() -> list[Swap]:
    return without({"focus the lens"}, lambda _: True)


@bug("refocus forgotten after a snapshot")
def _() -> list[Swap]:
    async def nothing(self: CredSequence) -> None: ...

    unchanged = CredSequence.refocus

    async def refocus(self: CredSequence) -> str:
        with patch.object(self, "_optics", Blind()), patch.object(CredSequence, "_check_focus", nothing):
            return await unchanged(self)

    return [(CredSequence, "refocus", refocus)]


class Blind:
    """A lens that takes 35 ms and does nothing."""

    async def set_focus(self, value: int) -> None:
        """Do nothing."""
        await asyncio.sleep(0.035)


@bug("an alarm that nobody hears")
def _() -> list[Swap]:
    unchanged = Safety._not_done

    def not_done(self: Safety, action: Any, cause: str) -> None:
        unchanged(self, replace(action, alarm=""), cause)

    return [(Safety, "_not_done", not_done)]
