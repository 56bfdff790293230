"""How Instamatic's servers write requests and replies: JSON, msgpack or pickle, without any framing.

Used by `drivers.instamatic.wire`. A codec says of bytes that have arrived so far: not whole yet, one whole object, or
no object at all. Nothing here runs code that came over the network: a pickle is read opcode by opcode first, only plain
values and the types in `ADMITTED` pass.

Source: Instamatic 2.2.2, `server/serializer.py` (which of the three a server speaks is `tem_communication_protocol`
in its settings.yaml; it also knows yaml, but cannot write a stage position in it).
"""

import io
import json
import pickle
import pickletools
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from engine.errors import Refused

# The longest piece of JSON that means nothing until it is whole: "-Infinity" and the two halves of an escape.
LONGEST_WORD = 12


class Unfinished(Exception):
    """The bytes so far are the beginning of an object."""


class Codec(Protocol):
    """One of the ways to write an object."""

    @property
    def name(self) -> str:
        """As the server's settings call it."""
        ...

    def encode(self, request: Mapping[str, Any]) -> bytes:
        """A request as bytes."""
        ...

    def decode(self, data: bytes) -> tuple[Any, int]:
        """The object at the beginning of `data` and how many bytes it takes.

        Raises Unfinished when more must come, ValueError for what can never become an object.
        """
        ...


class JsonCodec:
    """JSON text in UTF-8."""

    name = "json"

    def encode(self, request: Mapping[str, Any]) -> bytes:
        """See `Codec.encode`."""
        return json.dumps(request).encode()

    def decode(self, data: bytes) -> tuple[Any, int]:
        """See `Codec.decode`. Every reply is a list, so that the end of one can be seen."""
        if data[:1] != b"[":
            raise ValueError("not a JSON list")
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            if error.end == len(data):  # a character cut in two
                raise Unfinished from error
            raise
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except json.JSONDecodeError as error:
            if len(text) - error.pos <= LONGEST_WORD or error.msg.startswith("Unterminated string"):
                # A cut text is wrong at its end, or where the string begins that has no end.
                raise Unfinished from error
            raise
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        return value, len(text[:end].encode())


class MsgpackCodec:
    """msgpack, https://github.com/msgpack/msgpack/blob/master/spec.md."""

    name = "msgpack"

    def __init__(self) -> None:
        try:
            import msgpack  # type: ignore[import-untyped, unused-ignore]
        except ImportError as error:
            raise Refused(
                "devices: protocol = 'msgpack' needs the package msgpack, which is not installed; nothing was started. "
                "Install credline[instamatic], or choose protocol = 'json' here and in Instamatic's settings.yaml."
            ) from error
        self._msgpack = msgpack

    def encode(self, request: Mapping[str, Any]) -> bytes:
        """See `Codec.encode`."""
        data: bytes = self._msgpack.packb(request)
        return data

    def decode(self, data: bytes) -> tuple[Any, int]:
        """See `Codec.decode`."""
        if data[:1] != b"\x92":  # an array of two
            raise ValueError("not a msgpack array of two")
        unpacker = self._msgpack.Unpacker(max_buffer_size=1 << 20)
        unpacker.feed(data)
        try:
            return unpacker.unpack(), unpacker.tell()
        except self._msgpack.OutOfData as error:
            raise Unfinished from error
        except (self._msgpack.UnpackException, RecursionError) as error:
            raise ValueError(f"not msgpack: {error}") from error


class StagePosition(NamedTuple):
    """x, y, z in nm, a and b in degrees; stands for `instamatic.microscope.utils.StagePositionTuple`."""

    x: float
    y: float
    z: float
    a: float
    b: float


# What a pickle may name, and what it becomes here. Plain values need no entry.
ADMITTED: Mapping[tuple[str, str], type] = {("instamatic.microscope.utils", "StagePositionTuple"): StagePosition}

# Opcodes that build plain values; those that import (GLOBAL, STACK_GLOBAL) and create (NEWOBJ) are checked further.
# Not here: REDUCE, BUILD, INST, OBJ, NEWOBJ_EX, EXT*, PERSID, which call or reach what is not plain.
PLAIN = frozenset(
    "PROTO FRAME STOP MARK POP MEMOIZE BINPUT BINGET NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT "
    "SHORT_BINUNICODE BINUNICODE SHORT_BINBYTES BINBYTES EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND "
    "APPENDS EMPTY_DICT DICT SETITEM SETITEMS".split()
)


class _AdmittingUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"names {module}.{name}, which is not admitted") from None


class PickleCodec:
    """Python's pickle, the servers' default: read only if it holds nothing but plain values and `ADMITTED` types."""

    name = "pickle"

    def encode(self, request: Mapping[str, Any]) -> bytes:
        """See `Codec.encode`."""
        return pickle.dumps(dict(request), protocol=4)

    def decode(self, data: bytes) -> tuple[Any, int]:
        """See `Codec.decode`. The opcodes are looked at before any of them is obeyed."""
        if data[:1] != b"\x80":
            raise ValueError("not a pickle of protocol 2 or later")
        end = self._checked_end(data)
        try:
            return _AdmittingUnpickler(io.BytesIO(data[:end])).load(), end
        except Exception as error:  # a malformed pickle raises nearly anything, and nothing in it can act
            raise ValueError(f"a pickle that does not hold together ({error})") from error

    @staticmethod
    def _checked_end(data: bytes) -> int:
        stream = io.BytesIO(data)
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "GLOBAL":
                    if tuple(str(argument).split(" ", 1)) not in ADMITTED:
                        raise _NotAdmitted(f"names {argument}, which is not admitted")
                elif opcode.name not in PLAIN and opcode.name not in ("STACK_GLOBAL", "NEWOBJ"):
                    raise _NotAdmitted(f"uses the opcode {opcode.name}, which is not admitted")
        except _NotAdmitted as error:
            raise ValueError(f"a pickle that {error}") from None
        except ValueError as error:
            if "unknown" in str(error):  # an opcode that does not exist
                raise
            raise Unfinished from error  # too few bytes for an argument, or no STOP yet
        return stream.tell()


class _NotAdmitted(Exception):
    pass


CODECS: Mapping[str, type[JsonCodec] | type[MsgpackCodec] | type[PickleCodec]] = {
    "json": JsonCodec,
    "msgpack": MsgpackCodec,
    "pickle": PickleCodec,
}
