"""What pages ask of single runs beside their stream: what a click means, what a row offers, what a run can store.

The answers are the protocol's (`engine.run.panels`); nothing here moves anything, and only storing changes a file.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from engine.console.feed import Feed
from engine.console.runfolder import run_folder
from engine.console.watched import WatchedRun
from engine.errors import Refused
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict
from engine.run.contract import AnyExperiment
from engine.run.panels import Kept
from engine.run.registry import experiment_type
from engine.run.runlist import read_runs

Said = Callable[[Request], Awaitable[JsonDict]]
Steer = Callable[[Request, JsonDict], Awaitable[None]]
COMPARED_MOST = 2
FARTHEST_PX = 1e6


class RunAsks:
    """out: where the run folders are. said: the object of a request from a page that may steer. claim: refuses, nothing
    done, who does not steer now.
    """

    def __init__(self, out: Path, feed: Feed, said: Said, claim: Steer) -> None:
        self._out, self._feed, self._said, self._claim = out, feed, said, claim
        self._storing, self._listing = asyncio.Lock(), asyncio.Lock()
        self._lines: dict[str, list[str]] = {}

    async def point(self, request: Request) -> Response:
        """What a click on a frame of a run would tell it: `words`, and `plain` for a person."""
        said = await self._said(request)
        watched, kind = await self._run(said)
        row, place = said.get("row"), [said.get("fast_px"), said.get("slow_px")]
        px = [float(each) for each in place if isinstance(each, int | float) and abs(each) < FARTHEST_PX]
        told = watched.view.panels.told_of(str(said.get("kind")), row) if type(row) is int else None
        if told is None or len(px) != 2:
            raise Refused("a click there asks for nothing; nothing was told.")
        document = watched.view.document
        pointed = kind.pointed(document, told, *px)
        return JSONResponse({"words": kind.understood(pointed.words, document), "plain": pointed.plain})

    async def offers(self, request: Request) -> Response:
        """The runs that a row of a panel offers."""
        said = await self._said(request)
        watched, kind = await self._run(said)
        panel, panels = str(said.get("panel")), watched.view.panels
        offered = kind.offered(watched.view.document, panel, panels.rows_of(panel), str(said.get("key")))
        told = [{"title": each.title, "protocol": each.protocol, "settings": list(each.settings)} for each in offered]
        return JSONResponse({"offers": told})

    async def kept(self, request: Request) -> Response:
        """What a finished run can store; empty lines for nothing. Takes seconds for a calibration."""
        name = request.query_params.get("run", "")
        async with self._storing:
            if name not in self._lines:
                kept = await asyncio.to_thread(self._kept, name)
                self._lines[name] = [] if kept is None else list(kept.lines)
        return JSONResponse({"lines": self._lines[name]})

    async def store(self, request: Request) -> Response:
        """Store it."""
        said = await self._said(request)
        await self._claim(request, said)
        async with self._storing:
            kept = await asyncio.to_thread(self._kept, str(said.get("run")))
            if kept is None:
                raise Refused("this run has nothing to store; nothing was stored.")
            return JSONResponse({"ok": True, "stored": await asyncio.to_thread(kept.store)})

    async def figures(self, request: Request) -> Response:
        """The figures of one or two runs, for a comparison, and the result of each in words."""
        names = request.query_params.getlist("run")[:COMPARED_MOST]
        return JSONResponse({"runs": await asyncio.to_thread(lambda: [self._figures(name) for name in names])})

    async def numbers(self, _: Request) -> Response:
        """The figures of all runs, for a histogram."""
        async with self._listing:
            return JSONResponse({"runs": await asyncio.to_thread(self._numbers)})

    def _numbers(self) -> list[JsonDict]:
        told: list[JsonDict] = []
        for run in read_runs(self._out)[0] if self._out.is_dir() else ():
            try:
                numbers = dict(experiment_type(run.protocol).numbers(RunDocument.read(run.folder)))
            except Exception:  # not installed here, damaged, or somebody's package
                continue
            if numbers:
                name = run.folder.relative_to(self._out).as_posix()
                told.append({"name": name, "protocol": run.protocol, "numbers": numbers})
        return told

    def _figures(self, name: str) -> JsonDict:
        document = RunDocument.read(run_folder(self._out, name))
        kind = experiment_type(document.protocol)
        try:
            told = [[key, text] for key, text in kind.told(document.result)]
        except Exception:  # of an older version, or one that was edited
            told = []
        return {
            "name": name,
            "protocol": document.protocol,
            "status": document.status,
            "numbers": dict(kind.numbers(document)),
            "told": told,
        }

    def _kept(self, name: str) -> Kept | None:
        folder = run_folder(self._out, name)
        document = RunDocument.read(folder)
        if not document.has_ended:
            raise Refused("the run is not over; nothing was stored.")
        return experiment_type(document.protocol).kept(folder, document)

    async def _run(self, said: JsonDict) -> tuple[WatchedRun, AnyExperiment]:
        """The run that a request names, as far as its records go now."""
        watched = await self._feed.looked(str(said.get("run")))
        return watched, experiment_type(watched.view.document.protocol)
