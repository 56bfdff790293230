"""The web server: who may ask what, and what it shows. In this process, with no socket and no instrument."""

import json
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect

from engine.clock import RealClock
from engine.console.guard import BODY_LIMIT_BYTES, Keys, refusal
from engine.console.link import InstrumentLink, Reopening
from engine.console.runfolder import report_file, run_folder
from engine.console.server import Console, web_app
from engine.errors import Refused

HOST = "127.0.0.1:8421"
OWN = f"http://{HOST}"
SCRIPT = "<script>alert(1)</script>"
ACT = {"ask": "stop", "id": "12345678"}


class FakeLink(InstrumentLink):
    """Answers what it was asked."""

    def __init__(self) -> None:
        super().__init__("simulated", RealClock())
        self.asked: list[dict[str, Any]] = []

    async def ask(self, asked: Any, *, urgent: bool = False) -> dict[str, Any]:
        if asked["ask"] == "facts":
            raise Refused("nobody there")
        self.asked.append(dict(asked))
        return {"ok": True, "urgent": urgent, "run": None, "last": None, "preparing": False, "blanked": None}


@pytest.fixture
def server(tmp_path):
    """The server with the keys that it has said, what was asked of the instrument, and a client of an own page."""
    said: list[str] = []
    link = FakeLink()
    keys = Keys(8421, said.append)
    app = web_app(Console(tmp_path / "runs", link, keys, RealClock()))
    (tmp_path / "runs").mkdir()
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=OWN)
    return app, client, link, said


async def _let_in(client, said) -> None:
    answer = await client.get("/enter", params={"key": said[-1]})
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


async def _act(client, told=ACT, **headers):
    return await client.post("/api/do", json=told, headers={"Origin": OWN, **headers})


@pytest.mark.asyncio
async def test_without_a_key_a_page_watches_and_steers_nothing(server):
    _, client, link, _ = server
    assert (await client.get("/")).status_code == 200
    assert (await client.get("/api/runs")).json() == {"runs": []}
    for path in ("/api/do", "/api/plan"):
        answer = await client.post(path, json=ACT, headers={"Origin": OWN})
        assert answer.status_code == 403
        assert "only watches" in answer.json()["error"]
    client.cookies.set("credline-8421", "guessed")
    assert (await _act(client)).status_code == 403
    assert link.asked == []


