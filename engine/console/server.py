"""The console's web server: the page, what it asks for, and what the operator does by it. On this machine alone."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from engine.clock import Clock, ns
from engine.console.feed import Feed
from engine.console.form import form_of
from engine.console.guard import Guard, Keys
from engine.console.link import InstrumentLink, Reopening, answers
from engine.console.planning import planned, protocols
from engine.console.runasks import RunAsks
from engine.console.runfolder import report_file
from engine.errors import CredlineError, Refused
from engine.record.jsonobject import JsonDict
from engine.run.registry import experiment_type
from engine.run.runlist import ListedRun, read_runs

PAGE = Path(__file__).with_name("page")
REPORT_POLICY = "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""A report is made of what a run says: no script of it runs, whatever a sample is called."""
RUNS = ("run", "queue")
"""What needs a plan."""
DOES = (
    *RUNS,
    *("stop", "abort", "pause", "resume", "tell", "mark", "blank"),
    *("take", "refuse", "hand over", "unqueue", "move", "start queue", "stand queue"),
)
PASSED_ON = ("ask", "id", "protocol", "words", "accept_gaps", "accept_timing", "title", "key", "place")
URGENT = ("stop", "abort", "blank")
PAGE_LETTERS, NAME_LETTERS = 32, 24
RUNS_FOR_S = 2.0
STATUS_FOR_S = 0.2
"""So long one answer is good for all pages."""

Answer = Callable[[Request], Awaitable[Response]]


class Console(NamedTuple):
    """What the server has: where runs lie, the way to the instrument, who may steer, and how the instrument is opened
    anew; None where it only watches.
    """

    out: Path
    link: InstrumentLink
    keys: Keys
    clock: Clock
    reopening: Reopening | None = None


class Desk:
    """What the pages ask for."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.feed = Feed(console.out, console.clock, self.status)
        self.of_runs = RunAsks(console.out, self.feed, self._said, self._claim)
        self._facts: JsonDict | None = None
        self._status: tuple[int, JsonDict] | None = None
        self._runs: tuple[int, list[JsonDict]] | None = None
        self._asking, self._listing = asyncio.Lock(), asyncio.Lock()

    async def status(self) -> JsonDict:
        """How instrument and runs stand; asked once for all pages."""
        async with self._asking:
            now_ns = self._console.clock.now_ns()
            if self._status is None or now_ns > self._status[0]:
                asked = {"ask": "status", "pages": self.feed.pages}
                try:
                    told: JsonDict = {"instrument": await self._console.link.ask(asked), "gone": ""}
                except CredlineError as error:
                    told, self._facts = {"instrument": None, "gone": str(error)}, None
                reopening = self._console.reopening
                told["reopens"], told["opening"] = reopening is not None, bool(reopening and reopening.is_under_way)
                self._status = self._console.clock.now_ns() + ns(STATUS_FOR_S), told
            return self._status[1]

    async def runs(self, _: Request) -> Response:
        """The runs that there are, newest first."""
        async with self._listing:
            now_ns = self._console.clock.now_ns()
            if self._runs is None or now_ns > self._runs[0]:
                found = await asyncio.to_thread(self._read_runs)
                self._runs = self._console.clock.now_ns() + ns(RUNS_FOR_S), found
            return JSONResponse({"runs": self._runs[1]})

    def _read_runs(self) -> list[JsonDict]:
        out = self._console.out
        if not out.is_dir():
            return []
        listed = [
            {
                "name": run.folder.relative_to(out).as_posix(),
                "status": run.status,
                "label": run.label,
                "protocol": run.protocol,
                "created_at": run.created_at,
                "own": [[name, text] for name, text in run.own.items()],
                "problem": run.problem,
                "report": run.place != run.folder,
                "picture": _picture(run),
            }
            for run in read_runs(out)[0]
        ]
        return listed[::-1]

    async def protocols(self, _: Request) -> Response:
        """What can be run."""
        return JSONResponse({"protocols": await asyncio.to_thread(protocols)})

    async def form(self, request: Request) -> Response:
        """The form of one protocol."""
        kind = await asyncio.to_thread(experiment_type, request.query_params.get("protocol", ""))
        return JSONResponse(form_of(kind))

    async def plan(self, request: Request) -> Response:
        """What the plan in a form would be."""
        said = await self._said(request)
        return JSONResponse(await self._planned(said))

    async def _planned(self, said: JsonDict) -> JsonDict:
        if self._facts is None:
            try:
                self._facts = (await self._console.link.ask({"ask": "facts"}))["facts"]
            except CredlineError:
                self._facts = None
        return await asyncio.to_thread(
            planned, str(said.get("protocol")), _words(said.get("settings")), self._console.link.devices, self._facts
        )

    async def do(self, request: Request) -> Response:
        """What the operator does."""
        said = await self._said(request)
        if said.get("ask") not in DOES:
            raise Refused("nothing that can be done here; nothing was done.")
        asked: JsonDict = {key: said[key] for key in PASSED_ON if key in said}
        asked |= {"settings": _words(said.get("settings")), **self._asker(request, said)}
        if said["ask"] == "queue":
            asked["title"] = await self._fitting(said)
        self._status = self._runs = None
        answer = await self._console.link.ask(asked, urgent=said["ask"] in URGENT)
        self._status = None
        if said["ask"] == "run":
            self._facts = None  # another specimen, another mode
        return JSONResponse(answer)

    async def reopen(self, request: Request) -> Response:
        """The instrument closed and opened again, for the page that steers; opened, where nobody has it."""
        said = await self._said(request)
        reopening = self._console.reopening
        if reopening is None:
            raise Refused("this console only watches; nothing was opened.")
        try:
            await self._claim(request, said)
        except Refused:
            if await answers(self._console.link.devices, self._console.clock):
                raise
        await reopening.again({"id": f"{str(said.get('id'))[:50]}-reopen", **self._asker(request, said)})
        self._status = self._facts = None
        return JSONResponse({"ok": True})

    async def _fitting(self, said: JsonDict) -> str:
        """What a run that is to be queued is called. Raises Refused where its plan does not fit as things stand now."""
        told = await self._planned(said)
        if not told["fits"]:
            raise Refused(str(told["error"]))
        if told["objections"] and said.get("accept_gaps") is not True:
            raise Refused(f"{told['objections'][0]} Nothing was queued.")
        return str(said.get("title") or told["label"])

    def _asker(self, request: Request, said: JsonDict) -> JsonDict:
        """Who asks: what the page is known by, and for the trace its number, its operator's name, its computer."""
        number, name = (
            str(said.get("page", ""))[:PAGE_LETTERS],
            " ".join(str(said.get("name", "")).split())[:NAME_LETTERS],
        )
        client = request.client.host if request.client else "nobody"
        who = f"browser {number[:6]} on {client}"
        return {"by": self._console.keys.page(request, number), "who": f"{name}, {who}" if name else who}

    async def _claim(self, request: Request, said: JsonDict) -> None:
        """Raises Refused for a page that does not steer now, or a request that was made before."""
        await self._console.link.ask({"ask": "claim", "id": said.get("id"), **self._asker(request, said)})

    async def _said(self, request: Request) -> JsonDict:
        """The object that a request holds, from a page that may steer. Raises Refused."""
        if not self._console.keys.knows(request):
            raise Refused("this page only watches; nothing was done. Open the link that the console printed.")
        try:
            said = json.loads(await request.body())
        except (ValueError, RecursionError) as error:
            raise Refused("a request that is no JSON; nothing was done.") from error
        if not isinstance(said, dict):
            raise Refused("a request that is no JSON object; nothing was done.")
        return said

    async def enter(self, request: Request) -> Response:
        """The key from the terminal for a cookie."""
        session = self._console.keys.exchange(request.query_params.get("key", ""))
        if session is None:
            return PlainTextResponse(
                "This link was used before, or is not the console's. The console has printed a new one.", 403
            )
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self._console.keys.cookie, session, httponly=True, samesite="strict", path="/")
        return answer

    async def report(self, request: Request) -> Response:
        """A file of a run's report."""
        path, kind = await asyncio.to_thread(
            report_file, self._console.out, request.path_params["name"], request.path_params["file"]
        )
        headers = {"Content-Security-Policy": REPORT_POLICY}
        return FileResponse(path, media_type=kind, headers=headers)

    async def page(self, _: Request) -> Response:
        """The page itself."""
        return FileResponse(PAGE / "index.html", media_type="text/html; charset=utf-8")

    async def watch(self, socket: WebSocket) -> None:
        """The stream of one page."""
        number = socket.query_params.get("page", "")[:PAGE_LETTERS]
        await self.feed.serve(socket, self._console.keys.page(socket, number))


