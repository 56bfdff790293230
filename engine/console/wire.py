"""Lines of JSON over loopback TCP between the console and the instrument process, and how both know each other.

The instrument process publishes a secret that only this user can read (`engine.console.published`). It never travels:
each side proves by a digest of fresh numbers that it has it, so that a program which happens to listen on an old port
learns nothing, and an old conversation cannot be said again.
"""

import asyncio
import hmac
import json
import secrets
from asyncio import StreamReader, StreamWriter

from engine.clock import Clock, ns
from engine.errors import DataError, Refused
from engine.record.jsonobject import JsonDict, JsonObject

LINE_LIMIT_BYTES = 256 * 1024
"""No request and no answer comes near this; a longer line ends the connection."""
GREETING_LIMIT_S = 2.0
WORD = "credline instrument"


async def receive(reader: StreamReader) -> JsonDict | None:
    """The next object; None where the other side has ended. Raises DataError for what is none, or is too long."""
    try:
        line = await reader.readline()
    except (ValueError, asyncio.LimitOverrunError) as error:
        raise DataError(f"a line of more than {LINE_LIMIT_BYTES} bytes came; the connection is closed.") from error
    except OSError:
        return None
    if not line.endswith(b"\n"):
        return None
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError("a line came that is no JSON; the connection is closed.") from error
    if not isinstance(said, dict):
        raise DataError("a line came that is no JSON object; the connection is closed.")
    return said


async def send(writer: StreamWriter, said: JsonObject) -> None:
    """Send an object. Raises OSError where the other side is gone."""
    writer.write(json.dumps(said, separators=(",", ":")).encode() + b"\n")
    await writer.drain()


async def greet(reader: StreamReader, writer: StreamWriter, secret: str, clock: Clock) -> bool:
    """As the instrument process: whether the other side has the secret; it is shown that this one has it."""
    nonce = secrets.token_hex(16)
    try:
        async with clock.timeout_at(clock.now_ns() + ns(GREETING_LIMIT_S)):
            await send(writer, {"who": WORD, "nonce": nonce})
            said = await receive(reader)
            if said is None:
                return False
            theirs = str(said.get("nonce"))
            if not hmac.compare_digest(str(said.get("proof")).encode(), _proof(secret, "console", nonce, theirs)):
                return False
            await send(writer, {"proof": _proof(secret, "instrument", theirs, nonce).decode()})
    except (TimeoutError, DataError, OSError):
        return False
    return True


async def introduce(reader: StreamReader, writer: StreamWriter, secret: str, clock: Clock) -> None:
    """As the console. Raises Refused where the other side is no instrument process, or has another secret."""
    mine = secrets.token_hex(16)
    try:
        async with clock.timeout_at(clock.now_ns() + ns(GREETING_LIMIT_S)):
            said = await receive(reader) or {}
            nonce = str(said.get("nonce"))
            await send(writer, {"nonce": mine, "proof": _proof(secret, "console", nonce, mine).decode()})
            answer = await receive(reader) or {}
    except (TimeoutError, DataError, OSError) as error:
        raise Refused("no instrument process answers there; nothing was asked of it.") from error
    if not hmac.compare_digest(str(answer.get("proof")).encode(), _proof(secret, "instrument", mine, nonce)):
        raise Refused("what answers there is not the instrument process that was published; nothing was asked of it.")


def _proof(secret: str, side: str, first: str, second: str) -> bytes:
    """What only somebody with the secret can say, of two numbers that were never said before."""
    return hmac.new(secret.encode(), f"{side}:{first}:{second}".encode(), "sha256").hexdigest().encode()
