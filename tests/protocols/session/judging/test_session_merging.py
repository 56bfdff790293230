"""Data sets merged: indexed alike where the lattice allows several ways, scaled, and odd ones left out."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest

from protocols.lattice.cell import Cell
from protocols.lattice.symmetry import bravais
from protocols.session.judging.dataset import data_set
from protocols.session.judging.integrated import Integrated
from protocols.session.judging.merging import MergedPhase, merge_phase, unique_keys
from protocols.session.judging.phases import phases_of
from tests.protocols.session.judging.nights import LATTICES, MORDENITE, result_of

TETRAGONAL = Cell(9.0, 9.0, 13.0, 90, 90, 90)
NEARLY = Cell(9.0, 9.05, 13.0, 90, 90, 90)
"""Orthorhombic, and so nearly tetragonal that a cell known to 0.5 % does not tell a from b."""
D_MIN_A = 1.1


def structure(group: gemmi.SpaceGroup, seed: int):
    """Intensities by index, the same for equivalents, others by chance as of a structure without a centre."""

    def intensity(hkl: np.ndarray) -> np.ndarray:
        key = unique_keys(group, hkl)
        return np.array([np.random.default_rng([seed, int(k) & 0xFFFFFFFF]).exponential() for k in key.tolist()]) * 100

    return intensity


def collected(cell: Cell, intensity, count: int, seed: int, turns: bool = True, odd=None, odd_numbers=(), symbol="tP"):
    """`count` data sets of one phase. Each has 400 reflections by chance, with 5 % noise, its own scale and fall with
    resolution, and is indexed in any of the ways that the lattice allows."""
    rng = np.random.default_rng(seed)
    type_ = bravais(cell, 1.0)
    m = (type_.basis @ type_.reduction).astype(float)
    hkl = np.array(list(np.ndindex(17, 17, 25))) - np.array([8, 8, 12])
    hkl = hkl[
        hkl.any(axis=1) & (np.sqrt(np.einsum("ni,ij,nj->n", hkl, type_.cell.reciprocal_metric, hkl)) < 1 / D_MIN_A)
    ]
    sets, measured, scales = [], {}, {}
    for number in range(1, count + 1):
        some = hkl[rng.permutation(len(hkl))[:400]]
        source = odd if odd is not None and number in odd_numbers else intensity
        stol2 = np.einsum("ni,ij,nj->n", some, type_.cell.reciprocal_metric, some) / 4
        scale, b = float(np.exp(rng.normal(0, 0.5))), float(rng.normal(0, 1.0))
        scales[number] = scale
        true = source(some) * scale * np.exp(2 * b * stol2)
        sigma = np.maximum(0.05 * true, 1.0)
        seen = true + sigma * rng.normal(size=len(true))
        own = some
        if turns:  # in Niggli axes a rotation of the lattice acts as hkl @ R
            rotation = type_.group[int(rng.integers(len(type_.group)))]
            niggli = some @ np.linalg.inv(m).T @ type_.reduction.T
            own = niggli @ rotation @ np.linalg.inv(type_.reduction.astype(float)).T
        else:
            own = some @ np.linalg.inv(m).T
        six = np.array(cell.parameters) * (1 + np.array([0.004] * 3 + [0] * 3) * rng.normal(size=6))
        six[3:] += 0.3 * rng.normal(size=3)
        noisy = Cell(*six.tolist())
        sigma6 = np.concatenate([0.004 * six[:3], np.full(3, 0.3)])
        sets.append(data_set(result_of(noisy, noisy.reciprocal_basis, sigma6, symbol), number, number, ""))
        measured[number] = Integrated(
            np.rint(own).astype(np.int64),
            seen,
            sigma,
            np.zeros(len(seen), np.intp),
            np.linspace(-30, 30, len(seen)),
            noisy.reciprocal_basis,
            D_MIN_A,
        )
    (phase,) = phases_of(sets)
    return phase, measured, scales


def merged(*args, **options) -> MergedPhase:
    phase, measured, _ = collected(*args, **options)
    return merge_phase(phase, measured, D_MIN_A)


def quality(told: MergedPhase) -> tuple[float, float]:
    """CC1/2 and R_meas of all shells together."""
    assert told.whole is not None
    assert told.whole.cc_half is not None
    assert told.whole.r_meas is not None
    return told.whole.cc_half, told.whole.r_meas


CMMM = gemmi.SpaceGroup("C m m m")
FOUR_M = gemmi.SpaceGroup("P 4/m")


@pytest.mark.parametrize("seed", range(3))
def test_two_ways_of_indexing_become_one(seed: int) -> None:
    """4/m in a lattice of 4/mmm: a and b can be exchanged."""
    told = merged(TETRAGONAL, structure(FOUR_M, seed), 8, seed)
    assert told.group.laue_str() == "4/m"
    assert not told.left_out
    cc_half, r_meas = quality(told)
    assert cc_half > 0.98
    assert r_meas < 0.12
    assert all(each.cc > 0.9 for each in told.placed)


def test_without_turning_them_they_do_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.session.judging.merging._choices", lambda *_: [np.eye(3, dtype=np.int64)])
    told = merged(TETRAGONAL, structure(FOUR_M, 0), 8, 0)
    assert told.left_out or quality(told)[0] < 0.9


def test_a_lattice_that_is_nearly_tetragonal_is_indexed_alike() -> None:
    told = merged(NEARLY, structure(gemmi.SpaceGroup("P m m m"), 5), 8, 5, symbol="oP")
    assert told.group.laue_str() == "mmm"
    assert not told.left_out
    assert quality(told)[0] > 0.98


def test_the_highest_class_that_holds_is_taken() -> None:
    told = merged(TETRAGONAL, structure(gemmi.SpaceGroup("P 4/m m m"), 2), 6, 2)
    assert told.group.laue_str() == "4/mmm"
    assert quality(told)[0] > 0.98


def test_axes_of_the_integration_may_be_others_than_those_of_the_cell() -> None:
    """Reduced axes of a lattice jump from one look to the next: of mordenite 97.2 deg may be told as 82.8."""
    phase, measured, _ = collected(MORDENITE, structure(CMMM, 7), 8, 7, turns=False, symbol="oC")
    alike = merge_phase(phase, measured, D_MIN_A)
    jumped = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    for number in (2, 5):
        one = measured[number]
        measured[number] = replace(one, hkl=one.hkl @ jumped.T, ub=one.ub @ np.linalg.inv(jumped))
    told = merge_phase(phase, measured, D_MIN_A)
    assert told.left_out == {}
    assert quality(told) == pytest.approx(quality(alike), abs=1e-6)
    assert told.whole is not None
    assert alike.whole is not None
    assert told.whole.unique == alike.whole.unique


def test_indices_are_those_of_the_cell_that_is_told() -> None:
    """Whether the mean cell is a reduced one or not: 89.99 deg instead of 90.01 make it another."""
    phase, measured, _ = collected(MORDENITE, structure(CMMM, 7), 5, 7, turns=False, symbol="oC")
    jumped = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    cell = Cell.from_metric(jumped @ phase.cell.metric @ jumped.T)
    told = merge_phase(replace(phase, cell=cell, bravais=bravais(cell, 1.0)), measured, 0.9)
    assert told.observed is not None
    assert told.left_out == {}
    metric = phase.bravais.cell.reciprocal_metric
    spacing = np.einsum("ni,ij,nj->n", told.observed[0], metric, told.observed[0])
    true = np.concatenate([np.einsum("ni,ij,nj->n", m.hkl, m.ub.T @ m.ub, m.hkl) for m in measured.values()])
    assert np.percentile(np.abs(spacing - true)[true > 0] / true[true > 0], 95) < 0.04


def test_one_that_was_integrated_with_another_cell_is_left_out() -> None:
    phase, measured, _ = collected(TETRAGONAL, structure(FOUR_M, 0), 4, 0)
    measured[3] = replace(measured[3], ub=measured[3].ub @ np.diag([1, 1, 0.5]))
    told = merge_phase(phase, measured, D_MIN_A)
    assert told.left_out == {3: "it was integrated with another cell than its phase's"}


def test_scales_are_found() -> None:
    phase, measured, scales = collected(TETRAGONAL, structure(FOUR_M, 1), 8, 1)
    told = merge_phase(phase, measured, D_MIN_A)
    product = np.array([each.scale * scales[each.number] for each in told.placed])
    assert product.std() / product.mean() < 0.1


def test_one_that_does_not_agree_is_left_out_and_said() -> None:
    other = structure(FOUR_M, 99)
    told = merged(TETRAGONAL, structure(FOUR_M, 3), 7, 3, odd=other, odd_numbers=(4,))
    assert list(told.left_out) == [4]
    assert "do not agree with the others'" in told.left_out[4]
    assert told.words == ()
    assert quality(told)[0] > 0.98


def test_two_phases_with_one_cell_are_told() -> None:
    other = structure(FOUR_M, 99)
    told = merged(TETRAGONAL, structure(FOUR_M, 4), 9, 4, odd=other, odd_numbers=(2, 5, 6))
    assert sorted(told.left_out) == [2, 5, 6]
    assert told.words == (
        "data sets 2, 5, 6 agree with each other and not with the rest: perhaps another phase with this cell",
    )


def test_one_data_set_alone_is_merged() -> None:
    told = merged(TETRAGONAL, structure(FOUR_M, 4), 1, 4)
    assert [each.number for each in told.placed] == [1]
    assert told.whole is not None
    assert told.whole.observations > 380


def test_nothing_was_integrated() -> None:
    phase, *_ = collected(MORDENITE, structure(gemmi.SpaceGroup("C m m m"), 0), 2, 0, symbol=LATTICES[MORDENITE])
    empty = np.empty((0, 3), np.int64)
    none = np.empty(0)
    nothing = Integrated(empty, none, none, np.empty(0, np.intp), none, np.eye(3), 0.0, "the disk is full")
    told = merge_phase(phase, {1: nothing}, D_MIN_A)
    assert told.merged is None
    assert told.left_out == {1: "the disk is full", 2: "it was not integrated"}