def _picture(run: ListedRun) -> str:
    """The file of its report that shows a run at a glance; empty for none."""
    try:
        name = experiment_type(run.protocol).picture
    except Exception:  # not installed here, or somebody's package
        return ""
    return name if name and (run.folder / "report" / name).is_file() else ""


def _words(given: object) -> list[str]:
    return [str(word) for word in given] if isinstance(given, list) else []


def _plainly(answer: Answer) -> Answer:
    """What is refused as one line of JSON."""

    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except CredlineError as error:
            knows = "only watches" not in str(error)
            return JSONResponse({"ok": False, "error": str(error)}, 400 if knows else 403)

    return answered


def web_app(console: Console) -> ASGIApp:
    """The whole server, guarded."""
    desk = Desk(console)
    of_runs = desk.of_runs
    routes = [
        Route("/", desk.page),
        Route("/enter", desk.enter),
        Route("/api/runs", _plainly(desk.runs)),
        Route("/api/protocols", _plainly(desk.protocols)),
        Route("/api/form", _plainly(desk.form)),
        Route("/api/plan", _plainly(desk.plan), methods=["POST"]),
        Route("/api/do", _plainly(desk.do), methods=["POST"]),
        Route("/api/reopen", _plainly(desk.reopen), methods=["POST"]),
        Route("/api/point", _plainly(of_runs.point), methods=["POST"]),
        Route("/api/offers", _plainly(of_runs.offers), methods=["POST"]),
        Route("/api/store", _plainly(of_runs.store), methods=["POST"]),
        Route("/api/kept", _plainly(of_runs.kept)),
        Route("/api/figures", _plainly(of_runs.figures)),
        Route("/api/numbers", _plainly(of_runs.numbers)),
        Route("/report/{name:path}/{file}", _plainly(desk.report)),
        WebSocketRoute("/feed", desk.watch),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    return Guard(Starlette(routes=routes))
