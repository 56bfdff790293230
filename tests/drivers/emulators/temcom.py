"""An emulator of JEOL's COM library TEM3: the objects that comtypes would give, with the rules of COM kept.

Written from the public descriptions of the interface: method names, values and their ranges from JEOL's PyJEM
documentation (TEM3: Lens3, Def3, Stage3, EOS3, HT3), the trailing status, the names of the creating methods, what
belongs to which coil and the numbers of steps and spots (from 0) from Instamatic's JEOL interface, magnifications and
camera lengths from its config/microscope/jeol.yaml. Not from a microscope: what a real one does beyond that is unknown
here.

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
NM_S = 50_000.0
# By function mode: MAG, MAG2, LowMAG, SAMAG, DIFF; the last in its unit of length.
STEPS = {
    0: (2500, 3000, 4000, 5000, 6000, 8000, 10_000, 12_000, 15_000, 20_000),
    1: (2500, 3000, 4000, 5000),
    2: (50, 80, 100, 150, 200, 250, 300, 400, 500, 600, 800, 1000),
    3: (2500, 3000, 4000, 5000),
    4: (15, 20, 25, 30, 40, 50, 60, 80, 100),
}
MODES = ("MAG", "MAG2", "LowMAG", "SAMAG", "DIFF")


class COMError(Exception):
    """As comtypes raises it: hresult, text, details."""

    def __init__(self, hresult: int) -> None:
        super().__init__(hresult, None, (None, None, None, 0, None))
        self.hresult = hresult


class Axis:
    """An axis of the stage, in nm or deg: where it is, and where it goes."""

    def __init__(self, at: float) -> None:
        self._from = self.to = at
        self._begin_s, self._speed = time.monotonic(), 1.0

    @property
    def at(self) -> float:
        moved = self._speed * (time.monotonic() - self._begin_s)
        return min(self._from + moved, self.to) if self.to >= self._from else max(self._from - moved, self.to)

    @property
    def moving(self) -> bool:
        return self.at != self.to

    @property
    def moving_for_s(self) -> float:
        return time.monotonic() - self._begin_s if self.moving else 0.0

    def go(self, to: float, speed: float) -> None:
        self._from, self.to = self.at, to
        self._begin_s, self._speed = time.monotonic(), speed

    def halt(self) -> None:
        self.go(self.at, 1.0)


@dataclass
class Temcom:
    """A microscope and its TEM server, as a test sets them up. Time is the machine's own.

    call_s: each call takes this long. rate_setting: whether the tilt axis has rates. blocking: SetTiltXAngle, SetX,
    SetY and SetZ return at the standstill, as PyJEM's do on some instruments. flag_late_s: for so long GetStatus says
    rest at the beginning of a move in x, y or z. limiter_nm: where x stops by its hardware. unit: of camera lengths.
    spots: how many spot sizes there are. real_rates: what the rates truly are, deg/s. stalled: cleared, calls do not
    return until it is set again. gone: the server has ended. statuses: what a method answers as its status instead of
    0; it does nothing then. answers: what it answers altogether, instead of the truth.
    """

    call_s: float = 0.001
    rate_setting: bool = True
    blocking: bool = False
    flag_late_s: float = 0.0
    limiter_nm: float = 900_000.0
    unit: str = "cm"
    spots: int = 5
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
        self.tilt = Axis(0.0)
        self.xyz = [Axis(-33_299.0), Axis(17_720.5), Axis(132.0)]
        self.coils = dict.fromkeys(("CLA1", "CLA2", "IS1", "IS2", "PLA"), (32_768, 32_768))
        self.steps = dict.fromkeys(STEPS, 3)  # each mode has a step of its own
        self.cl3 = 40_000
        self.spot = 0

    def open(self) -> tuple[Any, Callable[[], None]]:
        """What `drivers.jeol.temcom.open_temcom` is on a microscope's computer."""
        thread = threading.get_ident()
        self.initialised.append(thread)
        return _Tem3(self, self.servers, thread), lambda: self.left.append(thread)

    def angle_deg(self) -> float:
        return self.tilt.at

    def turning(self) -> bool:
        return self.tilt.moving

    def turn(self, target_deg: float) -> None:
        self.tilt.go(target_deg, self.real_rates[self.rate])

    def restart(self) -> None:
        """End the server and start another one: objects of the first are dead, the instrument stays as it is."""
        self.servers += 1


class Refusal(Exception):
    """The microscope does not do that, and says so with a status."""


