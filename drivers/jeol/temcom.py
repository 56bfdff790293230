"""JEOL's TEMCOM from the inside of one thread: its COM objects, the status each call returns, and what went wrong.

`drivers.jeol.microscope` makes a `Connection` for each thing that must not wait for the others. COM is initialised in
that thread, the objects are made there, used there and let go there. Method names and their results are those of the
type library TEM3 (version 3.0), as Instamatic's JEOL interface and JEOL's own PyJEM document them in public: every
method returns its values followed by a status, 0 for success.
"""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drivers.options import is_number
from engine.clock import Clock
from engine.devicethread import DeviceThread
from engine.errors import CredlineError, DeviceError, DeviceLost, Refused

TYPE_LIBRARY = ("{CE70FCE4-26D9-4BAB-9626-EC88DB7F6A0A}", 3, 0)
MULTITHREADED = 0
MOVING, AT_LIMITER = 1, 2  # Stage3.GetStatus, for each axis
# A command to move that has not come back after this is asked about with GetStatus: on some microscopes it comes back
# at the standstill.
ACCEPT_S = 0.15
LONGEST_MOTION_S = 3600.0
# The server has gone: RPC_S_SERVER_UNAVAILABLE, RPC_S_CALL_FAILED, RPC_E_DISCONNECTED, RPC_E_SERVER_DIED,
# CO_E_OBJNOTCONNECTED (winerror.h). Its objects never come back, also when the program is started again.
GONE = {0x800706BA, 0x800706BE, 0x80010108, 0x80010007, 0x800401FD}

OpenLibrary = Callable[[], tuple[Any, Callable[[], None]]]
"""Called in the thread: initialises COM there and makes the object TEM3; the second item undoes it."""


def open_temcom() -> tuple[Any, Callable[[], None]]:
    """TEM3 of this computer, through comtypes. Raises Refused where comtypes is missing or there is no Windows."""
    # Importing comtypes initialises COM in the importing thread, in the way that this says.
    if not hasattr(sys, "coinit_flags"):
        sys.coinit_flags = MULTITHREADED  # type: ignore[attr-defined]
    try:
        import comtypes
        import comtypes.client
    except (ImportError, AttributeError, OSError) as error:
        raise Refused(
            f"jeol: TEMCOM needs Windows and comtypes ({error}); nothing was started. On the microscope's computer, "
            'in the folder of credline: pip install -e ".[jeol]"; elsewhere reach the microscope through another '
            "driver, as instamatic."
        ) from error
    try:
        comtypes.CoInitializeEx(MULTITHREADED)
    except OSError:  # initialised in another way by somebody else; that serves as well
        comtypes.CoInitialize()
    library = comtypes.client.GetModule(TYPE_LIBRARY)
    return comtypes.client.CreateObject(library.TEM3, comtypes.CLSCTX_ALL), comtypes.CoUninitialize


def blank_beam() -> bool:
    """Close the blanker from another process and read it back, twice, for the watchdog."""
    tem, release = open_temcom()
    try:
        deflectors = tem.CreateDef3()
        deflectors.SetBeamBlank(1)
        answers = [deflectors.GetBeamBlank() for _ in range(2)]
        return all(closed == 1 and status == 0 for closed, status in answers)
    finally:
        release()


@dataclass(frozen=True, slots=True)
class Answer:
    """The values a method returned, less its status, and the instants around the call, from within the thread."""

    values: tuple[Any, ...]
    t_before_ns: int
    t_after_ns: int


class Connection:
    """One TEM3 in a thread of its own. call_limit_s: a call that takes longer loses it.

    Errors: DeviceError for a refused call or an answer that makes no sense, DeviceBusy and DeviceLost as
    `DeviceThread`; once the server has gone, DeviceLost until connected anew.
    """

    def __init__(self, name: str, clock: Clock, open_library: OpenLibrary, call_limit_s: float) -> None:
        self._name = name
        self._clock = clock
        self._open_library = open_library
        self._thread = DeviceThread(name, clock, call_limit_s, self._open)
        self._tem: Any = None
        self._parts: dict[str, Any] = {}
        self._release: Callable[[], None] | None = None
        self._lost: str | None = None

    async def call(self, part: str, method: str, *args: float) -> Answer:
        """Call a method of a part (`Lens3`, `Def3`, ...) and return its values."""
        if self._lost is not None:
            raise DeviceLost(self._lost)
        return await self._thread.call(self._in_thread, part, method, *args)

    async def has(self, part: str, method: str) -> bool:
        """Whether this version of the library has a method."""
        return await self._thread.call(lambda: hasattr(self._part(part), method))

    async def close(self) -> None:
        """Let the objects go in their thread, then the thread; one that hangs is left behind."""
        try:
            if not self._thread.busy:
                await self._thread.call(self._close_in_thread)
        except CredlineError:
            pass  # it is gone already
        finally:
            self._thread.close()

    def _open(self) -> None:
        self._tem, self._release = self._open_library()

    def _close_in_thread(self) -> None:
        self._parts.clear()
        self._tem = None
        gc.collect(0)  # objects must be gone before COM is
        if self._release is not None:
            self._release()

    def _part(self, part: str) -> Any:
        if part not in self._parts:
            self._parts[part] = getattr(self._tem, f"Create{part}")()
        return self._parts[part]

    def _in_thread(self, part: str, method: str, *args: float) -> Answer:
        name = f"{self._name}: {part}.{method}"
        before_ns = self._clock.now_ns()
        try:
            answer = getattr(self._part(part), method)(*args)
        except Exception as error:
            raise self._explained(name, error) from error
        after_ns = self._clock.now_ns()
        if answer is None:  # a method without results; had it failed, COM would have said so
            return Answer((), before_ns, after_ns)
        *values, status = answer if isinstance(answer, tuple | list) else (answer,)
        if not isinstance(status, int) or isinstance(status, bool):
            raise DeviceError(f"{name} answered {answer!r}, which has no status; whether it was done is unknown.")
        if status != 0:
            raise DeviceError(
                f"{name} answered status {status}; it was not done, as far as the microscope says. Look at its own "
                "screen for the cause."
            )
        return Answer(tuple(values), before_ns, after_ns)

    def _explained(self, name: str, error: Exception) -> DeviceError:
        """One line for an exception of COM: comtypes.COMError has `hresult`, the others at least a text."""
        code = getattr(error, "hresult", None)
        if not isinstance(code, int):
            return DeviceError(
                f"{name} failed ({type(error).__name__}: {error}); it was not done. Does this microscope have it?"
            )
        code &= 0xFFFFFFFF
        if code in GONE:
            self._lost = (
                f"{self._name}: the microscope's TEM server has gone (0x{code:08X}); whether {name} happened is "
                "unknown. Start it again, look at beam and stage, then connect again."
            )
            return DeviceLost(self._lost)
        return DeviceError(f"{name} failed (COM error 0x{code:08X}); whether it was done is unknown. Read the state.")


def numbers(answer: Answer, count: int, what: str) -> list[float]:
    """The first values of an answer as finite numbers. Raises DeviceError when they are not there, or are none."""
    values = answer.values[:count]
    if len(values) == count and all(is_number(value) for value in values):
        return list(values)
    raise DeviceError(f"{what}: the microscope answered {answer.values!r} where {count} numbers belong; not used.")
