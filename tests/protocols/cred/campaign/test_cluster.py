"""A campaign on a cluster of Dask, a real scheduler with a worker, has the same numbers as on this machine."""

import json
from pathlib import Path

import pytest

from tests.daskcluster import cluster, credline_with_dask


@pytest.mark.long
@pytest.mark.counterpart
def test_a_cluster_gives_the_same_table_as_this_machine(tmp_path: Path) -> None:
    def carried_out(name: str, *options: str) -> tuple[str, object]:
        table = tmp_path / f"{name}.csv"
        words = ("campaign", "fig4", "--experiments", "3", "--seed", "5", "--worse", "8", "--json")
        done = credline_with_dask(*words, "--table", table, *options)
        assert done.returncode == 0, done.stderr
        return table.read_text(), json.loads(done.stdout.splitlines()[-1])

    with cluster(tmp_path) as address:
        on_cluster = carried_out("cluster", "--scheduler", address)
    here = carried_out("here", "--jobs", "1")
    assert len(here[0].splitlines()) == 4
    assert on_cluster == here
