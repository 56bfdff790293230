"""From the run folder of a snapshot calibration to its values; nothing is stored here.

What cannot be a calibration is refused with DataError; the run folder stays as it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from drivers.calibration.calibratedvalue import KINDS
from engine.errors import DataError
from protocols.calibrate.disc.discfit import Disc, fit_disc
from protocols.calibrate.disc.frames import DiscFrames, Seen
from protocols.calibrate.disc.movefit import MoveFit, fit_moves
from protocols.calibrate.disc.shadow import Shadows, shadows, still_of
from protocols.calibrate.disc.window import Window
from protocols.calibrate.measured import Analysed, Measured, matrix_of
from protocols.calibrate.truth import truth_of

Array = NDArray[np.float64]

LOST_SHARE = 0.2
"""Of the places; a crystal that is not seen whole in more of them gives no calibration."""
MOVED_SIGMAS = 10.0
APART_CHI2 = 23.5
"""Of four numbers; chance goes beyond it once in ten thousand calibrations."""


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """What was made of the visits at one defocus. All places and lengths are in pixels of the camera; the pictures of
    `shadows` are those of the window.
    """

    defocus: float
    window: Window
    disc: Disc
    places_px: Array
    shadows: Shadows
    fit: MoveFit
    moved_nm: Array


def analyse(folder: Path) -> Analysed:
    """The calibration of a run, with a picture in its `report` folder. Raises DataError for what makes none."""
    from protocols.calibrate.disc.drawing import draw_moves

    with DiscFrames(folder, "snapshot") as frames:
        visits = list(frames.visits())
        wanted = float(frames.run.plan["defocus"])
    try:
        sides = [
            moved_of([seen for seen in visits if seen.defocus == d]) for d in dict.fromkeys(s.defocus for s in visits)
        ]
        there = next(side for side in sides if side.defocus == wanted)
        opposite = next((side for side in sides if side.defocus == -wanted), None)
        said = _of_opposite(there, opposite)
    except (DataError, StopIteration) as error:
        raise DataError(f"{folder}: {error or 'its snapshots are of another defocus'}; nothing was stored.") from error
    path = folder / "report" / "snapshot.png"
    draw_moves(path, sides)
    values = {"snapshot": _per_defocus(there), "aperture_nm": aperture_of(there)}
    truth = truth_of(folder)
    return Analysed(
        values,
        (f"{path}: the disc with what moved in it", *_told(there), *said),
        truth={name: truth[name] for name in values if name in truth},
    )


def moved_of(visits: Sequence[Seen]) -> Moved:
    """The crystal's way in the disc of one defocus. Raises DataError where it tells nothing."""
    if any(seen.saturated for seen in visits):
        raise DataError("the camera is saturated in snapshots, or nearly. Make exposure_s shorter, or the beam weaker")
    pictures, window = [seen.picture for seen in visits], visits[0].window
    still = still_of(pictures)
    found = shadows(pictures, still, fit_disc(still))
    disc = fit_disc(found.still)  # what most pictures have alike is too bright, most of all at the edge
    if (lost := sum(bool(why) for why in found.why)) > LOST_SHARE * len(visits):
        whys = ", ".join(sorted({why for why in found.why if why}))
        raise DataError(
            f"in {lost} of {len(visits)} places the crystal {whys}. Bring it to the middle of the disc, make radius_nm "
            "smaller, or take a smaller crystal"
        )
    middle_nm = np.mean([seen.place_nm for seen in visits], axis=0)
    moved_nm = np.array([seen.place_nm for seen in visits]) - middle_nm
    moved_nm[:, 1] *= math.cos(math.radians(visits[0].tilt_deg))  # x is along the tilt axis
    places_px = window.on_camera(found.places_px)
    fit = fit_moves(places_px, moved_nm, np.array([seen.time_s for seen in visits]))
    fit = _with_lost(fit, moved_nm, sum("leaves" in why for why in found.why) / len(visits))
    size, sigma = fit.determinant
    if abs(size) < MOVED_SIGMAS * sigma:
        raise DataError("what is dark in the disc did not follow the stage along both of its axes")
    return Moved(visits[0].defocus, window, window.disc_on_camera(disc), places_px, found, fit, moved_nm)


