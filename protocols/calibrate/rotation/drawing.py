"""A picture of a rotation calibration that one can judge by eye."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drivers.calibration.rotationfigures import RotationFigures, Turn
from protocols.calibrate.disc.drawing import BLUE, RED, figure_of, saved
from protocols.calibrate.rotation.delay import Delay


def draw_rotation(path: Path, turns: Sequence[Turn], figures: RotationFigures, delay: Delay | None) -> None:
    """Speeds over those asked for, lateness against slowness, and how like pictures of the two ways are."""
    figure = figure_of(13.5, 4.4)
    first, second, third = figure.subplots(1, 3)
    number = np.arange(len(turns))
    shares = [turn.speed_deg_s / turn.asked_deg_s for turn in turns]
    first.errorbar(number, shares, yerr=[t.sigma_deg_s / t.asked_deg_s for t in turns], fmt=".", color=RED)
    first.axhline(figures.share[0], color=BLUE, linewidth=0.8)
    first.set_xlabel("rotation")
    first.set_ylabel("true over asked speed")
    first.set_title(f"speed: {figures.share[0]:.5f} +- {figures.share[1]:.1g}")
    slow = np.array([1 / turn.speed_deg_s for turn in turns])
    second.plot(slow, [1000 * turn.late_s for turn in turns], "o", color=RED, markersize=4)
    backlash = 0.0 if figures.backlash_deg is None else figures.backlash_deg[0]
    fine = np.linspace(0, slow.max(), 2)
    second.plot(fine, 1000 * (figures.run_in_s[0] + backlash * fine), "-", color=BLUE, linewidth=0.8)
    second.set_xlabel("time for a degree (s)")
    second.set_ylabel("later than the span takes (ms)")
    second.set_title(f"run-in {1000 * figures.run_in_s[0]:.0f} ms, backlash {backlash:.3f} deg")
    if delay is None:
        third.set_axis_off()
    else:
        third.plot(delay.apart_deg, delay.like, ",", color="gray")
        bins = np.linspace(delay.apart_deg.min(), delay.apart_deg.max(), 60)
        which = np.digitize(delay.apart_deg, bins)
        at = [k for k in range(1, len(bins)) if np.any(which == k)]
        third.plot(
            [delay.apart_deg[which == k].mean() for k in at],
            [delay.like[which == k].mean() for k in at], ".-", color=RED, linewidth=0.8,
        )  # fmt: skip
        third.axvline(delay.peak_deg, color=BLUE, linewidth=0.8)
        third.set_xlabel("readings there less readings back (deg)")
        third.set_ylabel("how like the pictures are")
        third.set_title(f"most like at {delay.peak_deg:.3f} deg, at {delay.speeds_deg_s[0]:.2f} deg/s")
    saved(figure, path)
