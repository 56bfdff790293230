import pytest

from protocols.serialed.isolation import is_isolated


@pytest.mark.parametrize(
    ("neighbour_nm", "border_nm", "alone"),
    [(1500, 500, True), (1499, 500, False), (1500, 499, False), (1e6, 1e6, True), (0, 0, False)],
)
def test_the_rule_of_the_paper(neighbour_nm: float, border_nm: float, alone: bool):
    assert is_isolated(neighbour_nm, border_nm) is alone
