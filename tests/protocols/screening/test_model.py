"""The file of a network: whole, it is what was saved; wrong or damaged, it is refused in one line with the remedy."""

import json
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Refused
from protocols.learning.modelfile import RECORD_FILE, WEIGHTS_FILE
from protocols.screening.geometric import FOLDER
from protocols.screening.model import SHIPPED, load
from protocols.screening.networks import Which
from tests.protocols.screening.madescores import random_model

needs_tensorflow = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")


@needs_tensorflow
@pytest.mark.parametrize("which", list(Which))
def test_what_was_saved_is_loaded(tmp_path: Path, which: Which) -> None:
    model = random_model(which)
    model.save(tmp_path)
    again = load(tmp_path)
    assert again.which is which
    assert again.calibration == model.calibration
    picture = np.random.default_rng(1).random((2, 150, 150)).astype(np.float32)
    assert again.outputs(picture) == pytest.approx(model.outputs(picture), rel=0.05, abs=0.05)


def card(folder: Path, **changed: object) -> None:
    record = json.loads((folder / RECORD_FILE).read_text())
    (folder / RECORD_FILE).write_text(json.dumps(record | changed))


SPOILT = {
    "no model of credline": lambda folder: (folder / RECORD_FILE).unlink(),
    "no model of credline ": lambda folder: (folder / RECORD_FILE).write_text('["a list"]'),
    "of architecture 99": lambda folder: card(folder, architecture=99),
    "a network large of": lambda folder: card(folder, network="large"),
    "is not two numbers": lambda folder: card(folder, calibration={"scale": "much"}),
    "is not two numbers ": lambda folder: card(folder, calibration={"scale": float("nan")}),
    "cannot be read": lambda folder: (folder / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes()[:9000]),
    "holds other arrays": lambda folder: np.savez(folder / WEIGHTS_FILE, conv0=np.zeros(3)),
    "spots: no model of credline": lambda folder: shutil.rmtree(folder / FOLDER),
    "spots: architecture 1, ": lambda folder: card(folder / FOLDER, architecture=1),
}


@needs_tensorflow
@pytest.mark.parametrize("cause", SPOILT)
def test_a_folder_that_is_no_model_is_refused_with_cause_and_remedy(tmp_path: Path, cause: str) -> None:
    random_model().save(tmp_path)
    SPOILT[cause](tmp_path)
    with pytest.raises(Refused, match=cause.strip()) as refused:
        load(tmp_path)
    assert "credline screening train" in str(refused.value)
    assert "Nothing was" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_tensorflow_the_geometry_scores_and_it_is_said() -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "import numpy as np\n"
        "from protocols.screening.scoring import Scorer\n"
        "from tests.protocols.screening.madescores import lattice_frame\n"
        "scorer = Scorer()\n"
        "(score,) = scorer.score(lattice_frame()[None], 0.00488)\n"
        "print(round(score.good, 2), score.why); print(scorer.note)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, note = done.stdout.splitlines()
    assert float(first.split()[0]) > 0.5
    assert "on one lattice" in first
    assert note.startswith("scored by geometry alone: the network needs TensorFlow")
    assert "pip install -e '.[learn]'" in note


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="no network comes along yet")
def test_the_network_that_comes_along_is_small_has_no_pickle_and_says_where_it_comes_from() -> None:
    record = json.loads((SHIPPED / RECORD_FILE).read_text())
    assert {"seed", "patterns", "judge", "epochs", "data", "calibration", "validation_figures"} <= record.keys()
    with zipfile.ZipFile(SHIPPED / WEIGHTS_FILE) as file:
        assert sum(entry.compress_size for entry in file.infolist()) < 2_000_000
    with np.load(SHIPPED / WEIGHTS_FILE, allow_pickle=False) as arrays:
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}
