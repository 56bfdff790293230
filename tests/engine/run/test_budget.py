"""Budgets of a plan: what fits to the nanosecond fits, and what does not is refused with the step and by how much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Refused
from engine.run.budget import Budget, BudgetStep

STEPS = (
    BudgetStep("defocus", "35 ms call", 0.035, 0.061),
    BudgetStep.fixed("image", "snapshot_exposure_s", 0.010),
    BudgetStep("refocus", "35 ms call", 0.035, 0.061),
    BudgetStep.fixed("settling", "lens", 0.350),
)


def test_a_budget_adds_up_its_steps() -> None:
    budget = Budget("snapshot", STEPS, 0.512)
    assert budget.typical_s == pytest.approx(0.430)
    assert budget.worst_s == pytest.approx(0.482)
    assert budget.slack_s == pytest.approx(0.030)
    budget.check("")


def test_a_step_that_always_takes_the_same_is_its_own_worst_case() -> None:
    assert BudgetStep.fixed("image", "plan", 0.01) == BudgetStep("image", "plan", 0.01, 0.01)


@pytest.mark.parametrize(
    ("available_s", "step", "over_ms"),
    [(0.480, "settling", "2.0"), (0.131, "refocus", "1.0"), (0.061, "image", "10.0"), (0.0, "defocus", "61.0")],
)
def test_what_does_not_fit_is_refused_with_the_step_that_crosses_the_end(
    available_s: float, step: str, over_ms: str
) -> None:
    with pytest.raises(Refused, match=rf"snapshot does not fit: '{step}' ends {over_ms} ms .*nothing was started"):
        Budget("snapshot", STEPS, available_s).check("")


def test_the_refusal_says_the_whole_excess_and_the_remedy() -> None:
    with pytest.raises(Refused) as refused:
        Budget("snapshot", STEPS, 0.382).check("Set snapshot_interval to 4 or more.")
    assert "the whole 100.0 ms after the 382.0 ms that there are" in str(refused.value)
    assert str(refused.value).endswith("Set snapshot_interval to 4 or more.")
    assert refused.value.exit_status == 2


def test_the_worst_case_counts_not_the_usual_one() -> None:
    with pytest.raises(Refused):
        Budget("snapshot", STEPS, 0.450).check("")  # 430 ms usually


@given(milliseconds=st.lists(st.integers(0, 1000), min_size=1, max_size=12))
def test_steps_that_fill_their_time_exactly_fit(milliseconds: list[int]) -> None:
    steps = [BudgetStep.fixed(f"step {k}", "plan", ms / 1000) for k, ms in enumerate(milliseconds)]
    Budget("slot", steps, sum(milliseconds) / 1000).check("")


@given(milliseconds=st.lists(st.integers(1, 1000), min_size=1, max_size=12))
def test_a_microsecond_too_much_does_not_fit(milliseconds: list[int]) -> None:
    steps = [BudgetStep.fixed(f"step {k}", "plan", ms / 1000) for k, ms in enumerate(milliseconds)]
    with pytest.raises(Refused):
        Budget("slot", steps, sum(milliseconds) / 1000 - 1e-6).check("")