class _Object:
    """A COM object: every call is checked, counted, takes its time and ends with a status."""

    def __init__(self, temcom: Temcom, server: int, thread: int) -> None:
        self._temcom, self._server, self._thread = temcom, server, thread

    def __getattr__(self, name: str) -> Any:
        method = getattr(type(self), f"do_{name}", None)
        if method is None or (name.endswith("f1OverRateTxNum") and not self._temcom.rate_setting):
            raise AttributeError(name)
        return self._called(name, method, self)

    def _called(self, name: str, method: Callable[..., Any], *first: Any) -> Callable[..., Any]:
        """method: what carries out the call, with `first` before its arguments; its values, None without any."""

        def call(*args: Any) -> Any:
            temcom = self._temcom
            if threading.get_ident() != self._thread:
                raise COMError(RPC_E_WRONG_THREAD)
            if temcom.gone or self._server != temcom.servers:
                raise COMError(SERVER_UNAVAILABLE)
            temcom.calls.append((name, args))
            time.sleep(temcom.call_s)
            temcom.stalled.wait(30)
            status = temcom.statuses.get(name, 0)
            try:
                values = None if status else method(*first, *args)
            except Refusal:
                values, status = None, 1
            time.sleep(temcom.call_s)
            if name in temcom.answers:
                return temcom.answers[name]
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
        return (*(axis.at for axis in self._temcom.xyz), round(self._temcom.angle_deg(), 3), 0.0)

    def do_GetStatus(self) -> tuple[int, ...]:
        late_s = self._temcom.flag_late_s
        x, y, z = (int(axis.moving_for_s > late_s) for axis in self._temcom.xyz)
        if not x and abs(self._temcom.xyz[0].at) >= self._temcom.limiter_nm:
            x = 2
        return (x, y, z, int(self._temcom.turning()), 0)

    def do_SetX(self, value: float) -> None:
        limit = self._temcom.limiter_nm
        self._translate(0, max(-limit, min(value, limit)))

    def do_SetY(self, value: float) -> None:
        self._translate(1, value)

    def do_SetZ(self, value: float) -> None:
        self._translate(2, value)

    def do_SetPosition(self, x: float, y: float) -> None:
        for number, by in enumerate((x, y)):  # relative, as PyJEM's issue 13 has it
            self._translate(number, self._temcom.xyz[number].at + by)

    def _translate(self, number: int, to: float) -> None:
        axis = self._temcom.xyz[number]
        axis.go(to, NM_S)
        while self._temcom.blocking and axis.moving:
            time.sleep(0.002)

    def do_SetTiltXAngle(self, value: float) -> None:
        self._temcom.turn(value)
        while self._temcom.blocking and self._temcom.turning():
            time.sleep(0.002)

    def do_Stop(self) -> None:
        for axis in (*self._temcom.xyz, self._temcom.tilt):
            axis.halt()

    def do_Getf1OverRateTxNum(self) -> tuple[int]:
        return (self._temcom.rate,)

    def do_Setf1OverRateTxNum(self, value: int) -> None:
        self._temcom.rate = value


class _Lens3(_Object):
    def do_GetIL1(self) -> tuple[int]:
        return (self._temcom.il1,)

    def do_SetDiffFocus(self, value: int) -> None:
        self._temcom.il1 = value

    def do_GetCL3(self) -> tuple[int]:
        return (self._temcom.cl3,)

    def do_SetCL3(self, value: int) -> None:
        self._temcom.cl3 = value


class _Def3(_Object):
    def do_GetBeamBlank(self) -> tuple[int]:
        return (self._temcom.blanked,)

    def do_SetBeamBlank(self, value: int) -> None:
        self._temcom.blanked = value

    def __getattr__(self, name: str) -> Any:
        """GetCLA1, SetPLA and the like: one pair of coils as the other."""
        coil = name[3:]
        if coil in self._temcom.coils:
            return self._called(name, self._read if name.startswith("Get") else self._set, coil)
        return super().__getattr__(name)

    def _read(self, coil: str) -> tuple[int, int]:
        return self._temcom.coils[coil]

    def _set(self, coil: str, x: int, y: int) -> None:
        if not all(type(value) is int and 0 <= value <= 65_535 for value in (x, y)):
            raise ValueError("the interface takes 16 bits")
        self._temcom.coils[coil] = (x, y)


class _Eos3(_Object):
    def do_GetFunctionMode(self) -> tuple[int, str]:
        return (self._temcom.mode, MODES[self._temcom.mode])

    def do_SelectFunctionMode(self, value: int) -> None:
        self._temcom.mode = value

    def do_GetMagValue(self) -> tuple[int, str, str]:
        mode = self._temcom.mode
        value = STEPS[mode][self._temcom.steps[mode]]
        unit = self._temcom.unit if mode == MODES.index("DIFF") else "X"
        return (value, unit, f"{unit}{value}")

    def do_SetSelector(self, value: int) -> None:
        if not 0 <= value < len(STEPS[self._temcom.mode]):
            raise Refusal
        self._temcom.steps[self._temcom.mode] = value

    def do_GetSpotSize(self) -> tuple[int]:
        return (self._temcom.spot,)

    def do_SelectSpotSize(self, value: int) -> None:
        if not 0 <= value < self._temcom.spots:
            raise Refusal
        self._temcom.spot = value


class _Ht3(_Object):
    def do_GetHTValue(self) -> tuple[float]:
        self._temcom.not_ready -= 1
        if self._temcom.not_ready >= 0:
            raise COMError(-2147418111)  # RPC_E_CALL_REJECTED: the server is busy starting
        return (200_000.0,)
