"""Questions to a temscript server: JSON over HTTP, each on a connection of its own.

Used by `drivers.thermo.microscope`. temscript (https://github.com/niermann/temscript, 2.1.0) brings a client of its
own; it blocks, waits for ever where it is not told otherwise, and would add a dependency for what is one request and
one reply. The server answers in HTTP/1.0, one request at a time, and closes: an answer can only be to the question that
was asked on its connection, and a call that is given up closes it.
"""

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

from engine.clock import Clock, ns
from engine.errors import DeviceError, DeviceLost

LARGEST_REPLY = 1 << 16


class TemscriptWire:
    """Asks one server. device: how errors call it."""

    def __init__(self, clock: Clock, device: str, host: str, port: int, timeout_s: float) -> None:
        self.device = device
        self.peer = f"{host}:{port}"
        self.timeout_s = timeout_s
        self._clock = clock
        self._host, self._port = host, port

    async def get(self, what: str) -> Any:
        """Read a property. Raises DeviceLost when no answer comes, DeviceError when the server says no."""
        return await self._ask("GET", what, None, self.timeout_s)

    async def put(self, what: str, value: Any, query: dict[str, Any] | None = None, limit_s: float = 0.0) -> None:
        """Set a property; `limit_s` for what takes longer than the time-out. Errors as with `get`."""
        path = f"{what}?{urlencode(query)}" if query else what
        await self._ask("PUT", path, json.dumps(value), max(limit_s, self.timeout_s))

    async def _ask(self, method: str, path: str, body: str | None, limit_s: float) -> Any:
        happened = "nothing changed" if method == "GET" else "whether it happened is unknown"
        try:
            async with self._clock.timeout_at(self._clock.now_ns() + ns(limit_s)):
                status, reason, content = await self._exchanged(method, path, body)
        except TimeoutError as error:
            raise DeviceLost(
                f"{self.device}: no answer to {path} from {self.peer} in {limit_s:g} s; {happened}. The server does "
                "one thing at a time: is it busy with a stage move, or does the microscope wait for somebody?"
            ) from error
        except (OSError, EOFError) as error:
            told = getattr(error, "strerror", None) or "it ended before its end"
            raise DeviceLost(
                f"{self.device}: the connection to {self.peer} broke during {path} ({told}); {happened}. "
                "Was the server restarted?"
            ) from error
        except ValueError as error:
            raise DeviceError(
                f"{self.device}: what {self.peer} answered to {path} is no answer of temscript-server "
                f"({str(error)[:120]}); {happened}. Check what runs on that port."
            ) from error
        if status not in (200, 204):
            happened = "nothing changed" if method == "GET" else "it was most likely not done"
            raise DeviceError(
                f"{self.device}: {self.peer} refused {path} with {status}: {reason[:200]}; {happened}. Check that "
                "temscript-server runs on that port, and look at its window for the cause."
            )
        return content

    async def _exchanged(self, method: str, path: str, body: str | None) -> tuple[int, str, Any]:
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port, limit=LARGEST_REPLY)
        except OSError as error:
            raise DeviceLost(
                f"{self.device}: no server at {self.peer} ({error.strerror or error}); nothing was done. Start "
                "temscript-server on the microscope's computer, or correct host and port in the devices file."
            ) from error
        try:
            data = (body or "").encode()
            writer.write(
                f"{method} /v1/{path} HTTP/1.0\r\nHost: {self.peer}\r\nAccept: application/json\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                + data
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            protocol, _, status_and_reason = head[0].partition(" ")
            status, _, reason = status_and_reason.partition(" ")
            if not protocol.startswith("HTTP/1.") or not status.isascii() or not status.isdigit():
                raise ValueError(f"it begins with {head[0][:40]!r}")
            fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
            if status != "200":
                return int(status), " ".join(reason.split()), None
            length = int(fields.get("content-length", "-1"))
            if not 0 <= length <= LARGEST_REPLY or fields.get("content-type") != "application/json":
                raise ValueError("no JSON of a sensible length")
            return 200, "", json.loads(await reader.readexactly(length))
        except (asyncio.LimitOverrunError, RecursionError) as error:
            raise ValueError("a reply without end") from error
        finally:
            writer.transport.abort()
