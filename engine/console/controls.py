"""What may be asked of an opened instrument: how it is, a run, its end, the red button; and who asked.

Lives in the instrument process and knows no socket. Every answer is a JSON object. Nothing here may disturb the run
that is under way: a request costs some 0.1 ms of its loop, and whatever takes longer is done between runs or not at
all (a plan is checked in the console's own process, `engine.console.planning`).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import structlog
from pydantic import BaseModel

from engine.clock import NS_PER_MS, Clock, ns
from engine.console.control import Control, Page
from engine.console.following import RunUnderWay
from engine.console.queue import RunQueue, queued
from engine.errors import CredlineError, DeviceBusy, Refused, shown
from engine.record.endings import Status
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.conduct import Outcome
from engine.run.contract import AnyExperiment, Prepared
from engine.run.instrument import Instrument
from engine.run.planfile import build_plan
from engine.run.registry import experiment_type, registered
from engine.run.run import Run
from engine.views.strip import StripProcess

log = structlog.get_logger()

LONGEST_WORDS = 1000
IDS_KEPT = 10_000
READ_BACK_LIMIT_S = 5.0
"""So long the red button waits for the run to have blanked the beam."""
SHUT_LIMIT_S = 60.0
UNWATCHED_S = 60.0
"""A run that gives way is there to be looked at: it is ended, beam off, when for so long no page has been open that may
steer. A page that is loaded anew, or a console that is started again, is back before.
"""
FOR_ALL = ("stop", "blank", "close", "take", "refuse", "hand over")
"""What is done for every page that may steer at all, whoever steers now: the beam goes off for everybody."""
ACCEPTS = ("accept_gaps", "accept_timing")
PAGES_MOST = 1000


class Controls:
    """An instrument with the requests that it takes. out: where run folders are made."""

    def __init__(self, instrument: Instrument, out: Path) -> None:
        self._instrument, self._out = instrument, out
        instrument.watch = self._begun
        self._now: RunUnderWay | None = None
        self._task: asyncio.Task[None] | None = None
        self._began: asyncio.Future[str] | None = None
        self._drawing: asyncio.Future[None] | None = None
        self._to_stop = ""
        """Why a run that is being prepared is to stop as soon as it has begun; empty for none."""
        self._last: JsonDict = {}
        self._blanked: bool | None = None
        self._used: deque[str] = deque(maxlen=IDS_KEPT)
        self._seen_ns = 0
        """When a page that may steer was last there."""
        self._watching: asyncio.Task[None] | None = None
        self.watchers = 0
        """How many consoles are connected: while somebody watches, a run's trace reaches the disk slot by slot."""
        self.closing = asyncio.Event()
        self.control = Control(instrument.clock)
        self.queue = RunQueue(out)
        self.queue.read()
        self._says: dict[str, Callable[[JsonObject], Awaitable[JsonDict]]] = {
            "status": self._status,
            "facts": self._facts,
        }
        self._does: dict[str, Callable[[JsonObject], Awaitable[JsonDict]]] = {
            "run": self._run,
            "stop": self._stop,
            "abort": self._abort,
            "pause": self._pause,
            "resume": self._resume,
            "tell": self._tell,
            "blank": self._blank,
            "close": self._close,
            "mark": self._mark,
            "claim": self._claimed,
            "take": self._take_control,
            "refuse": self._refuse,
            "hand over": self._hand_over,
            "queue": self._enqueue,
            "unqueue": self._unqueue,
            "move": self._move,
            "start queue": self._start_queue,
            "stand queue": self._stand_queue,
        }

    @property
    def clock(self) -> Clock:
        """The instrument's."""
        return self._instrument.clock

    async def answer(self, asked: JsonObject) -> JsonDict:
        """The answer to a request: `ok`, and what else there is to say, or `error`. Never raises for a request.

        asked: `ask`, one of the requests; those that do something also have an `id` that was never used, `who`, and
        `by`, what the page is known by: all but `FOR_ALL` are for the page that steers (`engine.console.control`).
        """
        name = str(asked.get("ask"))
        try:
            if name in self._says:
                return {"ok": True, **await self._says[name](asked)}
            if name not in self._does:
                raise Refused(f"{shown(repr(name))}: is nothing that can be asked of an instrument; nothing was done.")
            self._take_id(asked.get("id"))
            if name not in FOR_ALL:
                self.control.claim(_page(asked))
            return {"ok": True, **await self._does[name](asked)}
        except CredlineError as error:
            return {"ok": False, "error": str(error)}
        except Exception as error:  # a run, or the next request, is not to suffer for it
            log.exception("a request of the console failed", ask=name)
            return {"ok": False, "error": f"internal error ({type(error).__name__}: {error}); please report it."}

    def _take_id(self, given: object) -> None:
        """Each request does something once, however often it comes. Raises Refused for one that was there."""
        if not isinstance(given, str) or not 8 <= len(given) <= 64:
            raise Refused("a request without an id of its own; nothing was done.")
        if given in self._used:
            raise Refused("this request was made before; nothing was done again.")
        self._used.append(given)

    async def opened(self) -> None:
        """Once, before the first request: how the blanker stands, where it tells."""
        try:
            self._blanked = await self._instrument.reads_blanked()
        except CredlineError as error:
            log.warning("the blanker does not say how it stands", cause=str(error))

    async def _status(self, asked: JsonObject) -> JsonDict:
        now, pages = self._now, asked.get("pages")
        if isinstance(pages, list):
            self.control.present([str(page) for page in pages[:PAGES_MOST]])
            if pages:
                self._seen_ns = self.clock.now_ns()
        return {
            "devices": self._instrument.devices,
            "out": str(self._out),
            "protocols": sorted(registered("protocols")),
            "preparing": self._preparing,
            "run": None if now is None else now.told(),
            "last": self._last or None,
            "blanked": self._blanked if now is None or now.blanked is None else now.blanked,
            "told_off": now is not None and now.told_off,
            "control": self.control.told(),
            "queue": self.queue.told(),
        }

    @property
    def _preparing(self) -> bool:
        return self._now is None and self._task is not None and not self._task.done()

    async def _facts(self, _: JsonObject) -> JsonDict:
        facts = self._instrument.microscope.facts
        return {"facts": facts.as_dict(), "questions": list(facts.questions)}

    async def _run(self, asked: JsonObject) -> JsonDict:
        """Begin a run; the answer comes when its folder is there. Refused for what cannot be."""
        self._refuse_if_busy()
        kind = experiment_type(str(asked.get("protocol")))
        words = _words(asked)
        checked = build_plan(kind, None, words)
        if self._gives_way:
            kind.prepare(checked, self._instrument.microscope.facts)  # what cannot be ends no view
            await self._end_view(_by(f"ended for a run of {kind.name}", asked))
            self._refuse_if_busy()
        self._began, self._to_stop = asyncio.get_running_loop().create_future(), ""
        accepted = {key: asked.get(key) is True for key in ACCEPTS}
        work = self._perform_all(self._perform(kind, checked, **accepted))
        self._task = asyncio.get_running_loop().create_task(work, name="runs of the console")
        waits: set[asyncio.Future[str] | asyncio.Task[None]] = {self._began, self._task}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if self._began.done():
            return {"run": self._began.result()}
        raise Refused(str(self._last.get("reason")))

    def _refuse_if_busy(self) -> None:
        """Raises DeviceBusy while a run has the instrument that does not give way."""
        if self._task is not None and not self._task.done() and not self._gives_way:
            raise DeviceBusy("a run has the instrument; nothing was begun. Wait for its end, or stop it.")

    @property
    def _gives_way(self) -> bool:
        """Whether a run is under way that ends where another one is asked for."""
        return self._now is not None and self._now.gives_way

    async def _end_view(self, why: str) -> None:
        """Stop a run that gives way, and wait for its end, its safe state included."""
        if self._gives_way and self._now is not None and self._task is not None:
            self._now.run.commands.stop(why)
            await asyncio.wait({self._task})

    async def _perform_all(self, first: Coroutine[object, object, None] | None) -> None:
        """A run that was asked for, and then those of the queue as long as that goes."""
        if first is not None:
            await first
        while self.queue.goes_on(self._last) and (run := await self.queue.take()) is not None:
            if not self.queue.going:  # somebody has ended all while the file was written
                await self.queue.put_back(run)
                return
            self._began, self._to_stop = None, ""
            try:
                kind = experiment_type(run.protocol)
                plan = build_plan(kind, None, run.settings)
            except CredlineError as error:
                self._last = {"status": "refused", "reason": f"{run.title}: {error}", "alarms": []}
                continue
            await self._perform(kind, plan, accept_gaps=run.accept_gaps, accept_timing=run.accept_timing)

    async def _perform(self, kind: AnyExperiment, plan: BaseModel, *, accept_gaps: bool, accept_timing: bool) -> None:
        """The whole run; whatever comes of it, the instrument is there for the next one."""
        outcome: Outcome | None = None
        self._last = {}
        try:
            outcome = await self._instrument.perform(
                kind,
                plan,
                out=self._out,
                accept_gaps=accept_gaps,
                accept_timing=accept_timing,
            )
        except CredlineError as error:
            self._last = {"status": "refused", "reason": str(error), "alarms": []}
        except Exception as error:
            log.exception("a run of the console failed")
            self._last = {
                "status": "failed",
                "reason": f"internal error ({type(error).__name__}: {error})",
                "alarms": [],
            }
        finally:
            if self._now is not None and self._now.blanked is not None:
                self._blanked = self._now.blanked
            self._now = None
            if self._watching is not None:
                self._watching.cancel()
        if outcome is not None:
            self._last = {
                "run": outcome.folder.name,
                "status": outcome.ending.status.value,
                "reason": outcome.ending.reason,
                "alarms": list(outcome.alarms),
                "products": list(outcome.products),
            }
            drawn = outcome.ending.status is not Status.ABORTED and not kind.gives_way
            if drawn and not self.clock.is_virtual:
                # The next run does not wait for it. Kept, for a task that nobody holds may vanish.
                self._drawing = asyncio.get_running_loop().run_in_executor(None, _draw, outcome.folder)

    def _begun(self, run: Run, prepared: Prepared) -> None:
        """The instrument tells of every run before it goes."""
        if self._now is not None:
            self._now.within(run)
            return
        now = self._now = RunUnderWay(run, prepared, lambda: self.watchers > 0)
        if now.gives_way:
            self._seen_ns = self.clock.now_ns()
            self._watching = asyncio.get_running_loop().create_task(self._end_unwatched(now), name="who watches")
        if self._to_stop:
            run.commands.stop(self._to_stop)
        if self._began is not None and not self._began.done():
            self._began.set_result(run.folder.name)

    async def _end_unwatched(self, view: RunUnderWay) -> None:
        """Nobody leaves the beam on because a browser, or a console, has gone."""
        while self._now is view:
            left_ns = self._seen_ns + ns(UNWATCHED_S) - self.clock.now_ns()
            if left_ns <= 0:
                view.run.commands.stop(f"no page has been open that looks at it for {UNWATCHED_S:g} s")
                return
            await self.clock.sleep_s(left_ns / ns(1))

    def _under_way(self) -> RunUnderWay:
        if self._now is None:
            raise Refused("no run is under way; nothing was done.")
        return self._now

    async def _stop(self, asked: JsonObject) -> JsonDict:
        self._no_next(_by("stopped", asked))
        if self._preparing:
            self._to_stop = _by("stopped before it had begun", asked)
        else:
            self._under_way().run.commands.stop(_by("stopped", asked))
        return {}

    def _no_next(self, why: str) -> None:
        """Who ends a run does not want the next one to put the beam on."""
        if self.queue.going:
            self.queue.stand(f"the queue stands: a run was {why}.")

    async def _abort(self, asked: JsonObject) -> JsonDict:
        self._no_next(_by("aborted", asked))
        self._under_way().run.commands.abort(_by("aborted", asked))
        return {}

    async def _pause(self, asked: JsonObject) -> JsonDict:
        now = self._under_way()
        if not now.pauses:
            raise Refused("this experiment has no place where it could be paused; nothing was done. Stop it instead.")
        now.run.commands.pause(_by("paused", asked))
        return {}

    async def _resume(self, asked: JsonObject) -> JsonDict:
        self._under_way().run.commands.resume(_by("resumed", asked))
        return {}

    async def _tell(self, asked: JsonObject) -> JsonDict:
        run, words = self._under_way().run, str(asked.get("words", ""))[:LONGEST_WORDS]
        understood = experiment_type(run.document.protocol).understood(words, run.document)
        run.commands.tell(understood, by=_who(asked))
        return {"told": understood}

    async def _mark(self, asked: JsonObject) -> JsonDict:
        """Words into the trace at this instant: they change nothing."""
        words = " ".join(str(asked.get("words", "")).split())[:LONGEST_WORDS]
        if not words:
            raise Refused("a mark without words; nothing was marked.")
        self._under_way().run.commands.mark(shown(words, LONGEST_WORDS), by=_who(asked))
        return {}

    async def _claimed(self, _: JsonObject) -> JsonDict:
        """Nothing more: whoever comes here steers."""
        return {}

    async def _take_control(self, asked: JsonObject) -> JsonDict:
        return {"words": self.control.take(_page(asked))}

    async def _refuse(self, asked: JsonObject) -> JsonDict:
        self.control.refuse(_page(asked))
        return {}

    async def _hand_over(self, asked: JsonObject) -> JsonDict:
        self.control.hand_over(_page(asked))
        return {}

    async def _enqueue(self, asked: JsonObject) -> JsonDict:
        """A run at the end of the queue. That its plan fits the instrument, the console has made sure of."""
        kind, words = experiment_type(str(asked.get("protocol"))), _words(asked)
        run = queued(asked, words, kind.label(build_plan(kind, None, words)), _who(asked))
        await self.queue.add(run)
        return {"key": run.key}

    async def _unqueue(self, asked: JsonObject) -> JsonDict:
        await self.queue.remove(str(asked.get("key")))
        return {}

    async def _move(self, asked: JsonObject) -> JsonDict:
        place = asked.get("place")
        if type(place) is not int:
            raise Refused("no place in the queue was given; nothing was moved.")
        await self.queue.move(str(asked.get("key")), place)
        return {}

    async def _start_queue(self, asked: JsonObject) -> JsonDict:
        """The next run is begun when the instrument is free, and so on."""
        await self._end_view(_by("ended for the queue", asked))
        self.queue.start()
        if self._task is None or self._task.done():
            self._last = {}
            self._task = asyncio.get_running_loop().create_task(self._perform_all(None), name="runs of the queue")
        return {}

    async def _stand_queue(self, asked: JsonObject) -> JsonDict:
        """Nothing is begun after the run that is under way."""
        self.queue.stand("")
        return {}

    async def _blank(self, asked: JsonObject) -> JsonDict:
        """The red button: beam off and the run stopped; what the blanker itself says, and after how long."""
        begun_ns = self.clock.now_ns()
        self._no_next(_by("stopped by the red button", asked))
        now = self._now
        if now is None or now.run.safety.is_done:
            if self._preparing:
                self._to_stop = _by("red button before it had begun", asked)
            blanked = await self._instrument.blank()
        else:
            now.run.commands.stop(_by("red button", asked))
            await now.until_blanked(begun_ns, begun_ns + ns(READ_BACK_LIMIT_S))
            blanked = await self._instrument.reads_blanked()
        self._blanked = blanked
        if now is not None:
            now.blanked = blanked
        if not blanked:
            raise Refused("THE BEAM MAY STILL BE ON: the blanker reads as open. Blank it at the microscope now.")
        return {"blanked": True, "after_ms": round((self.clock.now_ns() - begun_ns) / NS_PER_MS, 1)}

    async def _close(self, asked: JsonObject) -> JsonDict:
        """End the instrument process in good order. Refused while a run is under way that does not give way."""
        await self._end_view(_by("ended with the console", asked))
        if self._task is not None and not self._task.done():
            raise DeviceBusy("a run has the instrument; it stays open. Stop the run first.")
        self.closing.set()
        return {}

    async def shut(self, why: str) -> None:
        """The process is to end: stop what is under way, and wait for its end."""
        self.queue.stand(why)
        if self._task is None or self._task.done():
            return
        if self._now is not None:
            self._now.run.commands.stop(why)
        else:
            self._to_stop = why
        await asyncio.wait({self._task})


def _page(asked: JsonObject) -> Page:
    """Who asks; a program that says no `by` is known by its name."""
    return Page(str(asked.get("by") or asked.get("who") or "nobody named"), _who(asked))


def _words(asked: JsonObject) -> list[str]:
    settings = asked.get("settings")
    return [str(word) for word in settings] if isinstance(settings, list) else []


def _by(what: str, asked: JsonObject) -> str:
    """For the trace: what was asked for, and by whom."""
    return f"{what}, from the console ({_who(asked)})"


def _who(asked: JsonObject) -> str:
    return shown(str(asked.get("who") or "nobody named"))[:60]


def _draw(folder: Path) -> None:
    """The timing strip, when the run is over, as `credline run` draws it; in a process of its own."""
    strip = StripProcess()
    try:
        strip.draw(folder / "trace.jsonl", folder / "report" / "timing.png")
    finally:
        strip.close()
