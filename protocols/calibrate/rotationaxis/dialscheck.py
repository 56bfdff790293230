"""What DIALS says of the same axis, where it is installed and the run has its files: a second opinion, in a line of
text.

`dials.find_rotation_axis` looks for sharp projections of the strong spots (Kolb et al., 2009), which is good to some
tenths of a degree. It is nobody's fault when it cannot, so nothing fails by it.
"""

import json
import math
import shutil
import subprocess
import tempfile
from pathlib import Path

from engine.errors import shown
from protocols.calibrate.rotationaxis.axisfit import RotationAxis
from protocols.calibrate.runreflections import RunReflections

PROGRAMS = ("dials.import", "dials.find_spots", "dials.find_rotation_axis")
LIMIT_S = 300.0
LETTERS = 150


def dials_axis(folder: Path, seen: RunReflections, found: RotationAxis) -> list[str]:
    """One line, or none where DIALS or the run's SMV pictures are not there. Takes a minute."""
    pictures = folder / "SMV" / "data"
    if not pictures.is_dir() or any(shutil.which(program) is None for program in PROGRAMS):
        return []
    sign = -1.0 if seen.is_falling else 1.0
    axis = ",".join(f"{sign * part:.6f}" for part in found.fit.geometry.axis.tolist())
    with tempfile.TemporaryDirectory() as temporary:
        for words in (
            ["dials.import", f"template={pictures.resolve()}/#####.img", f"geometry.goniometer.axes={axis}"],
            ["dials.find_spots", "imported.expt", "nproc=1", "min_spot_size=6"],
            ["dials.find_rotation_axis", "imported.expt", "strong.refl"],
        ):
            try:
                done = subprocess.run(
                    words, cwd=temporary, capture_output=True, text=True, check=False, timeout=LIMIT_S
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                return [f"DIALS: no second opinion ({words[0]}: {shown(error, LETTERS)})"]
            if done.returncode:
                last = (done.stderr or done.stdout).strip().splitlines()[-1:]
                return [f"DIALS: no second opinion ({words[0]}: {shown(' '.join(last), LETTERS)})"]
        try:
            told = json.loads((Path(temporary) / "optimised.expt").read_text())
            x, y, _ = (sign * float(part) for part in told["goniometer"][0]["rotation_axis"])
        except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
            return [f"DIALS: no second opinion ({shown(error, LETTERS)})"]
    deg = math.degrees(math.atan2(y, x))
    apart = (deg - found.rotation_axis_deg + 180) % 360 - 180
    return [f"DIALS: dials.find_rotation_axis says {deg:.2f} deg, {apart:+.2f} deg from this"]
