"""The two networks: their sizes, what they are shown, and that the same seed trains the same numbers."""

from importlib.util import find_spec

import numpy as np
import pytest

from engine.errors import Refused
from protocols.screening import judge, views
from protocols.screening.evidence import NAMES
from protocols.screening.geometric import SpotJudge
from protocols.screening.labels import Kind
from protocols.screening.model import SURELY_BAD, SURELY_GOOD, Model, Prepared
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


@pytest.mark.long
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
    seen = [views.channels(tf, views.maps(tf, tf.constant(each, tf.float32))).numpy() for each in (empty, one)]
    place = np.abs(seen[1] - seen[0]).max(axis=3)[0]
    assert np.unravel_index(place.argmax(), place.shape) == (18, 45)
    assert place.max() > 1.5


def test_the_channels_are_the_pixels_of_squares_line_by_line() -> None:
    tf = tensorflow()
    seen = np.random.default_rng(2).random((3, 150, 150, 2)).astype(np.float32)
    np.testing.assert_array_equal(views.channels(tf, tf.constant(seen)), tf.nn.space_to_depth(seen, 2))


@pytest.mark.parametrize("way", range(8))
def test_what_is_shown_turns_as_the_picture_does(way: int) -> None:
    tf = tensorflow()
    picture = np.random.default_rng(way).random((2, 150, 150)).astype(np.float32)
    first = views.turned(views.maps(tf, tf.constant(picture)).numpy(), way)
    second = views.maps(tf, tf.constant(views.turned(picture, way))).numpy()
    assert first == pytest.approx(second, abs=2e-3)


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
        random_model(Which.PAPER).answers(Prepared(np.zeros((1, 127, 127))))


def test_the_network_is_asked_of_what_the_spots_leave_open_and_of_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    of = Prepared(rng.random((40, 150, 150)).astype(np.float32), rng.random((40, len(NAMES))).astype(np.float32))
    assert of.evidence is not None
    plain = random_model()
    assert plain.spots is not None
    logits = judge.judged(plain.spots.weights, None, of.evidence)[:, GOOD]
    # Half of them near the middle, the others far from it.
    away = float(np.median(np.abs(logits - np.median(logits))))
    steep = {"scale": 4 / away, "offset": -4 * float(np.median(logits)) / away}
    spots = SpotJudge(plain.spots.weights, {"calibration": steep})
    asked: list[np.ndarray] = []

    def outputs(_: Model, pictures: np.ndarray) -> np.ndarray:
        asked.extend(pictures)
        return np.full((len(pictures), 3), -50.0)

    monkeypatch.setattr(Model, "outputs", outputs)
    answers = Model(plain.which, plain.weights, plain.record, spots).answers(of)
    alone, _, _ = spots.says(of.evidence)
    sure = (alone <= SURELY_BAD) | (alone >= SURELY_GOOD)
    assert 5 < sure.sum() < 35
    assert np.array_equal(np.array(asked), of.pictures[~sure])
    assert answers.good[sure] == pytest.approx(alone[sure])
    weighed = plain.judged(np.full((int((~sure).sum()), 3), -50.0), of.evidence[~sure])
    assert answers.good[~sure] == pytest.approx(plain.calibration.probability(weighed[:, GOOD]))


@pytest.mark.long
@pytest.mark.parametrize("which", list(Which))
def test_the_same_seed_trains_the_same_numbers(which: Which) -> None:
    kinds = [Kind.ONE_LATTICE, Kind.SEVERAL_CRYSTALS, Kind.BLANK] * 30
    of = made_examples(kinds)
    one, again = (learned(3, which, of, of, of, QUICK[which]) for _ in range(2))
    other = learned(4, which, of, of, of, QUICK[which])
    assert all(np.allclose(one.weights[name], again.weights[name], atol=1e-5) for name in one.weights)
    assert not all(np.allclose(one.weights[name], other.weights[name], atol=1e-3) for name in one.weights)
    assert one.record["calibration"] == again.record["calibration"]
    if which is Which.SMALL:
        assert one.spots is not None
        assert again.spots is not None
        assert all(np.allclose(one.spots.weights[n], again.spots.weights[n], atol=1e-5) for n in one.spots.weights)
