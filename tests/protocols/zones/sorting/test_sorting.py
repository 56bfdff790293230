"""Patterns sorted, from pictures of every kind; a network stands in where only its place in the way is tried."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import DataError
from protocols.zones.patterns.noise import overlaid
from protocols.zones.patterns.randomcells import random_cell
from protocols.zones.patterns.render import ImageGeometry, draw, render
from protocols.zones.patterns.simulation import Geometry, Patterns, electron_wavelength_A, joined, simulate
from protocols.zones.patterns.snapshots import Snapshots
from protocols.zones.sorting.geometric import Verdict
from protocols.zones.sorting.labels import LABELS, SEVERAL, ZONE
from protocols.zones.sorting.method import Method
from protocols.zones.sorting.network import Model
from protocols.zones.sorting.sorting import NO_PATTERN, check_with, sort_pictures, sort_snapshots, weak_spots


class Oracle(Model):
    """Stands in for a network: says of each picture in turn what it was told to say."""

    def __init__(self, says: NDArray[np.float32]) -> None:
        super().__init__({}, {"threshold": 0.0})
        object.__setattr__(self, "says", says)

    def logits(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The next few of what it was told."""
        said: NDArray[np.float32] = self.says[: len(pictures)]  # type: ignore[attr-defined]
        object.__setattr__(self, "says", self.says[len(pictures) :])  # type: ignore[attr-defined]
        return said


@pytest.fixture(scope="module")
def patterns() -> Patterns:
    """A third of them zonal."""
    rng = np.random.default_rng(11)
    many = simulate(random_cell(rng, volume_A3=500.0), 600, rng)
    zones, others = (np.flatnonzero((many.label == ZONE) == zonal) for zonal in (True, False))
    return many.take(np.concatenate([zones[:20], others[:40]]))


def names(labels: NDArray[np.int8]) -> list[str]:
    return [LABELS[label] for label in labels]


def test_geometry_sorts_drawn_pictures(patterns: Patterns) -> None:
    found = sort_pictures(render(patterns), Method.GEOMETRY)
    wrong = [(one.name, one.label, one.reason) for one, true in zip(found, names(patterns.label), strict=True)
             if (one.label == "2DZone") != (true == "2DZone")]  # fmt: skip
    assert len(wrong) <= 1, wrong
    assert all(one.zone is not None for one in found if one.label == "2DZone")


def test_geometry_looks_only_where_the_network_sees_a_zone(patterns: Patterns) -> None:
    looked: list[str] = []

    def check(xy: object, name: str, **rest: float) -> Verdict:
        looked.append(name)
        return check_with()(xy, name=name, **rest)

    says = np.where(np.arange(60) < 10, 5.0, -5.0).astype(np.float32)
    found = sort_pictures(render(patterns), Method.BOTH, Oracle(says), check=check)
    assert looked == [str(i) for i in range(10)]
    assert [one.label for one in found[10:]] == ["3DLaueIntersections"] * 50
    assert {one.reason for one in found[10:]} == {"the network sees no zone"}


def test_geometry_overrules_the_network_in_its_label_and_its_confidence(patterns: Patterns) -> None:
    found = sort_pictures(render(patterns), Method.BOTH, Oracle(np.full(60, 2.0, dtype=np.float32)))
    alone = sort_pictures(render(patterns), Method.NETWORK, Oracle(np.full(60, 2.0, dtype=np.float32)))
    assert {one.label for one in alone} == {"2DZone"}
    for one in found:
        assert (one.confidence > alone[0].confidence) == (one.label == "2DZone")


def test_a_rarer_class_is_believed_less(patterns: Patterns) -> None:
    few, many = (
        sort_pictures(render(patterns), Method.NETWORK, Oracle(np.full(60, 2.0, dtype=np.float32)), share=share)[0]
        for share in (0.01, 0.3)
    )
    assert few.confidence < 0.1 < 0.5 < many.confidence


@pytest.mark.long
def test_pictures_of_another_size_and_scale_are_sorted_like_ours(patterns: Patterns) -> None:
    image = ImageGeometry(size_px=508, per_px=2.1 / 508, spot_radius_px=2.0, beam_radius_px=3.5)
    drawn = render(patterns, image)
    source = Snapshots([str(i) for i in range(60)], image.per_px, picture=lambda i: drawn[i])
    ours = sort_pictures(render(patterns), Method.GEOMETRY)
    found = list(sort_snapshots(source, Method.GEOMETRY))
    assert sum(one.label == other.label for one, other in zip(found, ours, strict=True)) >= 58


