"""A picture as a camera server without shared memory sends it: a pickled numpy array, built without running anything.

Used by `drivers.instamatic.camera`, for a camera server on another computer. A pickle names functions and has them
called; here each of the four names that an array's pickle has stands for a function of this file, made anew for each
answer, and every other name is refused. Source: Instamatic 2.2.2, `server/cam_server.py` (a pickled pair of status and
array), and numpy 1 and 2, `_core/multiarray`, `_core/numeric`.
"""

import io
import math
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from drivers.instamatic.codec import PLAIN, PickleCodec, Unfinished
from engine.frame import Picture, is_picture_type

MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
OPCODES = PLAIN | {"REDUCE", "BUILD", "STACK_GLOBAL", "BINBYTES8", "BYTEARRAY8", "MEMOIZE"}


class PickledPicture:
    """An array as a pickle tells it: shape, type and bytes, to be looked at before it becomes one."""

    def __init__(self) -> None:
        self._told: tuple[Any, ...] = ()

    def __setstate__(self, told: Any) -> None:
        if not isinstance(told, tuple):
            raise pickle.UnpicklingError("an array whose state is none")
        self._told = told

    def counts(self) -> Picture:
        """The array, read-only, on the bytes that came. Raises ValueError for what is no picture."""
        if len(self._told) != 5:
            raise ValueError("not a picture")
        _, shape, dtype, by_columns, data = self._told
        if not isinstance(dtype, _Type) or not isinstance(data, bytes | bytearray) or not isinstance(shape, tuple):
            raise ValueError("not a picture")
        pixel = dtype.pixel()
        if len(shape) != 2 or not all(type(side) is int and side > 0 for side in shape):
            raise ValueError("not rows and columns")
        if len(data) != math.prod(shape) * pixel.itemsize:
            raise ValueError(f"{len(data)} bytes for {shape[0]} x {shape[1]} pixels")
        return np.frombuffer(data, pixel).reshape(shape, order="F" if by_columns else "C")


class _Type:
    """A numpy type as a pickle tells it."""

    def __init__(self, name: Any) -> None:
        self._name, self._order = name, "="

    def __setstate__(self, told: Any) -> None:
        if not isinstance(told, tuple) or len(told) < 2:
            raise pickle.UnpicklingError("a type whose state is none")
        self._order = told[1]

    def pixel(self) -> "np.dtype[Any]":
        """The type. Raises ValueError for one whose counts cannot be kept."""
        if self._name not in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4") or self._order not in tuple("<>=|"):
            raise ValueError("not counts that can be kept (integers or float32)")
        pixel: np.dtype[Any] = np.dtype(self._name).newbyteorder(self._order)
        if not is_picture_type(pixel):
            raise ValueError("not counts that can be kept (integers or float32)")
        return pixel


def _builders() -> Mapping[tuple[str, str], Callable[..., Any] | str]:
    """What the names in an array's pickle stand for; new ones each time, so that nothing of an answer stays."""

    def reconstruct(*_: Any) -> PickledPicture:
        return PickledPicture()

    def of_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> PickledPicture:
        picture = PickledPicture()
        picture.__setstate__((1, shape, dtype, order == "F", data))
        return picture

    def of_type(name: Any, *_: Any) -> _Type:
        return _Type(name)

    return {
        **{(module, "_reconstruct"): reconstruct for module in MULTIARRAY},
        **{(module, "_frombuffer"): of_buffer for module in NUMERIC},
        ("numpy", "dtype"): of_type,
        ("numpy", "ndarray"): "ndarray",
    }


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self._builders = _builders()

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._builders[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"names {module}.{name}, which is not admitted") from None


class PictureCodec(PickleCodec):
    """Pickle, for a camera: besides plain values it reads pictures."""

    def decode(self, data: bytes) -> tuple[Any, int]:
        """See `Codec.decode`."""
        if data[:1] != b"\x80":
            raise ValueError("not a pickle of protocol 2 or later")
        stream = io.BytesIO(data)
        try:
            for opcode, _, _ in pickletools.genops(stream):
                if opcode.name not in OPCODES:
                    raise _NotAdmitted(f"a pickle that uses the opcode {opcode.name}, which is not admitted")
        except _NotAdmitted:
            raise
        except ValueError as error:
            if "unknown" in str(error):  # an opcode that does not exist
                raise
            raise Unfinished from error
        end = stream.tell()
        try:
            return _ArrayUnpickler(io.BytesIO(data[:end])).load(), end
        except Exception as error:  # a malformed pickle raises nearly anything, and nothing in it can act
            raise ValueError(f"a pickle that does not hold together ({error})") from error


class _NotAdmitted(ValueError):
    """An opcode that could call or reach what is not plain."""
