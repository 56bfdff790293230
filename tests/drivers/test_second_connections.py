"""How the watchdog's connections read the blanker back: a single answer is not believed, for it may be wrong."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from drivers.instamatic import blanker as instamatic
from drivers.jeol import temcom as jeol
from drivers.thermo import blanker as thermo
from tests.drivers.emulators.temcom import Temcom

Answers = list[bool]
"""What the blanker says when it is asked, in turn."""


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    """A server in a thread: its port."""
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def blanked_by_thermo(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> bool:
    class Server(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answers.pop(0)).encode())

        def log_message(self, *_: object) -> None: ...

    with serving(Server) as port:
        return thermo.blank_beam("127.0.0.1", port)


def blanked_by_instamatic(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> bool:
    class Server(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while data := self.request.recv(4096):  # so short a request comes whole
                done = None if json.loads(data)["func_name"] == "setBeamBlank" else answers.pop(0)
                self.request.sendall(json.dumps([200, done]).encode())

    with serving(Server) as port:
        return instamatic.blank_beam("127.0.0.1", port, "json")


def blanked_by_jeol(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> bool:
    class InTurn(dict[str, list[tuple[int, int]]]):
        def __getitem__(self, name: str) -> tuple[int, int]:  # type: ignore[override]  # one of them at a time
            return super().__getitem__(name).pop(0)

    told = InTurn(GetBeamBlank=[(int(closed), 0) for closed in answers])
    monkeypatch.setattr(jeol, "open_temcom", Temcom(blanked=0, answers=told).open)
    return jeol.blank_beam()


@pytest.mark.parametrize("blanked_by", [blanked_by_thermo, blanked_by_instamatic, blanked_by_jeol])
@pytest.mark.parametrize(
    ("answers", "is_blanked"), [((True, True), True), ((True, False), False), ((False, True), False)]
)
def test_only_two_answers_that_agree_are_a_closed_blanker(
    blanked_by: Callable[[Answers, pytest.MonkeyPatch], bool],
    answers: Sequence[bool],
    is_blanked: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert blanked_by(list(answers), monkeypatch) is is_blanked
