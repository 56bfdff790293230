"""The HTTP side of DECTRIS detectors (SIMPLON API): values read and set, commands given, every wait bounded.

Used by `drivers.dectris.driver`. Values live at `/MODULE/api/VERSION/config|status/KEY` as JSON `{"value": ...}`,
commands are PUT to `/MODULE/api/VERSION/command/NAME`. What httpx raises becomes an error of ours that says whether
something was changed. Source: SIMPLON API reference 1.6 and 1.8.
"""

import asyncio
import base64
import importlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.clock import Clock, ns
from engine.errors import DeviceError, DeviceLost, Refused

if TYPE_CHECKING:
    import httpx

VERSIONS = ("1.6.", "1.7.", "1.8.")
REQUEST_LIMIT_S = 10.0


class _TurnedDown(DeviceError):
    """The detector understood and said no."""


class Simplon:
    """One detector control unit, found at `host:port`. Use `open` first, `close` last."""

    def __init__(self, clock: Clock, host: str, port: int) -> None:
        self.name = f"detector at {host}:{port}"
        self.version = ""
        self._clock = clock
        self._base = f"http://{host}:{port}"
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Ask for the version of the interface. Raises DeviceError when nobody answers or it is not known."""
        try:
            await asyncio.to_thread(importlib.import_module, "httpx")  # takes a tenth of a second
        except ImportError as error:
            raise Refused(
                'devices: the driver "dectris" needs httpx, pyzmq and dectris-compression; nothing was started. '
                'Install them, in the folder of credline: pip install -e ".[dectris]".'
            ) from error
        import httpx

        # No proxy from the environment, no certificates to load: plain HTTP to a machine beside this one. Every wait is
        # bounded below, on the engine's clock.
        transport = httpx.AsyncHTTPTransport(verify=False, trust_env=False)
        self._client = httpx.AsyncClient(transport=transport, timeout=None, trust_env=False)
        version = _value(await self._request("GET", "/detector/api/version/", "nothing was changed"))
        if not isinstance(version, str) or not version.startswith(VERSIONS):
            raise DeviceError(
                f"{self.name}: its interface has the version {version!r}; nothing was changed. "
                "This driver knows 1.6 to 1.8; check host and port."
            )
        self.version = version

    async def get(self, module: str, task: str, key: str) -> dict[str, Any]:
        """What the detector says of a value: `value` and, as far as it tells, `min`, `max`, `unit`."""
        return await self._request("GET", self._path(module, task, key), "nothing was changed")

    async def value(self, module: str, task: str, key: str) -> Any:
        """A value of the configuration or status. Raises DeviceError where the detector has none of that name."""
        return _value(await self.get(module, task, key))

    async def number(self, module: str, key: str) -> float:
        """A value of the configuration that must be a number."""
        value = await self.value(module, "config", key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DeviceError(
                f"{self.name}: {module} {key} = {value!r} is not a number; nothing was changed. "
                "Check that host and port are those of a DECTRIS detector."
            )
        return value

    async def mask(self, key: str, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Which pixels the detector says to leave out, (rows, columns); None where it does not say."""
        try:
            answer = await self._request(
                "GET", self._path("detector", "config", key), "nothing was changed", decode=_mask
            )
        except _TurnedDown:
            return None
        found: NDArray[np.bool_] | None = answer.get("mask")
        return found.reshape(shape) if found is not None and found.size == shape[0] * shape[1] else None

    async def find(self, module: str, key: str) -> dict[str, Any] | None:
        """As `get`, of the configuration; None where the detector has no such value, as older ones lack some."""
        try:
            return await self.get(module, "config", key)
        except _TurnedDown:
            return None

    async def set(self, module: str, key: str, value: object) -> None:
        """Set a value of the configuration. Cancel: it may have been set."""
        await self._request(
            "PUT", self._path(module, "config", key), f"whether {key} was set is unknown", {"value": value}
        )

    async def command(
        self,
        name: str,
        limit_s: float | None = None,
        value: float | None = None,
        sent: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Give a command to the detector and wait until it was carried out. Cancel: it may have been.

        value: its argument. sent: called when the request has been handed to the network.
        """
        return await self._request(
            "PUT",
            self._path("detector", "command", name),
            f"whether it did {name} is unknown",
            None if value is None else {"value": value},
            limit_s,
            sent,
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _path(self, module: str, task: str, key: str) -> str:
        return f"/{module}/api/{self.version}/{task}/{key}"

    async def _request(
        self,
        method: str,
        path: str,
        state: str,
        body: dict[str, object] | None = None,
        limit_s: float | None = None,
        sent: Callable[[], None] | None = None,
        decode: Callable[[bytes], Any] = json.loads,
    ) -> dict[str, Any]:
        import httpx

        if self._client is None:
            raise DeviceError(f"{self.name}: not connected; nothing was changed.")
        limit_s = REQUEST_LIMIT_S if limit_s is None else limit_s

        async def trace(event: str, _: object) -> None:
            if sent is not None and event == "http11.send_request_headers.started":
                sent()

        extensions = {"trace": trace} if sent else {}
        try:
            async with self._clock.timeout_at(self._clock.now_ns() + ns(limit_s)):
                try:
                    response = await self._client.request(method, self._base + path, json=body, extensions=extensions)
                except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                    # A connection kept from the last request may be closed by the other side just when it is used
                    # again. Once more does no harm, but for a command.
                    if "/command/" in path:
                        raise
                    response = await self._client.request(method, self._base + path, json=body)
        except TimeoutError as error:
            raise DeviceLost(
                f"{self.name}: no answer to {method} {path} for {limit_s:g} s; {state}. "
                "Check its network cable and its own web page, then connect again."
            ) from error
        except (httpx.ConnectError, ConnectionRefusedError) as error:
            raise DeviceError(
                f"{self.name}: cannot be reached ({error}); nothing was changed. Check that the detector control "
                "unit is switched on, and host and port in the devices file."
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            raise DeviceError(
                f"{self.name}: the connection broke during {method} {path} ({type(error).__name__}: {_line(error)}); "
                f"{state}. Check the network and whether the detector was restarted."
            ) from error
        if response.status_code != httpx.codes.OK:
            raise _TurnedDown(
                f"{self.name}: refused {method} {path} with status {response.status_code} "
                f"({_line(response.text) or 'no reason given'}); it was not done. See the detector's own web page; if "
                "there is none, correct host and port in the devices file."
            )
        if not response.content.strip():
            return {}
        try:  # megabytes in the case of a mask; settings and commands may also answer with null or a list
            big = len(response.content) > 10_000
            answer = await asyncio.to_thread(decode, response.content) if big else decode(response.content)
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise DeviceError(
                f"{self.name}: answered {method} {path} with something that is not JSON; {state}. "
                "Check that host and port are those of a DECTRIS detector."
            ) from error
        return answer if isinstance(answer, dict) else {}


def _mask(content: bytes) -> dict[str, Any]:
    """A table with `mask`: true where a pixel has any of the flags of a pixel mask (no pixel, dead, noisy, ...)."""
    array = json.loads(content).get("value")
    if not isinstance(array, dict) or "base64" not in array.get("filters", ()):
        return {}
    flags = np.frombuffer(base64.b64decode(array["data"]), np.dtype(str(array["type"])))
    return {"mask": flags != 0}


def _value(answer: dict[str, Any]) -> Any:
    return answer.get("value")


def _line(text: object) -> str:
    """The beginning of a foreign text, on one line."""
    return " ".join(str(text).split())[:120]
