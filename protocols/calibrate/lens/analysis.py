"""From the run folder of a lens calibration to its values; nothing is stored here.

What cannot be a calibration is refused with DataError; the run folder stays as it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.calibration.fewvalues import of_values
from drivers.calibration.lenssettling import SETTLES_FROM
from engine.errors import DataError
from engine.record.document import RunDocument
from engine.record.frametable import DATA_FILE, FramesFile
from protocols.calibrate.disc.discfit import Disc, fit_disc
from protocols.calibrate.lens.beamplace import Beam, Extents, beam_at_rest, places
from protocols.calibrate.lens.fits import (
    PLACE_PX,
    STILL_PX,
    UNKNOWN_PX,
    Approach,
    DiscLine,
    Hysteresis,
    alike_px,
    fit_approach,
    fit_hysteresis,
    fit_line,
)
from protocols.calibrate.lens.plan import AWAY, BACK, DARK, DISC, REST
from protocols.calibrate.measured import Analysed, Measured
from protocols.calibrate.truth import truth_of
from protocols.products.cross import pixel_area, spread

Array = NDArray[np.float64]

NS = 1e9
HOT_COUNTS = 3.0
"""In a dark picture: a pixel with more is not looked at."""
ALIKE_TIMES = 3.0
"""An error that is alike along the way back changes constant, way and end of the exponential together: the constant by
so many times what it is of the way (assumed; with it 96 % of 100 simulated lenses are within 2 sigma)."""
MOST_MISFIT = 0.02
"""Of the radius, rms: a disc whose radius does not follow a line by more is not one that only the lens makes."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """One turn. since_s: (n,) from when the lens was told to go back. places: (n, 2)."""

    since_s: Array
    places: Array
    approach: Approach


@dataclass(frozen=True, slots=True, eq=False)
class LensSeen:
    """All that was made of a run. place_px: than which no place is surer."""

    beam: Beam
    turns: Sequence[Watched]
    rests: Array
    rest_sigma: Array
    hysteresis: Hysteresis
    defocus: Array
    discs: Sequence[Disc]
    line: DiscLine
    largest: Array
    place_px: float


def analyse(folder: Path) -> Analysed:
    """The calibration of a run, with a picture in its `report` folder. Raises DataError for what makes none."""
    from protocols.calibrate.lens.drawing import draw_lens

    run = RunDocument.read(folder)
    if run.protocol != "lens":
        raise DataError(f"{folder}: is a run of {run.protocol}, not of lens; nothing was stored")
    with FramesFile(folder / DATA_FILE) as file:
        missing = [kind.name for kind in (DARK, REST, AWAY, BACK, DISC) if kind.name not in file.kinds]
        if missing or not len(file.table(DISC.name)):
            raise DataError(
                f"{folder}: has no pictures of {', '.join(missing) or 'the disc'} ({run.status}: {run.reason}); "
                "nothing was stored"
            )
        try:
            seen = _Reading(file, run).seen()
        except DataError as error:
            raise DataError(f"{folder}: {error}; nothing was stored.") from error
    defocus = float(run.plan["defocus"])
    values = _values(seen, defocus)
    path = folder / "report" / "lens.png"
    draw_lens(path, seen)
    truth = truth_of(folder)
    return Analysed(
        values, (f"{path}: settling, hysteresis, and the disc", *_told(seen, defocus)),
        truth={name: truth[name] for name in values if name in truth},
    )  # fmt: skip


class _Reading:
    """Reads what is needed of an open file."""

    def __init__(self, file: FramesFile, run: RunDocument) -> None:
        self._file = file
        self._wide_cross = bool(run.instrument["detector"].get("wide_cross"))
        self._shape = file.shape(REST.name)
        dark = [file.picture(DARK.name, row) for row in range(len(file.table(DARK.name)))]
        self._dark = np.mean(dark, axis=0)
        self._dark_s = self._dark / float(run.plan["exposure_s"])
        self._disc_s = float(run.plan["disc_exposure_s"])
        self._area = pixel_area(self._shape).astype(np.float64) if self._wide_cross else np.ones(self._shape)
        flatfield = file.extra("flatfield")
        self._place_px = UNKNOWN_PX if flatfield is None else PLACE_PX
        self._collects = self._area
        if flatfield is not None:
            self._collects = np.asarray(flatfield, np.float64)
            self._collects = self._collects / np.median((self._collects / self._area)[self._collects > 0])
        self._bad = self._even((self._dark > HOT_COUNTS).astype(np.float64)) > 0
        self._bad |= self._even((self._collects <= 0).astype(np.float64)) > 0
        self._extents = Extents.of((self._bad.shape[0], self._bad.shape[1]), self._wide_cross)

    def _even(self, raw: Array) -> Array:
        return np.asarray(spread(raw), np.float64) if self._wide_cross else raw

    def _picture(self, kind: str, row: int, dark: Array) -> Array:
        counts = np.asarray(self._file.picture(kind, row), np.float64) - dark
        return self._even(np.where(self._collects > 0, counts / np.where(self._collects > 0, self._collects, 1), 0.0))

    def seen(self) -> LensSeen:
        """Everything. Raises DataError."""
        table = self._file.table(REST.name)
        rest_rows = np.flatnonzero(table["cycle"] == table["cycle"].max())
        rest = np.mean([self._picture(REST.name, int(row), self._dark) for row in rest_rows], axis=0)
        beam = beam_at_rest(rest, self._bad, self._extents)
        turns = self._turns(beam)
        rests, sigma = self._rests(beam)
        hysteresis = fit_hysteresis(rests, sigma, self._place_px)
        defocus, discs = self._discs()
        radii = np.array([disc.radius_px for disc in discs])
        line = fit_line(defocus, radii, np.array([disc.sigma_px for disc in discs]))
        if line.misfit_px > MOST_MISFIT * radii.max():
            raise DataError(
                f"the radius of the disc does not follow the defocus: off a line by {line.misfit_px:.1f} px rms, at "
                f"up to {radii.max():.0f} px. Does another aperture or the edge of the camera cut the disc?"
            )
        row = int(np.argmax(np.abs(self._file.table(DISC.name)["defocus"])))
        largest = self._picture(DISC.name, row, self._dark_s * self._disc_s)
        return LensSeen(beam, turns, rests, sigma, hysteresis, defocus, discs, line, largest, self._place_px)

    def _turns(self, beam: Beam) -> list[Watched]:
        table, away = self._file.table(BACK.name), self._file.table(AWAY.name)
        found = []
        for turn in np.unique(table["turn"]):
            rows = np.flatnonzero(table["turn"] == turn)
            middle_ns = (table["start_ns"][rows] + table["end_ns"][rows]) / 2
            since_s = np.asarray((middle_ns - table["told_ns"][rows]) / NS, np.float64)
            at = places(
                [self._picture(BACK.name, int(row), self._dark) for row in rows], beam, self._bad, self._extents
            )
            gone = away["end_ns"][away["turn"] == turn]
            away_s = 1.0 if not len(gone) else max(1.0, float(table["told_ns"][rows[0]] - gone[0]) / NS + 1.0)
            found.append(Watched(since_s, at, fit_approach(at, since_s, away_s)))
        return found

    def _rests(self, beam: Beam) -> tuple[Array, Array]:
        table = self._file.table(REST.name)
        means, sigmas = [], []
        for cycle in np.unique(table["cycle"]):
            rows = np.flatnonzero(table["cycle"] == cycle)
            at = places(
                [self._picture(REST.name, int(row), self._dark) for row in rows], beam, self._bad, self._extents
            )
            at = at[np.isfinite(at).all(axis=1)]
            if not len(at):
                raise DataError(f"the beam is not seen after {cycle:.0f} relax cycles")
            means.append(np.median(at, axis=0))
            sigmas.append(float(np.sqrt(np.mean(np.var(at, axis=0)) / len(at))))
        return np.array(means), np.full(len(means), float(np.mean(sigmas)))

    def _discs(self) -> tuple[Array, list[Disc]]:
        table = self._file.table(DISC.name)
        dark = self._dark_s * self._disc_s
        units, discs = np.unique(table["defocus"]), []
        for defocus in units:
            rows = np.flatnonzero(table["defocus"] == defocus)
            discs.append(fit_disc(np.mean([self._picture(DISC.name, int(row), dark) for row in rows], axis=0)))
        return np.asarray(units, np.float64), discs


def _values(seen: LensSeen, defocus: float) -> dict[str, Measured]:
    constant, sigma = of_values([turn.approach.time_s for turn in seen.turns])
    # What two places are off in all turns alike does not show in the scatter of the turns.
    away_px = float(np.median([np.hypot(*turn.approach.away_px) for turn in seen.turns]))
    approaches, times_s, at = zip(*((turn.approach, turn.since_s, turn.places) for turn in seen.turns), strict=True)
    alike = math.sqrt(2) * seen.place_px / away_px
    seen_alike = math.sqrt(2) * ALIKE_TIMES * alike_px(approaches, times_s, at) / away_px
    share = SETTLES_FROM / abs(defocus)
    settled, settled_sigma = of_values([turn.approach.still_s(share) for turn in seen.turns])
    # The time until it stands still goes with the constant and, by itself, with the way that it has left.
    both = alike * constant * math.hypot(1.0, math.log(max(share * away_px / STILL_PX, 1.0)))
    values = {
        "disc_radius_px": Measured(*seen.line.slope, "px per unit of defocus"),
        "disc_zero_defocus": Measured(*seen.line.zero, "units of defocus"),
        "lens_time_constant_s": Measured(constant, math.hypot(sigma, max(alike, seen_alike) * constant), "s"),
        "lens_settling_s": Measured(settled, math.hypot(settled_sigma, both), "s"),
        "lens_hysteresis_px": Measured(*seen.hysteresis.before_px, "px"),
    }
    if seen.hysteresis.moved:
        values["lens_hysteresis_left"] = Measured(*seen.hysteresis.left, "1")
    return values


def _told(seen: LensSeen, defocus: float) -> list[str]:
    """The calibration in words."""
    now_s = float(np.median([turn.approach.still_s() for turn in seen.turns]))
    cycles = seen.hysteresis.cycles
    enough = "no number of relax cycles suffices" if cycles is None else f"{cycles} relax cycles suffice"
    lies = ", ".join(f"{off:.2f}" for off in np.hypot(*(seen.rests - seen.hysteresis.rest_px).T))
    return [
        f"after a defocus of {defocus:g} the beam stands within {STILL_PX:g} px of its place {now_s * 1000:.0f} ms "
        "after the lens was told to go back",
        f"after 0, 1, 2, ... relax cycles it lies {lies} px off: {enough} (to within {STILL_PX:g} px)",
        f"the disc: {abs(seen.line.slope[0]) * abs(defocus):.1f} px in radius at {defocus:g}; the radii are off the "
        f"line by {seen.line.misfit_px:.2f} px rms, and the scale of what is in it goes with them",
    ]
