"""From the run folder of a calibration by moves to its result: the matrix, its lag, the size of a pixel, the hand.

Nothing is stored here. What tells no matrix is refused with DataError; the run folder stays as it is.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.calibration.calibratedvalue import Matrix
from engine.errors import DataError
from engine.record.document import RunDocument
from engine.record.frametable import DATA_FILE, FramesFile
from protocols.calibrate.measured import Analysed, Measured, matrix_of
from protocols.calibrate.moves.fit import Fit, fitted
from protocols.calibrate.moves.followed import Visited, followed, sure_to
from protocols.calibrate.moves.mover import MOVERS, Mover, SeenBy
from protocols.calibrate.moves.picture import Camera
from protocols.calibrate.moves.places import Places
from protocols.calibrate.moves.plan import MOVED
from protocols.calibrate.truth import truth_of

Array = NDArray[np.float64]

FEWEST_VISITS = 12
DISC_PX = 0.006
"""By so much the place of a disc may be off by where it is: what is known of the film under it, it has told itself. Of
two sides of a place, which are near each other, half of it (by 13 simulated instruments)."""
MOST_OFF = 0.03
"""A number of the matrix that is less sure than this, of its larger side, is of no use."""
STAGE_SCALE = 0.005
"""How far a nm of each axis of a stage may be off: the size of a pixel is known no better."""
SCATTER_SHARE = 0.03
"""By so much errors that are alike at places near each other may make the scatter larger (by 41 simulated instruments).
"""
SEEN_SHARE = 0.5
"""Of what displacements tell of how well a place is seen: by so much that may be wrong, and what is left for the stage
with it."""
SURE = 1e-6
"""Of the hand, which is told by a sign."""


def analyse(folder: Path) -> Analysed:
    """The matrix of a run, with a picture in its `report` folder. Raises DataError for what makes none."""
    from protocols.calibrate.moves.drawing import draw

    run = RunDocument.read(folder)
    movers = {mover.name: mover for mover in MOVERS}
    if run.protocol not in movers:
        raise DataError(f"{folder}: is a run of {run.protocol}, not one of {', '.join(movers)}; nothing was stored")
    mover = movers[run.protocol]
    with FramesFile(folder / DATA_FILE) as file:
        count = len(file.table(MOVED.name)) if MOVED.name in file.kinds else 0
        if count < FEWEST_VISITS:
            raise DataError(
                f"{folder}: has {count} frames of moves, too few for a matrix ({run.status}: {run.reason}); nothing "
                "was stored"
            )
        table = file.table(MOVED.name)
        camera = _camera(run, file.extra("flatfield"))
        visited = np.stack([table["x"], table["y"]], axis=1).astype(np.float64)
        side = table["side"].astype(np.float64)
        expected = np.stack([table["expected_fast_px"], table["expected_slow_px"]], axis=1).astype(np.float64)
        seen, first = followed(
            mover, camera, Visited(visited, side, expected), lambda row: file.picture(MOVED.name, row)
        )
    try:
        fit = fitted(visited, side, seen.at)
        if mover.seen_by is SeenBy.DISC:
            fit = _less_sure(fit, visited)
        _check(fit, mover, visited)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error
    setting = float(table["setting"][0]) or None
    values = _values(mover, fit, seen, setting)
    picture = folder / "report" / f"{mover.name}.png"
    draw(picture, mover, fit, visited, side, seen, first)
    return Analysed(
        values, (f"{picture}: places, what is left, a frame", *_lines(mover, fit, seen)), None, _truth(folder, values)
    )


def _camera(run: RunDocument, response: NDArray[np.generic] | None) -> Camera:
    told = run.instrument["detector"]
    saturation = told.get("saturation")
    return Camera(
        bool(told.get("wide_cross")),
        None if saturation is None else int(saturation),
        None if response is None else np.asarray(response, np.float32),
    )


def _less_sure(fit: Fit, visited: Array) -> Fit:
    """With what discs are seen wrongly in common, which does not show in the scatter about the fit."""
    along = DISC_PX / visited[fit.used].std(axis=0)
    back = np.linalg.inv(fit.matrix)
    return replace(
        fit,
        covariance=np.asarray(fit.covariance + np.diag(np.tile(along, 2) ** 2)),
        lag_covariance=fit.lag_covariance + (DISC_PX / 2) ** 2 * back @ back.T,
    )


def _check(fit: Fit, mover: Mover, visited: Array) -> None:
    """Refuse a fit that says nothing."""
    size = float(np.sqrt(np.abs(np.linalg.det(fit.matrix))))
    reach_px = size * float(np.ptp(visited, axis=0).min())
    if size <= 0 or reach_px < 3.0 or fit.rms_px > 0.2 * reach_px or sure_to(fit) > MOST_OFF:
        raise DataError(
            f"the {mover.seen} does not follow the {mover.words}: over moves of {reach_px:.0f} px frames scatter by "
            f"{fit.rms_px:.1f} px; nothing was stored. Look at report/ and at the frames"
        )


def _values(mover: Mover, fit: Fit, seen: Places, setting: float | None) -> dict[str, Measured]:
    """What was measured, by its names."""
    matrix = matrix_of(fit.matrix, fit.covariance, mover.unit)
    if mover.seen_by is SeenBy.BEAM:
        values = {mover.value: replace(matrix, camera_length_mm=setting)}
    else:
        values = {mover.value: replace(matrix, magnification=setting)}
    if mover.keeps_lag:
        lag, lag_sigma = fit.mean_lag
        values[mover.lag] = Measured(lag, lag_sigma, mover.lag_unit)
    if mover.deflector is None:
        values |= _of_the_stage(fit, seen, setting)
    return values


def _of_the_stage(fit: Fit, seen: Places, magnification: float | None) -> dict[str, Measured]:
    determinant = float(np.linalg.det(fit.matrix))
    (a, b), (c, d) = fit.matrix
    slope = np.array([d, -c, -b, a]) / determinant  # of the logarithm of the determinant
    share = math.hypot(0.5 * math.sqrt(slope @ fit.covariance @ slope), STAGE_SCALE / math.sqrt(2.0))
    pixel_nm = 1.0 / math.sqrt(abs(determinant))
    registered_nm = seen.sigma_px * pixel_nm
    landing_nm = math.sqrt(max(fit.scatter_units**2 - registered_nm**2, 0.0))
    of_seeing_nm = SEEN_SHARE * registered_nm**2 / max(landing_nm, registered_nm, 1e-9)
    counted = fit.scatter_units * math.hypot(1.0 / math.sqrt(4.0 * fit.freedom), SCATTER_SHARE)
    landing_sigma_nm = math.hypot(counted, of_seeing_nm)
    return {
        "pixel_size_nm": Measured(pixel_nm, share * pixel_nm, "nm", magnification=magnification),
        "stage_repeatability_nm": Measured(landing_nm, landing_sigma_nm, "nm"),
        "camera_hand": Measured(1.0 if determinant < 0 else -1.0, SURE, "1"),
    }


def _lines(mover: Mover, fit: Fit, seen: Places) -> Iterator[str]:
    """What was made and seen, for a person."""
    unit = "nm" if mover.deflector is None else "units"
    left_out = int(np.sum(~fit.used))
    yield f"{len(fit.used)} visits, {left_out} left out; the {mover.seen} is off by {fit.rms_px:.2f} px rms"
    if mover.seen_by is SeenBy.IMAGE:
        yield (f"{seen.kept} of {seen.pairs} pairs of frames registered; a place is seen to {seen.sigma_px:.3f} px")
    yield (
        f"hysteresis {fit.lag[0]:.3g} +- {fit.lag_sigma[0]:.1g} {unit} along x, {fit.lag[1]:.3g} +- "
        f"{fit.lag_sigma[1]:.1g} along y; repeatability from one side {fit.scatter_units:.2g} {unit} "
        f"({fit.rms_px:.2f} px), what is seen of it included"
    )
    yield f"drift over the run {fit.drift_px[0]:.2f}, {fit.drift_px[1]:.2f} px along fast, slow"
    if mover.deflector is None:
        mirrored = np.linalg.det(fit.matrix) > 0
        yield (
            "the camera's pictures are mirrored: they show the specimen as from below, and hands of crystals turn over"
            if mirrored
            else "the camera's pictures show the specimen as seen from the source, not mirrored"
        )


def _truth(folder: Path, values: dict[str, Measured]) -> dict[str, float | Matrix]:
    """Of what was measured."""
    return {name: value for name, value in truth_of(folder).items() if name in values}
