import json

import numpy as np
import pytest

from engine.run.compute import LIMIT_BYTES
from protocols.serialed.finding import computation
from protocols.serialed.finding.computation import FIND, answered, find_in, told
from protocols.serialed.finding.crystals import Found, FoundCrystal, find_crystals
from protocols.serialed.finding.settings import FinderSettings
from tests.protocols.serialed.finding.drawnfields import NM_PER_PX, Drawn, DrawnField

FEW = (Drawn(100.3, 80.6, 30, 18, 25, 0.6), Drawn(180.0, 170.0, 24, 24, 0, 0.6))
IMAGE = DrawnField(256, crystals=FEW).counts()


def test_what_comes_back_is_what_was_found():
    arguments = json.loads(json.dumps(told(3, NM_PER_PX, FinderSettings(smallest_nm=120.0))))
    result = json.loads(json.dumps(find_in(arguments, lambda index: {3: IMAGE}[index])))
    found, told_back = find_crystals(IMAGE, NM_PER_PX, FinderSettings(smallest_nm=120.0)), answered(result)
    assert len(told_back.crystals) == len(found.crystals) == 2
    for one, other in zip(found.crystals, told_back.crystals, strict=True):
        assert other.fast_px == pytest.approx(one.fast_px, abs=0.006)
        assert other.is_isolated is one.is_isolated
        assert np.allclose(other.outline_px, one.outline_px, atol=0.06)
        assert (other.length_px, other.turned_deg) == pytest.approx((one.length_px, one.turned_deg), abs=0.006)
    assert told_back.film == pytest.approx(found.film, abs=1e-4)


def test_the_response_of_the_camera_is_divided_out():
    uneven = np.linspace(0.5, 1.5, IMAGE.shape[1], dtype=np.float32)[None, :].repeat(IMAGE.shape[0], axis=0)
    arguments = told(3, NM_PER_PX, FinderSettings(smallest_nm=120.0), flatfield=4)
    found = answered(find_in(arguments, lambda index: {3: np.rint(IMAGE * uneven), 4: uneven}[index]))
    plain = answered(find_in(told(3, NM_PER_PX, FinderSettings(smallest_nm=120.0)), lambda _: IMAGE))
    for one, other in zip(found.crystals, plain.crystals, strict=True):
        assert (one.fast_px, one.slow_px) == pytest.approx((other.fast_px, other.slow_px), abs=0.2)


def test_a_field_of_thousands_stays_within_what_a_trace_takes(monkeypatch: pytest.MonkeyPatch):
    outline = tuple((4000.12 + 30 * k, 4000.98 - 30 * k) for k in range(16))
    one = FoundCrystal(
        4012.345, 4012.345, 1001.234, 1001.234, -89.99, 123456.78, 1.2345, 123456.78, 12345.67, False, outline
    )
    monkeypatch.setattr(computation, "find_crystals", lambda *_: Found((one,) * 1000, 0.9, "a note"))
    result = find_in(told(0, 1.0, FinderSettings()), lambda _: IMAGE)
    assert len(json.dumps(result)) < LIMIT_BYTES
    back = answered(result)
    assert len(back.crystals) == 300
    assert back.note == "a note; 700 smaller ones are left out"


def test_the_computation_is_what_an_experiment_can_declare():
    module, _, name = FIND.function.partition(":")
    assert module == computation.__name__
    assert getattr(computation, name) is find_in
