"""What a page asks of single runs: a click, an offer, what is stored; and what of that is refused."""

import json
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect

from engine.clock import RealClock
from engine.console.guard import BODY_LIMIT_BYTES, Keys
from engine.console.server import Console, web_app
from engine.errors import DataError, Refused
from engine.run.contract import ExperimentType
from engine.run.panels import FrameMarks, Kept, Mark, Offer, PanelRow, Pointed
from tests.engine.console.test_server import BAD_NAMES, OWN, SCRIPT, FakeLink, _let_in
from tests.engine.run.toy_session import ToyKind

POSTS: dict[str, dict[str, Any]] = {
    "/api/point": {"run": "x_001", "kind": "light", "row": 0, "fast_px": 1.5, "slow_px": 2.5},
    "/api/offers": {"run": "x_001", "panel": "field", "key": "0"},
    "/api/store": {"run": "x_001", "id": "12345678"},
}
NEW = ("take", "refuse", "hand over", "queue", "unqueue", "move", "start queue", "stand queue", "mark")


class Clicked(ExperimentType[Any]):
    """An experiment of tests that can be clicked at, offers a run, and has something to store."""

    name = "clicked"

    def __init__(self):
        self.stored: list[str] = []

    def machine(self, entered=None):
        return ToyKind().machine(entered)

    def prepare(self, plan, facts):
        raise NotImplementedError

    def panel_read(self, record, document):
        return [PanelRow("field", "0", {"x": 1.0, "y": 2.0})] if record["kind"] == "frame" else []

    def marks_read(self, record, document):
        return FrameMarks(0, (Mark(1, 2, 3),), told={"zero": 1}) if record["kind"] == "note" else None

    def pointed(self, document, told, fast_px, slow_px):
        return Pointed(f"go {fast_px - told['zero']:g} {slow_px:g}", SCRIPT)

    def understood(self, words, document):
        return words.upper()

    def offered(self, document, panel, rows, key):
        if key not in rows:
            raise Refused("no such row; nothing was queued.")
        return [Offer("again", "clicked", [f"x={rows[key]['x']}"])]

    def kept(self, folder, document):
        if document.label == "broken":
            raise DataError("nothing can be made of it; nothing was stored.")
        return Kept(("a = 1",), lambda: self.stored.append(folder.name) or "stored in a file")

    def numbers(self, document):
        return {"range / deg": 60.0}

    def told(self, result):
        return [("range", SCRIPT)]


class SteeredLink(FakeLink):
    """Answers, unless somebody else steers."""

    steers = ""

    async def ask(self, asked, *, urgent=False):
        if asked["ask"] == "claim" and self.steers:
            raise Refused(f"{self.steers} steers; nothing was done. Take over first.")
        return await super().ask(asked, urgent=urgent)


@pytest.fixture
def server(tmp_path, monkeypatch):
    kind = Clicked()
    for module in ("runasks", "watched", "server"):
        monkeypatch.setattr(f"engine.console.{module}.experiment_type", lambda name: kind)
    monkeypatch.setattr("engine.run.runlist.experiment_type", lambda name: kind)
    said: list[str] = []
    out, link = tmp_path / "runs", SteeredLink()
    _a_run(out)
    app = web_app(Console(out, link, Keys(8421, said.append), RealClock()))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=OWN), link, said, kind, out


def _a_run(out, name="x_001", **told):
    folder = out / name
    folder.mkdir(parents=True)
    document = {"schema": 2, "protocol": "clicked", "status": "done", "label": "x", "result": {}, **told}
    (folder / "run.json").write_text(json.dumps(document))
    header: dict[str, Any] = {"kind": "header", "name": "credline", "schema": 2, "plan": {}, "instrument": {}}
    records: list[dict[str, Any]] = [
        header,
        {"kind": "frame", "name": "light", "index": 0, "start_ns": 0, "end_ns": 0},
        {"kind": "note", "name": "found"},
    ]
    lines = [json.dumps({"seq": k, "t_ns": k, **record}) for k, record in enumerate(records)]
    (folder / "trace.jsonl").write_text("\n".join(lines) + "\n")


async def _post(client, path, told=None, **headers):
    return await client.post(path, json=POSTS[path] if told is None else told, headers={"Origin": OWN, **headers})


@pytest.mark.asyncio
async def test_a_click_is_told_in_the_words_of_its_protocol(server):
    client, _, said, _, _ = server
    await _let_in(client, said)
    answer = await _post(client, "/api/point")
    assert answer.json() == {"words": "GO 0.5 2.5", "plain": SCRIPT}
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "wrong",
    [
        {"row": 1},
        {"row": -1},
        {"row": "0"},
        {"kind": "dark"},
        {"kind": SCRIPT},
        {"fast_px": "1"},
        {"fast_px": None},
        {"slow_px": 1e9},
        {"run": "../x_001"},
    ],
)
async def test_a_click_on_what_is_not_there_is_refused(server, wrong):
    client, _, said, _, _ = server
    await _let_in(client, said)
    answer = await _post(client, "/api/point", {**POSTS["/api/point"], **wrong})
    assert answer.status_code == 400
    assert "\n" not in answer.json()["error"]


@pytest.mark.asyncio
async def test_a_row_offers_runs_and_one_that_is_not_there_none(server):
    client, _, said, _, _ = server
    await _let_in(client, said)
    offers = (await _post(client, "/api/offers")).json()["offers"]
    assert offers == [{"title": "again", "protocol": "clicked", "settings": ["x=1.0"]}]
    assert (await _post(client, "/api/offers", {**POSTS["/api/offers"], "key": SCRIPT})).status_code == 400