def test_spots_of_a_peak_list_are_sorted_without_a_picture(patterns: Patterns) -> None:
    source = Snapshots([str(i) for i in range(60)], None, spots=[patterns.spots(i) for i in range(60)])
    found = list(sort_snapshots(source, Method.GEOMETRY))
    assert [one.label == "2DZone" for one in found].count(True) == pytest.approx(20, abs=1)


def test_the_beam_of_a_peak_list_need_not_be_where_it_was_thought(patterns: Patterns) -> None:
    shifts = np.random.default_rng(1).normal(0, 0.003, (60, 2))
    moved = [patterns.spots(i) + shifts[i] for i in range(60)]
    found = list(sort_snapshots(Snapshots([str(i) for i in range(60)], None, spots=moved), Method.GEOMETRY))
    assert sum(one.label == "2DZone" for one in found[:20]) >= 19
    assert sum(one.label == "2DZone" for one in found[20:]) == 0


# (voltage in kV, excitation error in 1/A)
OTHERS = [(300, 0.01), (300, 0.005), (200, 0.02)]
EXPERIMENTS = [pytest.param(80, 0.01), *(pytest.param(*other, marks=pytest.mark.long) for other in OTHERS)]


@pytest.mark.long
@pytest.mark.parametrize(("voltage_kV", "excitation"), EXPERIMENTS)
def test_patterns_of_other_microscopes_and_crystals_are_sorted_when_that_is_said(
    voltage_kV: float, excitation: float
) -> None:
    rng = np.random.default_rng(3)
    geometry = Geometry(electron_wavelength_A(voltage_kV), excitation_error_per_A=excitation)
    made = simulate(random_cell(rng, "monoclinic", 500.0), 500, rng, geometry)
    zonal = made.label == ZONE
    lists = Snapshots(
        [str(i) for i in range(500)], None, geometry.wavelength_A, spots=[made.spots(i) for i in range(500)]
    )
    found = sort_snapshots(lists, Method.GEOMETRY, check=check_with(excitation_error_per_A=excitation))
    called = np.array([one.label == "2DZone" for one in found])
    assert called[zonal].mean() >= 0.98
    assert not called[~zonal].any()


def test_weak_spots_may_be_missing_when_that_is_said(patterns: Patterns) -> None:
    rng = np.random.default_rng(2)
    few = [patterns.spots(i)[rng.random(len(patterns.spots(i))) > 0.5] for i in range(60)]
    source = Snapshots([str(i) for i in range(60)], None, spots=few)
    unsaid, said = (
        sum(one.label == "2DZone" for one in list(sort_snapshots(source, Method.GEOMETRY, check=check))[:20])
        for check in (check_with(), check_with(missing=0.6))
    )
    assert unsaid < 15 < said


def test_weak_spots_that_are_missing_are_noticed_and_the_advice_helps(patterns: Patterns) -> None:
    rng = np.random.default_rng(2)
    few = [patterns.spots(i)[rng.random(len(patterns.spots(i))) > 0.5] for i in range(60)]
    source = Snapshots([str(i) for i in range(60)], None, spots=few)
    advice = weak_spots(list(sort_snapshots(source, Method.GEOMETRY)))
    assert "patterns lie on one plane each, of which only" in advice
    missing = float(advice.split("--missing ")[1].split(";")[0])
    assert 0.5 <= missing <= 0.7
    found = list(sort_snapshots(source, Method.GEOMETRY, check=check_with(missing=missing)))
    assert sum(one.label == "2DZone" for one in found[:20]) >= 18
    assert weak_spots(found) == ""


def test_nothing_is_said_of_weak_spots_where_none_are_missing(patterns: Patterns) -> None:
    assert weak_spots(sort_pictures(render(patterns), Method.GEOMETRY)) == ""


def test_one_damaged_picture_of_many_is_no_pattern_and_alone_an_error(patterns: Patterns) -> None:
    drawn = render(patterns)

    def picture(i: int) -> NDArray[np.uint8]:
        if i == 3:
            raise DataError("p.h5: picture 3 is damaged")
        return drawn[i]

    source = Snapshots([str(i) for i in range(60)], None, picture=picture)
    found = list(sort_snapshots(source, Method.GEOMETRY))
    assert (found[3].label, found[3].reason) == (NO_PATTERN, "p.h5: picture 3 is damaged")
    assert sum(one.label == "2DZone" for one in found) >= 18
    with pytest.raises(DataError, match="damaged"):
        list(sort_snapshots(source.only({"3"}), Method.GEOMETRY))


