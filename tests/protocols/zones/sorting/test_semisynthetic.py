"""Peaks of real frames are drawn as the network knows pictures, keep their labels, and make half of each batch."""

from importlib.util import find_spec

import numpy as np
import pytest

from engine.errors import Refused
from protocols.zones.patterns.randomcells import random_cell
from protocols.zones.patterns.simulation import simulate
from protocols.zones.patterns.snapshots import Snapshots
from protocols.zones.sorting.labels import INTERSECTIONS, LABELS, ZONE
from protocols.zones.sorting.network import Model
from protocols.zones.sorting.semisynthetic import Redrawn, redrawn
from protocols.zones.sorting.training import train


@pytest.fixture(scope="module")
def source() -> tuple[Snapshots, dict[str, str]]:
    """Peaks of 600 frames, and what they are."""
    rng = np.random.default_rng(2)
    patterns = simulate(random_cell(rng, volume_A3=500.0), 600, rng)
    names = [f"frame#{i}" for i in range(600)]
    labels = {name: LABELS[label] for name, label in zip(names, patterns.label, strict=True)}
    return Snapshots(names, None, spots=[patterns.spots(i) for i in range(600)]), labels


@pytest.fixture(scope="module")
def real(source: tuple[Snapshots, dict[str, str]]) -> Redrawn:
    return redrawn([source[0]], source[1])


def test_frames_keep_their_labels_and_every_fifth_is_held_out(
    real: Redrawn, source: tuple[Snapshots, dict[str, str]]
) -> None:
    count = list(source[1].values()).count(LABELS[ZONE])
    assert len(real.zones) + len(real.held_out_zones) == pytest.approx(count, abs=2)
    assert len(real.held_out_zones) == (len(real.zones) + len(real.held_out_zones)) // 5
    assert (real.zones.label == ZONE).all()
    assert (real.others.label == INTERSECTIONS).all()


def test_half_of_each_class_of_a_batch_is_of_real_frames(real: Redrawn) -> None:
    x, target = np.zeros((64, 127, 127, 1), dtype=np.float32), np.repeat([1.0, 0.0], 32).astype(np.float32)
    mixed, same = real.mixed((x, target), np.random.default_rng(1))
    drawn = mixed.sum(axis=(1, 2, 3)) > 0
    assert np.array_equal(same, target)
    assert drawn[:32].sum() == drawn[32:].sum() == 16
    assert not x.any()


def test_too_few_frames_and_names_that_do_not_fit_are_refused(source: tuple[Snapshots, dict[str, str]]) -> None:
    for labels in ({}, {f"other#{i}": "2DZone" for i in range(600)}, dict(list(source[1].items())[:5])):
        with pytest.raises(Refused, match=r"named as `zones classify --out` names them. Nothing was trained"):
            redrawn([source[0]], labels)


@pytest.mark.long
@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_training_on_them_tells_how_those_held_out_were_called(real: Redrawn) -> None:
    model, record = train(1, steps=2, cells=2, real=real)
    assert isinstance(model, Model)
    told = record["frames"]
    assert told["trained"] == {"zones": len(real.zones), "others": len(real.others)}
    assert told["held_out_zones_called_zones"]["of"] == len(real.held_out_zones)
    assert told["held_out_others_called_zones"]["of"] == len(real.held_out_others)