@pytest.mark.asyncio
async def test_what_a_run_has_measured_is_shown_to_all_and_stored_by_who_steers(server):
    client, link, said, kind, out = server
    assert (await client.get("/api/kept", params={"run": "x_001"})).json() == {"lines": ["a = 1"]}
    assert (await _post(client, "/api/store")).status_code == 403
    await _let_in(client, said)
    link.steers = "Anna"
    answer = await _post(client, "/api/store")
    assert answer.status_code == 400
    assert "Anna steers" in answer.json()["error"]
    assert kind.stored == []
    link.steers = ""
    assert (await _post(client, "/api/store")).json() == {"ok": True, "stored": "stored in a file"}
    assert kind.stored == ["x_001"]
    assert link.asked[-1]["id"] == "12345678"  # the instrument process takes it once
    _a_run(out, "y_001", label="broken")
    _a_run(out, "z_001", status="running")
    for name, words in (("y_001", "nothing can be made"), ("z_001", "not over")):
        answer = await _post(client, "/api/store", {"run": name, "id": "12345679"})
        assert words in answer.json()["error"]
    assert kind.stored == ["x_001"]


@pytest.mark.asyncio
async def test_two_runs_are_compared_and_all_are_counted(server):
    client, _, _, _, out = server
    _a_run(out, "x_002")
    names = {"run": ["x_001", "x_002", "../x_001"]}
    runs = (await client.get("/api/figures", params=names)).json()["runs"]
    assert [run["name"] for run in runs] == ["x_001", "x_002"]
    assert runs[0]["numbers"] == {"range / deg": 60.0}
    assert runs[0]["told"] == [["range", SCRIPT]]
    numbers = (await client.get("/api/numbers")).json()["runs"]
    assert [run["name"] for run in numbers] == ["x_001", "x_002"]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("path", ["/api/kept", "/api/figures"])
async def test_a_name_that_leads_elsewhere_is_no_run(server, path, name):
    client, _, _, _, _ = server
    assert (await client.get(path, params={"run": name})).status_code == 400


@pytest.mark.asyncio
@pytest.mark.parametrize("path", POSTS)
async def test_each_request_is_refused_without_a_token_with_a_wrong_one_and_from_elsewhere(server, path):
    client, link, said, kind, _ = server
    assert (await _post(client, path)).status_code == 403
    client.cookies.set("credline-8421", "guessed")
    assert (await _post(client, path)).status_code == 403
    client.cookies.clear()
    await _let_in(client, said)
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example:8421"}, {"Content-Type": "text/plain"}):
        assert (await _post(client, path, **headers)).status_code == 403
    assert (await client.post(path, json=POSTS[path])).status_code == 403
    assert link.asked == []
    assert kind.stored == []


@pytest.mark.asyncio
@pytest.mark.parametrize("path", [*POSTS, "/api/do"])
async def test_each_request_of_100_mb_is_refused_before_it_is_read(server, path):
    client, link, said, _, _ = server
    await _let_in(client, said)
    headers = {"Origin": OWN, "Content-Type": "application/json"}
    long = await client.post(path, content=b"", headers={**headers, "Content-Length": "100000000"})
    assert long.status_code == 403
    sent = 0

    async def endless():
        nonlocal sent
        for _ in range(1600):
            sent += 65536
            yield b" " * 65536

    with pytest.raises(ClientDisconnect):
        await client.post(path, content=endless(), headers=headers)
    assert sent <= BODY_LIMIT_BYTES + 2 * 65536
    assert link.asked == []


@pytest.mark.asyncio
@pytest.mark.parametrize("ask", NEW)
async def test_what_is_done_by_a_new_request_needs_the_cookie_and_says_who(server, ask, monkeypatch):
    client, link, said, _, _ = server
    monkeypatch.setattr("engine.console.server.planned", lambda *_: {"fits": True, "objections": [], "label": "x"})
    told = {"ask": ask, "id": "12345678", "page": "0123456789ab", "name": SCRIPT, "protocol": "clicked"}
    assert (await _post(client, "/api/do", told)).status_code == 403
    await _let_in(client, said)
    assert (await _post(client, "/api/do", told, Origin="http://evil.example")).status_code == 403
    assert link.asked == []
    assert (await _post(client, "/api/do", told)).status_code == 200
    (asked,) = link.asked
    assert asked["who"] == f"{SCRIPT[:24]}, browser 012345 on 127.0.0.1"
    assert len(asked["by"]) == 24


@pytest.mark.asyncio
async def test_pages_with_one_cookie_are_told_apart_and_nobody_can_say_to_be_another(server):
    client, link, said, _, _ = server
    await _let_in(client, said)
    for page in ("one", "two"):
        await _post(client, "/api/do", {"ask": "take", "id": "12345678", "page": page, "by": "somebody else"})
    first, second = (asked["by"] for asked in link.asked)
    assert first != second
    assert "somebody else" not in (first, second)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"fits": False, "error": "too fast; nothing was started."}, "too fast"),
        ({"fits": True, "objections": ["half of it is missing."], "label": "x"}, "half of it is missing"),
    ],
)
async def test_a_plan_that_does_not_fit_is_refused_when_it_is_put_into_the_queue(server, monkeypatch, told, words):
    client, link, said, _, _ = server
    await _let_in(client, said)
    monkeypatch.setattr("engine.console.server.planned", lambda *_: told)
    asked = {"ask": "queue", "id": "12345678", "protocol": "clicked", "settings": []}
    answer = await _post(client, "/api/do", asked)
    assert words in answer.json()["error"]
    assert link.asked == []
