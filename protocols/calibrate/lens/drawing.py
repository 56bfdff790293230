"""A picture of a lens calibration that one can judge by eye."""

from pathlib import Path

import numpy as np

from protocols.calibrate.disc.drawing import BLUE, RED, draw_disc, figure_of, saved
from protocols.calibrate.lens.analysis import LensSeen
from protocols.calibrate.lens.fits import STILL_PX


def draw_lens(path: Path, seen: LensSeen) -> None:
    """How the beam settles, where it lies after relax cycles, the disc against defocus, and the largest disc."""
    figure = figure_of(12.0, 9.0)
    (first, second), (third, fourth) = figure.subplots(2, 2)
    for turn in seen.turns:
        off = np.hypot(*(turn.places - turn.approach.rest_px).T)
        first.semilogy(1000 * turn.since_s, np.maximum(off, 1e-3), ".", color=RED, markersize=2)
        first.semilogy(1000 * turn.since_s, turn.approach.off_px(turn.since_s), "-", color=BLUE, linewidth=0.6)
    first.axhline(STILL_PX, color="gray", linewidth=0.8)
    first.set_ylim(1e-3, None)
    first.set_xlabel("after the lens was told to go back (ms)")
    first.set_ylabel("beam off its place (px)")
    first.set_title("settling: places (red), exponentials (blue)")
    off = np.hypot(*(seen.rests - seen.hysteresis.rest_px).T)
    cycles = np.arange(len(off))
    second.errorbar(cycles, off, yerr=seen.rest_sigma, fmt="o", color=RED)
    fine = np.linspace(0, cycles[-1], 100)
    second.plot(fine, seen.hysteresis.before_px[0] * seen.hysteresis.left[0] ** fine, "-", color=BLUE, linewidth=0.8)
    second.axhline(STILL_PX, color="gray", linewidth=0.8)
    second.set_xlabel("relax cycles")
    second.set_ylabel("beam off where it lies at last (px)")
    second.set_title("hysteresis")
    third.plot(seen.defocus, [disc.radius_px for disc in seen.discs], "o", color=RED)
    fine = np.linspace(seen.defocus.min(), seen.defocus.max(), 200)
    third.plot(fine, np.abs(seen.line.slope[0] * (fine - seen.line.zero[0])), "-", color=BLUE, linewidth=0.8)
    third.set_xlabel("defocus (units of the lens)")
    third.set_ylabel("radius of the disc (px)")
    third.set_title(f"disc: off the line by {seen.line.misfit_px:.3f} px rms")
    fourth.imshow(seen.largest, cmap="gray", vmax=1.3 * seen.discs[-1].light)
    draw_disc(fourth, seen.discs[int(np.argmax(np.abs(seen.defocus)))])
    fourth.set_title("the largest disc, and its fitted edge")
    saved(figure, path)
