"""A run whose plan asks for looks keeps what was found of its crystal, and its files have it; without wish, nothing."""

import json

import pytest

from tests.protocols.cred.conftest import Perform
from tests.protocols.products.readers import keywords

PLAN = {"range_deg": 11.0, "snapshot_interval": 0, "relax_cycles": 0, "start_deg": -20.0, "formats": ("xds",)}


@pytest.mark.long
def test_a_run_that_looked_for_its_cell_keeps_it_and_tells_its_files(perform: Perform) -> None:
    run = perform(driver="simulated", live=True, **PLAN)
    assert run.document["status"] == "done"
    kept = json.loads((run.folder / "crystal.json").read_text())
    assert kept["determined"], kept["reasons"]
    assert kept["run"] == run.document["run_id"]
    assert keywords(run.folder / "SMV" / "XDS.INP")["SPACE_GROUP_NUMBER"] == ["1"]


def test_a_run_that_did_not_look_keeps_nothing(perform: Perform) -> None:
    run = perform(driver="simulated", live=False, **PLAN)
    assert not (run.folder / "crystal.json").exists()
    assert keywords(run.folder / "SMV" / "XDS.INP")["SPACE_GROUP_NUMBER"] == ["0"]
