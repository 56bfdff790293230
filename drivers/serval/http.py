"""The two ways to Serval: its HTTP interface, and the frames it sends, by TCP or one by one through HTTP.

Used by `drivers.serval.camera`; what the bytes of frames mean is in `drivers.serval.frames`.
"""

import asyncio
import importlib
import json
from types import ModuleType
from typing import Any

from drivers.selfpaced.framesocket import FrameSocket, damaged
from drivers.selfpaced.series import Part
from drivers.serval.frames import LONGEST_HEADER_BYTES, image_counts, image_header, tiff_counts
from engine.clock import Clock, ns
from engine.errors import DeviceError, DeviceLost, Refused

HERE = "Check that Serval runs and that its address in the devices file is right."


class Refusal(DeviceError):
    """Serval answered with an error status; nothing was done. answer: its text."""

    def __init__(self, text: str, answer: str) -> None:
        super().__init__(text)
        self.answer = answer


async def load_httpx() -> ModuleType:
    """The HTTP library, an extra of credline. Raises Refused when it is not installed."""
    try:
        return await asyncio.to_thread(importlib.import_module, "httpx")  # its import takes longer than a loop may wait
    except ImportError as error:
        raise Refused(
            "devices: serval needs the package httpx; nothing was started. Install it, in the folder of credline: "
            'pip install -e ".[serval]".'
        ) from error


class Serval:
    """Requests to one Serval. Each takes at most `timeout_s`; a cancelled one may have been done."""

    def __init__(self, clock: Clock, httpx: ModuleType, url: str, timeout_s: float) -> None:
        self._clock = clock
        self._httpx = httpx
        self._url = url
        self._timeout_s = timeout_s
        self._client: Any = None

    async def get(self, path: str) -> Any:
        """The JSON (or text) at a path. Raises Refusal, DeviceLost, or DeviceError for what cannot be read."""
        return await self._request("GET", path, None)

    async def put(self, path: str, document: Any) -> None:
        """Send a JSON document. Raises as `get` does."""
        await self._request("PUT", path, document)

    async def _request(self, method: str, path: str, document: Any) -> Any:
        if self._client is None:  # made in a thread: it reads the system's certificates
            self._client = await asyncio.to_thread(
                lambda: self._httpx.AsyncClient(base_url=self._url, timeout=None, trust_env=False)
            )
        body = None if document is None else json.dumps(document)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        asked = False

        async def trace(event: str, _: object) -> None:
            nonlocal asked
            asked |= event == "http11.send_request_headers.started"

        try:
            async with self._clock.timeout_at(self._clock.now_ns() + ns(self._timeout_s)):
                answer = await self._client.request(
                    method, path, content=body, headers=headers, extensions={"trace": trace}
                )
        except (TimeoutError, self._httpx.HTTPError, self._httpx.InvalidURL, OSError) as error:
            cause = str(error) or type(error).__name__
            if isinstance(error, TimeoutError):
                cause = f"no answer within {self._timeout_s:g} s"
            state = f"whether {method} {path} was done is unknown" if asked else f"{method} {path} was not done"
            raise DeviceLost(f"serval: {self._url}: {' '.join(cause.split())}; {state}. {HERE}") from error
        text = " ".join(answer.text.split())
        if not answer.is_success:
            raise Refusal(
                f"serval: {method} {path} was refused with status {answer.status_code} ({text[:200]}); nothing was "
                "changed by it. Look at the log of Serval.",
                text,
            )
        if not text.startswith(("{", "[")):
            return text
        try:
            return json.loads(answer.text)
        except ValueError as error:
            raise DeviceError(f"serval: GET {path} answers no JSON ({text[:80]!r}). {HERE}") from error

    async def close(self) -> None:
        """Close its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class ImageStream:
    """Frames as `jsonimage` by TCP. Implements `drivers.selfpaced.series.Receiver`."""

    def __init__(self, connection: FrameSocket, shape: tuple[int, int], byte_order: str) -> None:
        self._connection = connection
        self._shape = shape
        self._byte_order = byte_order
        self._pixels = bytearray()

    def receive(self) -> Part:
        """See `Receiver.receive`."""
        try:
            header = image_header(self._line())
            if header.shape != self._shape:
                raise ValueError(f"a frame has {header.shape} pixels, the detector said {self._shape}")
            if header.threshold:
                raise ValueError(f"a frame is of threshold {header.threshold}, one was asked for")
            if header.size != len(self._pixels):
                self._pixels = bytearray(header.size)
            self._connection.fill(self._pixels)
        except ValueError as error:
            raise damaged("serval", error) from error
        return Part(header.number, lambda: image_counts(header, self._pixels, self._byte_order))

    def _line(self) -> bytes:
        held = b""
        while (end := held.find(b"\n")) < 0:
            if len(held) > LONGEST_HEADER_BYTES:
                raise ValueError(f"no header line in {len(held)} bytes")
            held += self._connection.some()
        self._connection.put_back(held[end + 1 :])
        line = held[:end]
        return line if line.strip() else self._line()

    def close(self) -> None:
        """See `Receiver.close`."""
        self._connection.close()


class ImageRequests:
    """Frames as TIFF, asked for one after the other. Implements `drivers.selfpaced.series.Receiver`.

    They carry no number: counted here, so that a frame which Serval dropped does not show.
    """

    def __init__(self, httpx: ModuleType, url: str, shape: tuple[int, int], timeout_s: float) -> None:
        self._httpx = httpx
        self._client = httpx.Client(base_url=url, timeout=timeout_s, trust_env=False)
        self._shape = shape
        self._number = -1
        self._closed = False

    def receive(self) -> Part:
        """See `Receiver.receive`."""
        over = "the series is over, its frames before are kept. Look at the log of Serval, and arm it again."
        try:
            answer = self._client.get("/measurement/image")
        except (self._httpx.HTTPError, OSError, RuntimeError) as error:  # RuntimeError: closed meanwhile
            raise DeviceLost(f"serval: no picture ({str(error) or type(error).__name__}); {over}") from error
        if answer.status_code != 200:
            raise DeviceLost(f"serval: no picture, status {answer.status_code}; {over}")
        try:
            counts = tiff_counts(answer.content)
            if counts.shape != self._shape:
                raise ValueError(f"a frame has {counts.shape} pixels, the detector said {self._shape}")
        except ValueError as error:
            raise damaged("serval", error) from error
        self._number += 1
        return Part(self._number, lambda: counts)

    def close(self) -> None:
        """See `Receiver.close`; a request under way ends with its picture or its time-out."""
        if not self._closed:
            self._closed = True
            self._client.close()
