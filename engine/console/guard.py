"""Who may ask this web server for what: checks of every request, before anything else sees it.

* Only this machine's own names as Host: a foreign name that was made to point here (DNS rebinding) is refused.
* What changes anything, and the stream, only from a page of this server (Origin), and with the cookie where it steers.
* Never in a frame of another page, never for another origin (no CORS), nothing kept by caches.
* Bodies of a few kB at most, refused before they are read.

The cookie is given for a key that is printed on the terminal, once; then another key is printed.
"""

import hmac
import secrets
from collections.abc import Callable
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = ("127.0.0.1", "localhost", "[::1]")
BODY_LIMIT_BYTES = 64 * 1024
SESSIONS_MOST = 100
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Keys:
    """The key that lets a browser in, and the cookies that were given for one.

    say: told every new key, for the terminal. port: of the server, for cookies do not tell ports apart.
    """

    def __init__(self, port: int, say: Callable[[str], None]) -> None:
        self.cookie = f"credline-{port}"
        self._say = say
        self._key = secrets.token_urlsafe(24)
        self._sessions: dict[str, None] = {}
        self._say(self._key)

    def exchange(self, key: str) -> str | None:
        """A cookie for the key, which is good for nothing afterwards; None for another key."""
        if not hmac.compare_digest(key.encode(), self._key.encode()):
            return None
        self._key = secrets.token_urlsafe(24)
        session = secrets.token_urlsafe(32)
        self._sessions[session] = None
        while len(self._sessions) > SESSIONS_MOST:
            self._sessions.pop(next(iter(self._sessions)))
        self._say(self._key)
        return session

    def page(self, connection: HTTPConnection, number: str) -> str:
        """What a page that may steer is known by, which only its own browser can say; empty for one that may not.

        number: the page's own, of those with the same cookie.
        """
        if not self.knows(connection):
            return ""
        return sha256(f"{_cookie(connection.headers, self.cookie)}/{number}".encode()).hexdigest()[:24]

    def knows(self, connection: HTTPConnection) -> bool:
        """Whether a request may steer."""
        given = _cookie(connection.headers, self.cookie)
        return bool(given) and any(hmac.compare_digest(given.encode(), known.encode()) for known in self._sessions)


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


class Guard:
    """Around the whole server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        left = BODY_LIMIT_BYTES
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        why = refusal(scope["type"], scope.get("method", ""), Headers(scope=scope))
        if why:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": why})
                return
            await PlainTextResponse(why, 403, HEADERS)(scope, receive, send)
            return

        async def bounded() -> Message:
            """The body as it comes, as far as it may come."""
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return {"type": "http.disconnect"} if left < 0 else message

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", PAGE_POLICY)
            await send(message)

        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._app(scope, bounded, hardened)


def refusal(kind: str, method: str, headers: Headers) -> str:
    """Why a request is refused; empty for one that is let through."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or _name(hosts[0]) not in NAMES:
        return "refused: this server answers to the names of this machine alone."
    origin = headers.get("origin")
    changes = kind == "websocket" or method not in ("GET", "HEAD")
    if (origin is not None or changes) and origin != f"http://{hosts[0]}":
        return "refused: only pages of this server may ask that."
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_LIMIT_BYTES:
        return f"refused: a request has {BODY_LIMIT_BYTES} bytes at most."
    if kind == "http" and method == "POST" and headers.get("content-type", "").partition(";")[0] != "application/json":
        return "refused: a request is JSON."
    return ""


def _name(host: str) -> str:
    """A Host without its port: with an SSH tunnel the port is another one than ours."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() and not host.endswith("]") else host
