"""The two networks: their sizes, what they are shown, and that the same seed trains the same numbers."""

from importlib.util import find_spec

import numpy as np
import pytest

from engine.errors import Refused
from protocols.screening import views
from protocols.screening.labels import Kind
from protocols.screening.model import Model
from protocols.screening.networks import (
    D_MIN,
    GOOD,
    PAPER_PARAMETERS,
    SEVERAL,
    Which,
    build_paper,
    build_small,
    tensorflow,
)
from protocols.screening.training import QUICK, learned, targets
from tests.protocols.screening.madescores import made_examples, random_model

if find_spec("tensorflow") is None:
    pytest.skip("TensorFlow is not installed", allow_module_level=True)


def test_the_papers_network_has_its_255041_parameters_and_shapes() -> None:
    model = build_paper()
    assert model.count_params() == PAPER_PARAMETERS == 255_041
    sizes = [layer.output.shape[1] for layer in model.layers if layer.name.startswith(("conv", "max"))]
    assert sizes == [148, 74, 72, 36, 34, 17, 15, 7, 5]
    assert [layer.output.shape[1] for layer in model.layers if layer.name.startswith("flatten")] == [1600]


def test_the_small_network_gives_three_numbers() -> None:
    model = build_small()
    assert model.output_shape == (None, 3)
    assert model.count_params() < 150_000


def test_no_spot_is_lost_on_the_way_into_the_network() -> None:
    tf = tensorflow()
    empty = np.full((1, 150, 150), 0.2, np.float32) + np.random.default_rng(1).normal(0, 0.01, (1, 150, 150))
    one = empty.copy()
    one[0, 37, 90] += 0.15
    seen = [views.channels(tf, *views.maps(tf, tf.constant(each, tf.float32)))[0].numpy() for each in (empty, one)]
    place = np.abs(seen[1] - seen[0]).max(axis=3)[0]
    assert np.unravel_index(place.argmax(), place.shape) == (18, 45)
    assert place.max() > 1.5


def test_the_differences_of_a_net_of_spots_are_that_net() -> None:
    tf = tensorflow()
    picture = np.zeros((1, 150, 150), np.float32)
    picture[0, 5::12, 3::12] = 1.0
    between = views.maps(tf, tf.constant(picture))[1].numpy()[0, :, :, 1]
    middle = views.DIFFERENCE_PX
    assert between[middle, middle] == pytest.approx(1.0, abs=0.01)
    assert between[middle, middle + 12] > 0.9
    assert between[middle + 12, middle - 24] > 0.7
    assert between[middle, middle + 6] < 0.1


@pytest.mark.parametrize("way", range(8))
def test_what_is_shown_turns_as_the_picture_does(way: int) -> None:
    tf = tensorflow()
    picture = np.random.default_rng(way).random((2, 150, 150)).astype(np.float32)
    first = [views.turned(each.numpy(), way) for each in views.maps(tf, tf.constant(picture))]
    second = views.maps(tf, tf.constant(views.turned(picture, way)))
    for one, other in zip(first, second, strict=True):
        assert one == pytest.approx(other.numpy(), abs=2e-3)


def test_every_way_of_turning_is_another_one() -> None:
    picture = np.arange(9).reshape(1, 3, 3)
    assert len({views.turned(picture, way).tobytes() for way in range(8)}) == 8


def test_what_lies_between_good_and_bad_teaches_nothing_of_good() -> None:
    kinds = [Kind.ONE_LATTICE, Kind.ONE_LATTICE, Kind.SEVERAL_CRYSTALS, Kind.BLANK]
    found = targets(made_examples(kinds, borderline=1))
    assert found.known[:, GOOD].astype(bool).tolist() == [False, True, True, True]
    assert found.value[1:, GOOD].tolist() == [1, 0, 0]
    assert found.known[:, D_MIN].tolist() == [1, 1, 0, 0]
    assert found.known[:, SEVERAL].tolist() == [0, 1, 1, 0]
    assert found.value[1:3, SEVERAL].tolist() == [0, 1]


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(Refused, match=r"takes \(n, 150, 150\)"):
        random_model().answers(np.zeros((1, 127, 127)))


def test_an_unsure_answer_is_the_same_whichever_way_the_picture_lies() -> None:
    picture = np.random.default_rng(3).random((1, 150, 150)).astype(np.float32)
    sure = random_model()
    scale = 1 / abs(float(sure.outputs(picture)[0, GOOD]))
    model = Model(sure.which, sure.weights, {"calibration": {"scale": scale, "offset": 0.0}})
    first = model.answers(picture)
    assert 0.01 < first.good[0] < 0.99
    for way in range(1, 8):
        assert model.answers(views.turned(picture, way)).good == pytest.approx(first.good, abs=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("which", list(Which))
def test_the_same_seed_trains_the_same_numbers(which: Which) -> None:
    kinds = [Kind.ONE_LATTICE, Kind.SEVERAL_CRYSTALS, Kind.BLANK] * 30
    of = made_examples(kinds)
    one, again = (learned(3, which, of, of, QUICK[which]) for _ in range(2))
    other = learned(4, which, of, of, QUICK[which])
    assert all(np.allclose(one.weights[name], again.weights[name], atol=1e-5) for name in one.weights)
    assert not all(np.allclose(one.weights[name], other.weights[name], atol=1e-3) for name in one.weights)
    assert one.record["calibration"] == again.record["calibration"]
