"""Bugs in what is done with an operator's commands."""
# ruff: noqa: SLF001 a bug is planted where it would be made, inside

from typing import Any

from benchmarks.plantedbugs.registry import Swap, bug
from engine.run.commands import Commands
from engine.run.run import Run


@bug("a stop is not heard during snapshots")
def _() -> list[Swap]:
    unchanged = Run._work

    async def work(self: Run, state: Any, activity: Any, experiment: Any) -> str:
        if state.value in ("defocus-snapshot", "refocus"):
            return await activity()
        return await unchanged(self, state, activity, experiment)

    return [(Run, "_work", work)]


@bug("an abort is taken for a stop")
def _() -> list[Swap]:
    return [(Commands, "abort", Commands.stop)]


@bug("an operator's command is lost")
def _() -> list[Swap]:
    return [(Commands, "stop", lambda self, reason: None)]
