"""Runs to come, in their order: kept in a file of the instrument process's folder, begun one after the other when told.

The file survives console and instrument process; after a start anew the queue stands, for nobody knows what has become
of the specimen meanwhile.
"""

import asyncio
import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from engine.errors import Refused, shown
from engine.record.folder import write_json
from engine.record.jsonobject import JsonDict, JsonObject

log = structlog.get_logger()

FILE = "queue.json"
RUNS_MOST = 100
GOOD = ("done", "stopped")
"""A run that somebody has stopped makes the queue stand as well (`engine.console.controls`); by itself one stops where
its plan says so.
"""
LETTERS_MOST = 8000
"""Of all settings of one run."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A run to come. settings: words of `--set`. title: for a person. who: has put it in."""

    key: str
    protocol: str
    settings: tuple[str, ...]
    title: str
    who: str
    accept_gaps: bool = False
    accept_timing: bool = False


class RunQueue:
    """The runs to come. folder: where the file is kept."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._runs: list[Queued] = []
        self.going = False
        """Whether the next one is begun when the instrument is free."""
        self.why = ""
        """Why it stands, for a person; empty where nobody needs to be told."""
        self._writing = asyncio.Lock()

    def read(self) -> None:
        """What an earlier process has left. A file that cannot be read is left as it is, and said."""
        try:
            told = json.loads(self._path.read_text(encoding="utf-8"))
            self._runs = [_queued(each) for each in told["runs"]][:RUNS_MOST]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.why = f"{self._path} could not be read ({type(error).__name__}); the queue is empty."
            return
        if self._runs:
            self.why = "the instrument was opened anew; start the queue when the specimen is ready."

    async def _write(self) -> None:
        """In a thread, one after the other: the loop of a run waits for no disk."""
        runs = [asdict(each) for each in self._runs]
        async with self._writing:
            try:
                await asyncio.to_thread(self._written, {"runs": runs})
            except OSError as error:
                self.why = f"the queue could not be written ({error.strerror or error}): it is lost with the process."
                log.warning("the queue is not written", cause=str(error))

    def _written(self, told: JsonDict) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, told)

    async def add(self, run: Queued) -> None:
        """At the end. Raises Refused where there are too many."""
        if len(self._runs) >= RUNS_MOST:
            raise Refused(f"the queue has {RUNS_MOST} runs; nothing was added. Remove some first.")
        if sum(map(len, run.settings)) > LETTERS_MOST:
            raise Refused("the settings are longer than those of any plan; nothing was added.")
        self._runs.append(run)
        await self._write()

    async def remove(self, key: str) -> None:
        """Raises Refused for one that is not there."""
        self._runs.remove(self._find(key))
        await self._write()

    async def move(self, key: str, place: int) -> None:
        """To this place, from 0. Raises Refused for one that is not there."""
        run = self._find(key)
        self._runs.remove(run)
        self._runs.insert(max(0, min(place, len(self._runs))), run)
        await self._write()

    async def take(self) -> Queued | None:
        """The next one, which is in the queue no more; None at its end."""
        if not self._runs:
            return None
        run = self._runs.pop(0)
        await self._write()
        return run

    async def put_back(self, run: Queued) -> None:
        """One that was taken, and not begun: the next one again."""
        self._runs.insert(0, run)
        await self._write()

    def start(self) -> None:
        """From now on the next one is begun when the instrument is free. Raises Refused where there is none."""
        if not self._runs:
            raise Refused("the queue is empty; nothing was begun. Put a run into it first.")
        self.going, self.why = True, ""

    def goes_on(self, last: JsonObject) -> bool:
        """Whether the next one may begin after a run that has ended so; an empty one for none. One that has not come to
        its end as its plan says makes the queue stand, and so do alarms.
        """
        if self.going and last and (last.get("status") not in GOOD or last.get("alarms")):
            name = last.get("run") or "a run"
            self.stand(f"the queue stands: {name} was {last.get('status')}: {last.get('reason')}")
        if self.going and not self._runs:
            self.stand("the queue is done.")
        return self.going

    def stand(self, why: str) -> None:
        """Nothing is begun any more."""
        self.going, self.why = False, why

    def _find(self, key: str) -> Queued:
        for run in self._runs:
            if run.key == key:
                return run
        raise Refused("that run is in the queue no more; nothing was done.")

    def told(self) -> JsonDict:
        """For the pages."""
        runs = [
            {"key": each.key, "protocol": each.protocol, "title": each.title, "who": each.who} for each in self._runs
        ]
        return {"runs": runs, "going": self.going, "why": self.why}


def queued(asked: JsonObject, settings: list[str], label: str, who: str) -> Queued:
    """A run as it was asked for, with a key of its own."""
    title = shown(str(asked.get("title") or label), 200)
    run = Queued(secrets.token_hex(6), str(asked.get("protocol")), tuple(settings), title, who)
    return replace(run, accept_gaps=asked.get("accept_gaps") is True, accept_timing=asked.get("accept_timing") is True)


def _queued(told: JsonObject) -> Queued:
    return Queued(
        str(told["key"]),
        str(told["protocol"]),
        tuple(str(word) for word in told["settings"]),
        str(told["title"]),
        str(told["who"]),
        told.get("accept_gaps") is True,
        told.get("accept_timing") is True,
    )