@pytest.mark.asyncio
async def test_a_key_lets_in_once_and_another_one_comes(server):
    app, client, link, said = server
    first = said[-1]
    assert (await client.get("/enter", params={"key": "guessed"})).status_code == 403
    assert said == [first]
    await _let_in(client, said)
    assert len(said) == 2
    answer = await _act(client)
    assert answer.json()["urgent"] is True
    assert link.asked[0]["who"].startswith("browser")
    other = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=OWN)
    assert (await other.get("/enter", params={"key": first})).status_code == 403
    assert (await _act(other)).status_code == 403
    await _let_in(other, said)
    assert (await _act(other)).status_code == 200
    assert (await _act(client)).status_code == 200


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": f"https://{HOST}"},
        {"Host": "evil.example:8421"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": "127.0.0.1.evil.example:8421"},
        {"Host": "localhost@evil.example"},
        {"Host": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
async def test_other_pages_and_other_names_are_refused_even_with_the_cookie(server, headers):
    _, client, link, said = server
    await _let_in(client, said)
    sent = {"Origin": OWN, "Content-Type": "application/json", **headers}
    answer = await client.post("/api/do", content=json.dumps(ACT), headers=sent)
    assert answer.status_code == 403
    assert link.asked == []


@pytest.mark.asyncio
async def test_what_changes_something_needs_an_origin(server):
    _, client, link, said = server
    await _let_in(client, said)
    assert (await client.post("/api/do", json=ACT)).status_code == 403
    assert link.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1:8421", "localhost:8421", "localhost", "[::1]:8421", "localhost:9000"])
def test_this_machine_may_be_called_by_its_own_names_and_through_a_tunnel(host):
    from starlette.datastructures import Headers

    assert refusal("http", "GET", Headers({"host": host})) == ""
    assert refusal("websocket", "GET", Headers({"host": host, "origin": f"http://{host}"})) == ""
    assert refusal("websocket", "GET", Headers({"host": host})) != ""


@pytest.mark.asyncio
async def test_no_page_of_others_may_frame_or_read_it(server):
    _, client, _, _ = server
    for path in ("/", "/api/runs", "/page/main.js", "/enter", "/nothing"):
        answer = await client.get(path)
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
    answer = await client.options("/api/do", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403


@pytest.mark.asyncio
async def test_a_request_of_100_mb_is_refused_before_it_is_read(server):
    _, client, link, said = server
    await _let_in(client, said)
    answer = await client.post(
        "/api/do",
        content=b"",
        headers={"Origin": OWN, "Content-Type": "application/json", "Content-Length": "100000000"},
    )
    assert answer.status_code == 403
    sent = 0

    async def endless():
        nonlocal sent
        for _ in range(1600):
            sent += 65536
            yield b" " * 65536

    headers = {"Origin": OWN, "Content-Type": "application/json"}
    with pytest.raises(ClientDisconnect):  # which is what the server is told
        await client.post("/api/do", content=endless(), headers=headers)
    assert sent <= BODY_LIMIT_BYTES + 2 * 65536
    assert link.asked == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "said_", [b"", b"[]", b"{", b"[" * 60_000, b'{"ask": "close"}', b'{"ask": "facts"}', b'{"ask": ["stop"]}']
)
async def test_what_is_no_request_is_refused_in_a_line(server, said_):
    _, client, link, said = server
    await _let_in(client, said)
    answer = await client.post("/api/do", content=said_, headers={"Origin": OWN, "Content-Type": "application/json"})
    assert answer.status_code in (400, 403)
    assert "\n" not in answer.text
    assert link.asked == []


def _a_run(out, name="x_001", **told):
    folder = out / name
    (folder / "report").mkdir(parents=True)
    document = {"schema": 2, "protocol": "cred", "status": "done", "label": "x", "result": {}, **told}
    (folder / "run.json").write_text(json.dumps(document))
    (folder / "report" / "index.html").write_text(f"<p>{SCRIPT}")
    (folder / "report" / "notes.txt").write_text("not shown")
    return folder


BAD_NAMES = [
    "..",
    "../x_001",
    "x_001/..",
    "x_001/../..",
    "/etc",
    "",
    ".hidden",
    "x_001//",
    "a\\..\\b",
    "x_001\x00",
    "~",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_elsewhere_is_no_run(tmp_path, name):
    _a_run(tmp_path / "runs")
    _a_run(tmp_path, "outside_001")
    with pytest.raises(Refused):
        run_folder(tmp_path / "runs", name)
    with pytest.raises(Refused):
        report_file(tmp_path / "runs", name, "index.html")


def test_a_link_that_leads_elsewhere_is_no_run(tmp_path):
    outside = _a_run(tmp_path, "outside_001")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x_001").symlink_to(outside)
    with pytest.raises(Refused):
        run_folder(tmp_path / "runs", "x_001")


@pytest.mark.parametrize("file", ["notes.txt", "../run.json", "..", "", "index.html/..", ".index.html", "absent.html"])
def test_only_what_belongs_to_a_report_is_shown_of_it(tmp_path, file):
    _a_run(tmp_path)
    assert report_file(tmp_path, "x_001", "index.html")[0].name == "index.html"
    with pytest.raises(Refused):
        report_file(tmp_path, "x_001", file)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path", ["/report/%2e%2e/x/index.html", "/report/x_001/%2e%2e%2frun.json", "/page/%2e%2e/server.py"]
)
async def test_a_path_that_leads_elsewhere_is_not_found(server, tmp_path, path):
    _, client, _, _ = server
    _a_run(tmp_path / "runs")
    answer = await client.get(path)
    assert answer.status_code in (400, 404)
    assert "schema" not in answer.text


@pytest.mark.asyncio
async def test_a_script_in_what_a_run_says_stays_text(server, tmp_path):
    _, client, _, _ = server
    _a_run(tmp_path / "runs", label=SCRIPT, reason=SCRIPT)
    listed = await client.get("/api/runs")
    assert listed.headers["content-type"] == "application/json"
    assert listed.json()["runs"][0]["label"] == SCRIPT
    report = await client.get("/report/x_001/index.html")
    policy = report.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script-src" not in policy
    assert "allow-scripts" not in policy


@pytest.mark.asyncio
async def test_forms_and_plans_are_there_without_an_instrument(server):
    _, client, _, said = server
    assert (await client.get("/api/form", params={"protocol": "nothing"})).status_code == 400
    assert (await client.get("/api/form", params={"protocol": "cred"})).json()["keys"]
    await _let_in(client, said)
    told = {"protocol": "cred", "settings": ["range_deg=20"]}
    answer = await client.post("/api/plan", json=told, headers={"Origin": OWN})
    assert answer.json()["total"] == 87


def test_browsers_that_have_not_the_library_are_told_what_to_install(monkeypatch):
    import sys

    import typer
    from typer.testing import CliRunner

    from engine.console.command import console_app

    monkeypatch.setitem(sys.modules, "starlette", None)
    assert isinstance(console_app, typer.Typer)
    result = CliRunner().invoke(console_app, ["--port", "0"])
    assert isinstance(result.exception, Refused)
    assert 'pip install -e ".[console]"' in str(result.exception)


class FakeReopening(Reopening):
    """Opens nothing, and says who asked."""

    def __init__(self, link: InstrumentLink) -> None:
        super().__init__(link, link.devices, 1, RealClock())  # type: ignore[arg-type]
        self.by: list[str] = []

    async def again(self, asked: Any) -> None:
        self.by.append(asked["who"])


@pytest.mark.asyncio
async def test_only_a_page_that_may_steer_opens_the_instrument_anew(tmp_path):
    said: list[str] = []
    link = FakeLink()
    reopening = FakeReopening(link)
    app = web_app(Console(tmp_path, link, Keys(8421, said.append), RealClock(), reopening))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=OWN)
    again = {"id": "12345678", "page": "p"}
    refused = await client.post("/api/reopen", json=again, headers={"Origin": OWN})
    assert (refused.status_code, reopening.by) == (403, [])
    await _let_in(client, said)
    foreign = await client.post("/api/reopen", json=again, headers={"Origin": "http://evil.example"})
    assert (foreign.status_code, reopening.by) == (403, [])
    assert (await client.post("/api/reopen", json=again, headers={"Origin": OWN})).json() == {"ok": True}
    assert link.asked[-1]["ask"] == "claim"  # who steers now, and nobody else
    assert len(reopening.by) == 1


@pytest.mark.asyncio
async def test_a_console_that_only_watches_opens_nothing(server):
    _, client, _, said = server
    await _let_in(client, said)
    answer = await client.post("/api/reopen", json={"id": "12345678"}, headers={"Origin": OWN})
    assert "nothing was opened" in answer.json()["error"]
