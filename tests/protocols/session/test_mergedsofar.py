"""What is kept of a data set that was integrated."""

import json
from pathlib import Path

import numpy as np
import pytest

from engine.run.computeworker import Earlier
from protocols.session.judging import gathered, integrated
from protocols.session.mergedsofar import integrate, taken_in

NOTHING = integrated.Integrated(
    np.empty((0, 3), np.int64), *(np.empty(0),) * 2, np.empty(0, np.intp), np.empty(0), np.eye(3), 1.0
)  # fmt: skip
TAKEN = {"data_set": {"number": 3, "crystal": 17, "run_dir": "6_crystal", "result": {"frames": 97, "live": {}}}}


class Taken(Earlier):
    """What was taken in, without a file."""

    def read(self) -> bytes:
        return json.dumps(TAKEN).encode()


@pytest.mark.parametrize("run", ["6_crystal-0a2c2c07", "6_crystal-ffffffff"])
def test_the_same_seed_gives_the_same_bytes_whatever_a_run_is_called(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = {"frames": 97, "live": {"run": run, "determined": True, "indexed": 0.9}}
    monkeypatch.setattr(gathered, "looked_at", lambda of: (of, looked))
    monkeypatch.setattr(integrated, "measured", lambda folder, d_min_A: NOTHING)
    earlier = [Taken(Path("night"), None)]  # type: ignore[arg-type]
    told, data = integrate({"number": 3, "d_min_A": 1.0}, lambda _: np.empty(0, np.uint16), earlier)
    assert told == {"observations": 0, "why_not": ""}
    assert run.encode() not in data

    class Integrated(Earlier):
        def read(self) -> bytes:
            return data

    assert taken_in(Integrated(Path("night"), None)) == {  # type: ignore[arg-type]
        "number": 3,
        "crystal": 17,
        "run_dir": "6_crystal",
        "result": {"frames": 97, "live": {"determined": True, "indexed": 0.9}},
    }