def _with_lost(fit: MoveFit, moved_nm: Array, lost: float) -> MoveFit:
    """Less sure where a share of the visits is lost: those landed too far out, and the others, by how far off the stage
    lands, nearer to the middle than they were to. By so much all of the matrix may be too small.
    """
    if lost == 0.0:
        return fit
    border = float(ndtri(1.0 - lost))
    nearer_nm = fit.repeat_nm * math.exp(-0.5 * border**2) / math.sqrt(2 * math.pi) / (1.0 - lost)
    share = nearer_nm / math.sqrt(float(np.mean(np.sum(moved_nm**2, axis=1))))
    numbers = fit.matrix.ravel()
    return replace(fit, covariance=fit.covariance + share**2 * np.outer(numbers, numbers))


def _per_defocus(moved: Moved) -> Measured:
    return matrix_of(moved.fit.matrix / moved.defocus, moved.fit.covariance / moved.defocus**2, KINDS["snapshot"].unit)


def aperture_of(moved: Moved) -> Measured:
    """The diameter of the aperture on the specimen, of a disc of its area."""
    size, sigma = moved.fit.determinant
    diameter_nm = 2 * moved.disc.radius_px / math.sqrt(abs(size))
    share = math.hypot(moved.disc.sigma_px / moved.disc.radius_px, sigma / abs(size) / 2)
    return Measured(diameter_nm, diameter_nm * share, "nm")


def _of_opposite(there: Moved, opposite: Moved | None) -> list[str]:
    """What the other side of focus says. Raises DataError where nothing is inverted there."""
    if opposite is None:
        return ["the other side of focus was not looked at: that all is inverted there is taken for granted"]
    if np.sum(there.fit.matrix * opposite.fit.matrix) > 0:
        raise DataError(
            f"at a defocus of {opposite.defocus:g} the picture moves the same way as at {there.defocus:g}, so one of "
            "them is not beyond the crossover, or the lens did not go there. Look at the value of the lens in focus"
        )
    apart = (there.fit.matrix / there.defocus - opposite.fit.matrix / opposite.defocus).ravel()
    covariance = there.fit.covariance / there.defocus**2 + opposite.fit.covariance / opposite.defocus**2
    chi2 = float(apart @ np.linalg.solve(covariance, apart))
    larger = math.sqrt(abs(opposite.fit.determinant[0] / there.fit.determinant[0]))
    if chi2 > APART_CHI2:
        return [
            f"at {opposite.defocus:g} all is inverted, but {larger:.3f} times as large: the lens in focus is not "
            "where the disc is smallest, or the lens is not linear. The values hold for the side that was asked for"
        ]
    return [f"at {opposite.defocus:g} all is inverted and {larger:.3f} times as large, as it is to be"]


def _told(moved: Moved) -> list[str]:
    """The calibration in words."""
    (a, b), (c, d) = moved.fit.matrix
    scale = math.sqrt(abs(moved.fit.determinant[0]))
    x_deg = math.degrees(math.atan2(-c, a))
    hand = "not mirrored" if moved.fit.determinant[0] < 0 else "mirrored"  # x to the right, y up: rows run down
    skew = abs(math.degrees(math.asin((a * b + c * d) / (math.hypot(a, c) * math.hypot(b, d)))))
    lost = sum(bool(why) for why in moved.shadows.why)
    return [
        f"defocus {moved.defocus:g}: {1 / scale:.4g} nm per px, x of the stage points {x_deg:.1f} deg from right "
        f"towards up, y of the stage is at right angles to {skew:.1f} deg; {hand}",
        f"a place is come back to within {moved.fit.repeat_nm:.0f} nm (each axis); {lost} of {len(moved.moved_nm)} "
        f"places left out; disc of {moved.disc.radius_px:.2f} +- {moved.disc.sigma_px:.3f} px",
    ]
