"""From a serial run to scores in one command: `credline screening predict RUN`."""

import csv
from pathlib import Path

import pytest

from protocols.screening.scoredfiles import GEOMETRY, Row, pieces, score_piece
from protocols.screening.scoring import Score
from protocols.screening.tables import write_instamatic
from protocols.serialed.results.export import export_serial
from tests.protocols.serialed.results.serialruns import Crystal, write_run


def test_a_run_is_scored_and_its_crystals_are_named_with_their_places(tmp_path: Path) -> None:
    fields = {2: [Crystal(40, 30, None), Crystal(90, 70, None)]}
    made = write_run(tmp_path / "grid_001", fields)
    export_serial(made.folder, ("csv",))
    (work,) = pieces([made.folder], method=GEOMETRY)
    scored = score_piece(work)
    assert [row.name for row in scored.rows] == [f"{made.folder}:2/{n}" for n in (1, 2)]
    assert all(row.score is not None and not row.error for row in scored.rows)


def test_the_papers_list_has_field_crystal_size_and_place_of_a_run(tmp_path: Path) -> None:
    made = write_run(tmp_path / "grid_001", {2: [Crystal(40, 30, None), Crystal(90, 70, None)]})
    export_serial(made.folder, ("csv",))
    rows = [Row(f"{made.folder}:2/{n}", Score(good, 1.0, 0.0, "")) for n, good in ((1, 0.2), (2, 0.9))]
    write_instamatic(tmp_path / "instamatic.csv", rows)
    ((name, picture, crystal, prediction, size, x, y),) = csv.reader(
        (tmp_path / "instamatic.csv").read_text().splitlines()
    )
    assert (name, picture, crystal, prediction) == (f"{made.folder}:2/2", "2", "2", "0.900000")
    assert float(size) == pytest.approx(32 * 0.046**2, abs=1e-4)
    assert (float(x), float(y)) == pytest.approx(made.places_nm[2, 2], abs=0.1)


def test_without_a_table_the_places_stay_empty(tmp_path: Path) -> None:
    rows = [Row(f"{tmp_path}/none:3/4", Score(0.9, 1.0, 0.0, ""))]
    write_instamatic(tmp_path / "instamatic.csv", rows)
    assert (tmp_path / "instamatic.csv").read_text() == f"{tmp_path}/none:3/4,3,4,0.900000,,,\n"
