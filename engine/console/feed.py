"""What every open page is sent, through one websocket each: how things stand, what is new of its run, and frames.

A run is followed once for all pages that show it. A page is sent a frame when it has drawn the one before and said so:
a slow one misses frames, and holds up nobody. Text messages are JSON objects with a `type`; binary ones are frames
(`engine.console.picture`).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from engine.clock import Clock
from engine.console.picture import LARGEST_PX, PX_LIMITS, packed_picture
from engine.console.runfolder import run_folder
from engine.console.watched import WatchedRun
from engine.errors import CredlineError
from engine.record.jsonobject import JsonDict

log = structlog.get_logger()

LOOK_S = 0.05
"""A page is sent up to 20 frames a second."""
SUMMARY_EVERY = 4
"""Looks between two summaries at least: it is the figures that a person reads."""
STATUS_EVERY = 10
PAGES_MOST = 64
KINDS_MOST = 2
MESSAGE_LIMIT = 4096
"""Letters of what a page says."""


class Sent(Protocol):
    """What grows or changes, of which a page is sent what it has not seen (`Growing`, `Changing`)."""

    number: int

    def after(self, seen: int) -> Sequence[object]:
        """What has come since."""
        ...


@dataclass(eq=False)
class _Page:
    """One open page: which run it shows, which frames, and how much of that run it has been sent."""

    socket: WebSocket
    by: str = ""
    run: str = ""
    kinds: list[str] = field(default_factory=list)
    """Of frames, that which it shows large first; none for those that come first."""
    row: int | None = None
    """Which of the first kind; the newest without."""
    px: int = LARGEST_PX
    """How many pixels of a side it shows: of its canvas, times its zoom."""
    ready: bool = True
    """Whether it has drawn the last frame."""
    summary: tuple[int, int] = (-1, -1)
    frames: dict[str, tuple[int, int]] = field(default_factory=dict)
    """What it was sent last of each kind."""
    seen: JsonDict = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def show(self, run: str) -> None:
        """Another run, from its beginning."""
        self.run, self.kinds, self.row, self.ready = run, [], None, True
        self.summary, self.frames = (-1, -1), {}
        self.seen = {}

    async def tell(self, told: JsonDict) -> None:
        """Send an object."""
        async with self.turn:
            await self.socket.send_text(json.dumps(told, separators=(",", ":"), allow_nan=False, default=str))

    async def send(self, picture: bytes) -> None:
        """Send a frame."""
        async with self.turn:
            await self.socket.send_bytes(picture)


class Feed:
    """All open pages. out: where the run folders are. status: how things stand, for everybody."""

    def __init__(self, out: Path, clock: Clock, status: Callable[[], Awaitable[JsonDict]]) -> None:
        self._out, self._clock, self._status = out, clock, status
        self._pages: set[_Page] = set()
        self._watched: dict[str, WatchedRun] = {}
        self._looking: dict[str, asyncio.Lock] = {}

    @property
    def pages(self) -> list[str]:
        """Those that may steer, by what they are known by."""
        return [page.by for page in self._pages if page.by]

    async def serve(self, socket: WebSocket, by: str) -> None:
        """One page, to its end. by: what it is known by; empty for one that only watches."""
        if len(self._pages) >= PAGES_MOST:
            await socket.close(1013, "too many pages are open")
            return
        await socket.accept()
        page = _Page(socket, by)
        self._pages.add(page)
        sending = asyncio.get_running_loop().create_task(self._send(page), name="page")
        try:
            while True:
                text = await socket.receive_text()
                self._hear(page, text)
        except (WebSocketDisconnect, KeyError, RuntimeError):  # gone, or it sent what is no text
            pass
        finally:
            self._pages.discard(page)
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            self._forget()

    def _hear(self, page: _Page, text: str) -> None:
        """What a page asks for; what cannot be read is passed over."""
        if len(text) > MESSAGE_LIMIT:
            return
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(said, dict):
            return
        if isinstance(said.get("run"), str):
            page.show(said["run"])
        if isinstance(kinds := said.get("kinds"), list):
            page.kinds, page.row, page.frames = [str(kind) for kind in kinds[:KINDS_MOST]], None, {}
        if "row" in said:
            page.row = said["row"] if type(said["row"]) is int else None
        if type(px := said.get("px")) is int:
            low, high = PX_LIMITS
            page.px, page.frames = min(max(px, low), high), {}  # what it has is too coarse, or too fine
        if said.get("ready") is True:
            page.ready = True

    def _forget(self) -> None:
        """Runs that nobody looks at any more."""
        looked_at = {page.run for page in self._pages}
        for name in [name for name in self._watched if name not in looked_at]:
            del self._watched[name]

    async def _send(self, page: _Page) -> None:
        """Until the page goes. What nobody foresaw ends this stream, and the page opens another one."""
        try:
            await self._send_all(page)
        except (WebSocketDisconnect, RuntimeError, OSError):
            pass  # it went while something was sent
        except Exception as error:
            log.exception("the stream of a page failed")
            with suppress(Exception):
                await page.socket.close(1011, type(error).__name__)

    async def _send_all(self, page: _Page) -> None:
        looks = 0
        while True:
            if looks % STATUS_EVERY == 0:
                await page.tell({"type": "status", "steering": bool(page.by), "me": page.by, **await self._status()})
            run = page.run
            if run:
                try:
                    await self._send_run(page, run, looks)
                except CredlineError as error:
                    await page.tell({"type": "no run", "run": run, "error": str(error)})
                    page.show("")
            looks += 1
            await self._clock.sleep_s(LOOK_S)

    async def _send_run(self, page: _Page, name: str, looks: int) -> None:
        watched = await self.looked(name)
        view = watched.view
        parts: dict[str, Sent] = {"bars": view.bars, "late": view.late, "course": view.course}
        await self._tell_new(page, name, "drawn", parts)
        stand = (view.changed, sum(watched.kinds.values()))
        if looks % SUMMARY_EVERY == 0 and (stand != page.summary or looks % (10 * SUMMARY_EVERY) == 0):
            page.summary = stand
            summary = await asyncio.to_thread(watched.summary)
            await page.tell({"type": "run", "run": name, **summary})
        await self._tell_new(page, name, "panels", {"rows": view.panels.rows, "marks": view.panels.marks})
        if page.ready and watched.kinds:
            await self._send_frame(page, watched)

    @staticmethod
    async def _tell_new(page: _Page, name: str, what: str, parts: Mapping[str, Sent]) -> None:
        """What a page has not seen yet of what grows."""
        new = {part: growing.after(page.seen.get(part, 0)) for part, growing in parts.items()}
        if any(new.values()):
            page.seen |= {part: growing.number for part, growing in parts.items()}
            await page.tell({"type": what, "run": name, **new})

    async def _send_frame(self, page: _Page, watched: WatchedRun) -> None:
        """The next one that it has not got: of the kind that it shows large before another."""
        kinds = [kind for kind in page.kinds if kind in watched.kinds] or list(watched.kinds)[:KINDS_MOST]
        for place, kind in enumerate(kinds):
            row = None if place else page.row
            wanted = (watched.kinds[kind], -1 if row is None else row)
            if wanted != page.frames.get(kind):
                packed = await asyncio.to_thread(_packed, watched, kind, row, page.px)
                page.frames[kind] = wanted
                if packed is not None:
                    page.ready = False
                    await page.send(packed)
                    return

    async def looked(self, name: str) -> WatchedRun:
        """The run, looked at now; by one at a time. Raises Refused for a name that is none, DataError as it does."""
        lock = self._looking.setdefault(name, asyncio.Lock())
        async with lock:
            watched = self._watched.get(name)
            if watched is None:
                folder = run_folder(self._out, name)
                watched = await asyncio.to_thread(WatchedRun, folder, name)
                if any(page.run == name for page in self._pages):
                    self._watched[name] = watched
            await asyncio.to_thread(watched.look)
            return watched


def _packed(watched: WatchedRun, kind: str, row: int | None, px: int) -> bytes | None:
    """A frame as it is sent; None where it cannot be read (any more, or yet)."""
    frame = watched.picture(kind, row)
    return None if frame is None else packed_picture(frame, watched.seen(frame), px)
