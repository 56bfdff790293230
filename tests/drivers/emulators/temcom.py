"""An emulator of JEOL's COM library TEM3: the objects that comtypes would give, with the rules of COM kept.

Written from the public descriptions of the interface: method names, values and their ranges from JEOL's PyJEM
documentation (TEM3: Lens3, Def3, Stage3, EOS3, HT3), the trailing status and the names of the creating methods from
Instamatic's JEOL interface. Not from a microscope: what a real one does beyond that is unknown here.

Rules of COM it enforces: a thread must initialise COM before it makes objects, and objects belong to that thread. They
fail with RPC_E_WRONG_THREAD elsewhere, which is stricter than the free threading that the driver asks for.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

RPC_E_WRONG_THREAD = -2147417842  # 0x8001010E, signed as COM gives it
SERVER_UNAVAILABLE = -2147023174  # 0x800706BA
RATES_DEG_S = (10.0, 2.0, 1.0, 0.5)


class COMError(Exception):
    """As comtypes raises it: hresult, text, details."""

    def __init__(self, hresult: int) -> None:
        super().__init__(hresult, None, (None, None, None, 0, None))
        self.hresult = hresult


@dataclass
class Temcom:
    """A microscope and its TEM server, as a test sets them up. Time is the machine's own.

    call_s: each call takes this long. rate_setting: whether the tilt axis has rates. blocking: SetTiltXAngle returns
    at the standstill, as PyJEM's does on some instruments. real_rates: what the rates truly are, deg/s.
    stalled: cleared, calls do not return until it is set again. gone: the server has ended. statuses: what a method
    answers as its status instead of 0. answers: what it answers altogether, instead of the truth.
    """

    call_s: float = 0.001
    rate_setting: bool = True
    blocking: bool = False
    real_rates: tuple[float, ...] = RATES_DEG_S
    mode: int = 4
    not_ready: int = 0
    gone: bool = False
    stalled: threading.Event = field(default_factory=threading.Event)
    statuses: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    initialised: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    blanked: int = 1
    il1: int = 30_000
    rate: int = 2
    servers: int = 0

    def __post_init__(self) -> None:
        self.stalled.set()
        self.lock = threading.Lock()
        self._from_deg = self._to_deg = 0.0
        self._begin_s = time.monotonic()
        self._deg_s = 1.0

    def open(self) -> tuple[Any, Callable[[], None]]:
        """What `drivers.jeol.temcom.open_temcom` is on a microscope's computer."""
        thread = threading.get_ident()
        self.initialised.append(thread)
        return _Tem3(self, self.servers, thread), lambda: self.left.append(thread)

    def angle_deg(self) -> float:
        moved = self._deg_s * (time.monotonic() - self._begin_s)
        if self._to_deg >= self._from_deg:
            return min(self._from_deg + moved, self._to_deg)
        return max(self._from_deg - moved, self._to_deg)

    def turning(self) -> bool:
        return self.angle_deg() != self._to_deg

    def turn(self, target_deg: float) -> None:
        self._from_deg, self._to_deg = self.angle_deg(), target_deg
        self._begin_s, self._deg_s = time.monotonic(), self.real_rates[self.rate]

    def restart(self) -> None:
        """End the server and start another one: objects of the first are dead, the instrument stays as it is."""
        self.servers += 1


class _Object:
    """A COM object: every call is checked, counted, takes its time and ends with a status."""

    def __init__(self, temcom: Temcom, server: int, thread: int) -> None:
        self._temcom, self._server, self._thread = temcom, server, thread

    def __getattr__(self, name: str) -> Any:
        method = getattr(type(self), f"do_{name}", None)
        if method is None or (name.endswith("f1OverRateTxNum") and not self._temcom.rate_setting):
            raise AttributeError(name)

        def call(*args: Any) -> Any:
            temcom = self._temcom
            if threading.get_ident() != self._thread:
                raise COMError(RPC_E_WRONG_THREAD)
            if temcom.gone or self._server != temcom.servers:
                raise COMError(SERVER_UNAVAILABLE)
            temcom.calls.append((name, args))
            time.sleep(temcom.call_s)
            temcom.stalled.wait(30)
            values = method(self, *args)
            time.sleep(temcom.call_s)
            if name in temcom.answers:
                return temcom.answers[name]
            status = temcom.statuses.get(name, 0)
            return status if values is None else (*values, status)

        return call


class _Tem3(_Object):
    def __init__(self, temcom: Temcom, server: int, thread: int) -> None:
        if thread not in temcom.initialised:
            raise COMError(RPC_E_WRONG_THREAD)
        super().__init__(temcom, server, thread)

    def __getattr__(self, name: str) -> Any:
        kinds = {"CreateStage3": _Stage3, "CreateLens3": _Lens3, "CreateDef3": _Def3, "CreateEOS3": _Eos3}
        kind = {**kinds, "CreateHT3": _Ht3}[name]
        return lambda: kind(self._temcom, self._server, self._thread)


class _Stage3(_Object):
    def do_GetPos(self) -> tuple[float, ...]:
        return (-33299.0, 17720.5, 132.0, round(self._temcom.angle_deg(), 3), 0.0)

    def do_GetStatus(self) -> tuple[int, ...]:
        return (0, 0, 0, int(self._temcom.turning()), 0)

    def do_SetTiltXAngle(self, value: float) -> None:
        self._temcom.turn(value)
        while self._temcom.blocking and self._temcom.turning():
            time.sleep(0.002)

    def do_Stop(self) -> None:
        self._temcom.turn(self._temcom.angle_deg())

    def do_Getf1OverRateTxNum(self) -> tuple[int]:
        return (self._temcom.rate,)

    def do_Setf1OverRateTxNum(self, value: int) -> None:
        self._temcom.rate = value


class _Lens3(_Object):
    def do_GetIL1(self) -> tuple[int]:
        return (self._temcom.il1,)

    def do_SetDiffFocus(self, value: int) -> None:
        self._temcom.il1 = value


class _Def3(_Object):
    def do_GetBeamBlank(self) -> tuple[int]:
        return (self._temcom.blanked,)

    def do_SetBeamBlank(self, value: int) -> None:
        self._temcom.blanked = value


class _Eos3(_Object):
    def do_GetFunctionMode(self) -> tuple[int, str]:
        return (self._temcom.mode, ("MAG", "MAG2", "LowMAG", "SAMAG", "DIFF")[self._temcom.mode])


class _Ht3(_Object):
    def do_GetHTValue(self) -> tuple[float]:
        self._temcom.not_ready -= 1
        if self._temcom.not_ready >= 0:
            raise COMError(-2147418111)  # RPC_E_CALL_REJECTED: the server is busy starting
        return (200_000.0,)
