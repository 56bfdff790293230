"""Bugs in what is made of what camera and lenses show."""
# ruff: noqa: SLF001 a bug is planted where it would be made, inside

from dataclasses import replace
from typing import Any

import protocols.cred.finish as finish
import protocols.cred.livelook as livelook
import protocols.cred.results as results
from benchmarks.plantedbugs.registry import Swap, bug
from engine.run.framewatch import FrameWatch
from engine.run.series import Series
from protocols.cred.experiment import Cred
from protocols.cred.livedecision import Decision
from protocols.cred.livelook import LiveLook
from protocols.cred.sequence import CredSequence


@bug("what a camera leaves open is forgotten")
def _() -> list[Swap]:
    unchanged = results.uncertainty_deg
    return [
        (
            results,
            "uncertainty_deg",
            lambda frame, *rest: unchanged(replace(frame, maybe_earlier_ns=0, maybe_later_ns=0), *rest),
        )
    ]


@bug("what a stage that strays leaves open is forgotten")
def _() -> list[Swap]:
    return [(finish, "_doubt", lambda _: None)]


@bug("nobody watches the frames")
def _() -> list[Swap]:
    return [(FrameWatch, "kept", lambda self, *_: None)]


@bug("a run goes on where bad frames are to stop it")
def _() -> list[Swap]:
    unchanged = CredSequence.expose

    async def expose(self: CredSequence) -> str:
        self.plan = self.plan.model_copy(update={"bad_frames": "go on"})
        return await unchanged(self)

    return [(CredSequence, "expose", expose)]


@bug("a run goes on where a look has ended it")
def _() -> list[Swap]:
    unchanged = LiveLook._told

    def told(self: LiveLook, told: dict[str, Any]) -> None:
        unchanged(self, told)
        self.decision = None

    return [(LiveLook, "_told", told)]


@bug("a look decides what nobody has asked for")
def _() -> list[Swap]:
    return [(livelook, "decide", lambda told, plan: Decision("stop_at.damage", "stop_at.damage: it looks ill"))]


@bug("frames of another type are kept")
def _() -> list[Swap]:
    return [(Series, "_wrong_type", lambda self, came: "")]


@bug("nobody looks again at the mode")
def _() -> list[Swap]:
    async def look_again(*_: object) -> str:
        return ""

    return [(Cred, "look_again", look_again)]