NO_PATTERNS = {
    "black": np.zeros((254, 254), dtype=np.uint8),
    "white": np.full((254, 254), 255, dtype=np.uint8),
    "a photograph": np.random.default_rng(0).integers(0, 255, (254, 254)).astype(np.uint8),
    "one bright line": np.pad(np.full((1, 254), 255, dtype=np.uint8), ((100, 153), (0, 0))),
}  # fmt: skip


@pytest.mark.parametrize("what", NO_PATTERNS)
@pytest.mark.parametrize("method", [Method.GEOMETRY, Method.BOTH])
def test_what_is_no_pattern_is_called_so_with_a_reason(what: str, method: Method) -> None:
    (found,) = sort_pictures(NO_PATTERNS[what][None], method, Oracle(np.array([9.0], dtype=np.float32)))
    assert found.label == NO_PATTERN
    assert found.confidence == 0.0
    assert found.reason


def halo(rings: bool, counts: int) -> NDArray[np.uint16]:
    """A frame of the beam alone, in vacuum or in amorphous carbon."""
    row, column = np.indices((512, 512)) + 0.5
    radius = np.hypot(column - 250.3, row - 261.8)
    mean = 2e4 * np.exp(-(radius**2) / 8) + 30 * np.exp(-radius / 50) + 0.3
    if rings:
        mean += sum(counts * np.exp(-((radius - at) ** 2) / 200) for at in (115, 205))
    return np.random.default_rng(1).poisson(mean).astype(np.uint16)


NO_HITS: dict[str, NDArray[np.generic]] = {
    "the beam alone, drawn": draw(np.zeros((0, 2))),
    "four spots, drawn": draw(np.array([[0.2, 0.1], [0.4, -0.3], [-0.5, 0.6], [-0.1, -0.7]])),
    "vacuum": halo(False, 0),
    "thin carbon": halo(True, 5),
    "thick carbon": halo(True, 200),
}


@pytest.mark.parametrize("what", NO_HITS)
@pytest.mark.parametrize("method", [Method.GEOMETRY, Method.BOTH, Method.NETWORK])
def test_a_shot_that_hit_no_crystal_is_called_so(what: str, method: Method) -> None:
    picture = NO_HITS[what]
    source = Snapshots(["one"], ImageGeometry().per_px if "drawn" in what else 0.004, picture=lambda i: picture)
    for logit in (9.0, -9.0):
        (found,) = sort_snapshots(source, method, Oracle(np.array([logit], dtype=np.float32)))
        assert (found.label, found.confidence) == ("noHit", 0.0)
        assert "spots" in found.reason


@pytest.fixture(scope="module")
def mixed() -> Patterns:
    """Half of them of two crystals in any orientations."""
    rng = np.random.default_rng(12)
    many = [simulate(random_cell(rng, volume_A3=volume), 60, rng) for volume in (500.0, 900.0)]
    return overlaid(joined(many), rng, share=0.5)


def test_geometry_tells_several_crystals_from_one(mixed: Patterns) -> None:
    called = np.array([one.label == "severalCrystals" for one in sort_pictures(render(mixed), Method.GEOMETRY)])
    assert called[mixed.label == SEVERAL].mean() > 0.85
    assert called[mixed.label != SEVERAL].mean() < 0.05


@pytest.mark.long
def test_geometry_is_asked_of_what_the_network_takes_for_several_crystals(mixed: Patterns) -> None:
    no, yes = (np.full(len(mixed), logit, dtype=np.float32) for logit in (-5.0, 5.0))
    alone = sort_pictures(render(mixed), Method.NETWORK, Oracle(no), several=Oracle(yes))
    assert {one.label for one in alone} == {"severalCrystals"}
    both = np.array([one.label for one in sort_pictures(render(mixed), Method.BOTH, Oracle(no), several=Oracle(yes))])
    assert (both[mixed.label == SEVERAL] == "severalCrystals").mean() > 0.85
    assert (both[mixed.label != SEVERAL] == "severalCrystals").mean() < 0.05
    none = sort_pictures(render(mixed), Method.BOTH, Oracle(no), several=Oracle(no))
    assert {one.label for one in none} == {"3DLaueIntersections"}
