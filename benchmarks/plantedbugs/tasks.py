"""Bugs that leave something running or open."""
# ruff: noqa: SLF001 a bug is planted where it would be made, inside

import asyncio
from typing import Any

from benchmarks.plantedbugs.registry import Swap, bug
from engine.errors import CredlineError, DeviceError
from engine.record.journal import Journal
from engine.record.writer import Writer
from engine.run.safety import Safety
from protocols.cred.rotation.stagewatch import StageWatch
from protocols.cred.sequence import CredSequence


@bug("a swallowed cancellation")
def _() -> list[Swap]:
    unchanged = CredSequence._next_frame

    async def next_frame(self: CredSequence, exposure_s: float) -> Any:
        frame = asyncio.ensure_future(unchanged(self, exposure_s))
        while True:
            try:
                return await asyncio.shield(frame)
            except asyncio.CancelledError:
                if frame.cancelled():
                    raise

    return [(CredSequence, "_next_frame", next_frame)]


@bug("a reading that swallows its cancellation")
def _() -> list[Swap]:
    unchanged = CredSequence._read_stage

    async def read_stage(self: CredSequence) -> None:
        try:
            await unchanged(self)
        except asyncio.CancelledError:
            await asyncio.sleep(3)

    return [(CredSequence, "_read_stage", read_stage)]


@bug("a leaked task")
def _() -> list[Swap]:
    unchanged = CredSequence.refocus
    kept = []

    async def refocus(self: CredSequence) -> str:
        kept.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten"))
        return await unchanged(self)

    return [(CredSequence, "refocus", refocus)]


@bug("a leaked thread")
def _() -> list[Swap]:
    return [(Writer, "close", lambda self: None)]


@bug("a file left open")
def _() -> list[Swap]:
    return [(Journal, "close", lambda self: None)]


@bug("a retry that never ends")
def _() -> list[Swap]:
    async def angle(self: StageWatch) -> Any:
        while True:
            try:
                return await self._stage.angle()
            except DeviceError:
                continue

    return [(StageWatch, "angle", angle)]


@bug("a safe action tried without limit")
def _() -> list[Swap]:
    async def make_safe(self: Safety, action: Any) -> None:
        while True:
            try:
                self.first_begun.set()
                return await action.call()
            except CredlineError:
                await self._timeline.wait("again", self._clock.now_ns() + 100_000_000)

    return [(Safety, "_make_safe", make_safe)]
