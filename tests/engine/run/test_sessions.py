"""Sessions from seeds, and killed ones: every folder whole, the beam off, parent and children replayed."""

from pathlib import Path

import pytest

from benchmarks.sessions import killed, tried
from tests.quickly import quick


@pytest.mark.parametrize("first", quick(1, range(0, 60, 20)))
def test_sessions_of_a_bad_day_leave_every_folder_whole(first: int, tmp_path: Path) -> None:
    broken = {seed: wrong for seed in range(first, first + 20) if (wrong := tried(seed, tmp_path / str(seed)))}
    assert broken == {}


@pytest.mark.long
@pytest.mark.realtime
@pytest.mark.parametrize("seed", range(6))
def test_a_session_that_is_killed_is_recovered_with_its_children(seed: int, tmp_path: Path) -> None:
    assert killed(seed, tmp_path) == []
