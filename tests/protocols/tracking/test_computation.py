"""Locating as a computation: JSON in and out, pictures by their index in the spool, corrected for their response."""

import json

import numpy as np

from drivers.simulated.crystal import load_crystal
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.scenedrawing import draw_scene
from drivers.simulated.settings import GEOMETRY
from protocols.tracking.computation import locate_in
from protocols.tracking.locating import Located, Optics, Refusal
from protocols.tracking.place import Place
from protocols.tracking.question import Detector, Found, answered, told

AT_NM = (330.0, -60.0)
"""Not on the cross, which moves all to its right by four pixels."""


def spool() -> dict[int, np.ndarray]:
    """A flatfield, two snapshots of a Timepix with its cross, and a film without a crystal."""
    maker = PictureMaker(load_crystal(None, 0), GEOMETRY, PictureSettings(), scene=draw_scene("brick, 500 nm", 4))
    empty = PictureMaker(load_crystal(None, 0), GEOMETRY, PictureSettings(), scene=draw_scene("empty", 4))
    return {
        0: maker.flatfield,
        1: maker.snapshot(1.0, 0.01, AT_NM, tilt_deg=10.0, noise_seed=1),
        2: maker.snapshot(1.0, 0.01, AT_NM, tilt_deg=12.3, noise_seed=2),
        3: empty.snapshot(1.0, 0.01, AT_NM, tilt_deg=10.0, noise_seed=3),
    }


def test_a_snapshot_of_the_spool_is_located_by_json_alone():
    pictures, settings = spool(), PictureSettings()
    px_per_nm = 2 * settings.disc_radius_px / settings.aperture_nm
    detector = Detector(0, settings.wide_cross, settings.saturation)
    middle_px = GEOMETRY.beam_fast_px, GEOMETRY.beam_slow_px

    def asked(index: int, tilt_deg: float, earlier: list[Found]) -> tuple[Optics, Located | Refusal]:
        optics = Optics(middle_px, settings.disc_radius_px, (px_per_nm, 0.0, 0.0, -px_per_nm), tilt_deg)
        arguments = json.loads(json.dumps(told(index, optics, Place.even(320.0, -50.0, 40.0), earlier, detector)))
        found, seen = answered(json.loads(json.dumps(locate_in(arguments, pictures.__getitem__))))
        return seen, found

    optics, first = asked(1, 10.0, [])
    assert isinstance(first, Located), first
    assert np.hypot(*(first.place.array_nm - AT_NM)) < 15.0
    _, second = asked(2, 12.3, [Found(1, optics, first)])
    assert isinstance(second, Located)
    assert np.hypot(*(second.place.array_nm - AT_NM)) < 15.0
    _, nothing = asked(3, 10.0, [])
    assert isinstance(nothing, Refusal)
    assert nothing.reason
