from protocols.serialed.fieldmap import FieldMap
from protocols.serialed.finding.crystals import Found
from protocols.serialed.plan import SerialedPlan
from protocols.serialed.raster import Field

BAR, FILM = Found((), 0.0, "the field lies behind a bar"), Found((), 0.9)


def looked_at(pitch_um: float = 62.0) -> FieldMap:
    """Two fields behind one bar of the mesh, a window apart, and two on film between them."""
    fields = FieldMap(SerialedPlan(grid_pitch_um=pitch_um))
    assert fields.learned(Field(7, 31e3, 31e3), FILM) == "no crystals"
    assert fields.learned(Field(1, 0.0, 0.0), BAR) == "barren"
    assert fields.learned(Field(2, 31e3, 0.0), FILM) == "no crystals"
    assert fields.learned(Field(3, 62e3, 1e3), BAR) == "barren"
    return fields


def test_a_field_behind_the_same_bar_is_skipped_and_one_in_a_window_is_not() -> None:
    fields = looked_at()
    assert fields.skips(Field(4, 124e3, 0.0)) == "bar"
    assert fields.skips(Field(5, 93e3, 0.0)) == ""
    assert fields.skips(Field(6, 100e3, 40e3)) == ""


def test_one_witness_is_not_enough_and_nobody_predicts_without_a_pitch() -> None:
    fields = FieldMap(SerialedPlan())
    fields.learned(Field(1, 0.0, 0.0), BAR)
    assert fields.skips(Field(2, 62e3, 0.0)) == ""
    assert looked_at(0.0).skips(Field(4, 124e3, 0.0)) == ""


def test_where_all_was_dark_so_far_nothing_is_predicted() -> None:
    fields = FieldMap(SerialedPlan())
    for number in range(5):
        fields.learned(Field(number, 62e3 * number, 0.0), BAR)
    assert fields.skips(Field(9, 62e3 * 9, 0.0)) == ""


def test_where_crystals_are_rare_the_finder_is_waited_for() -> None:
    fields = FieldMap(SerialedPlan())
    assert not fields.waits
    for number in range(4):
        fields.learned(Field(number, 13e3 * number, 0.0), FILM)
    assert fields.waits
