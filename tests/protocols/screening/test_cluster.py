"""Frames scored on a cluster of Dask, a real scheduler with a worker, are scored as in processes of this machine."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from protocols.screening.generation import generate
from protocols.screening.patternfile import write_patterns
from tests.daskcluster import cluster, credline_with_dask


@pytest.mark.long
@pytest.mark.counterpart
def test_a_cluster_gives_the_same_scores_as_this_machine(tmp_path: Path) -> None:
    frames = tmp_path / "p.h5"
    write_patterns(frames, generate(5, 0, 70), 70, (516, 516), {})
    method = "network" if find_spec("tensorflow") else "geometry"

    def predicted(name: str, *options: str) -> list[str]:
        out = tmp_path / name
        done = credline_with_dask("screening", "predict", frames, "--method", method, "--out", out, *options)
        assert done.returncode == 0, done.stderr
        return (out / "scores.csv").read_text().splitlines()

    with cluster(tmp_path) as address:
        on_cluster = predicted("cluster", "--scheduler", address)
    here = predicted("here", "--jobs", "1")
    assert len(here) == 71
    assert on_cluster == here
