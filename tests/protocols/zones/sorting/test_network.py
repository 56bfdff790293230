"""The network's file, its input and its output; how well it sorts is in test_training."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Refused
from protocols.learning.modelfile import RECORD_FILE, WEIGHTS_FILE
from protocols.zones.sorting import network
from protocols.zones.sorting.network import (
    ARCHITECTURE,
    SHIPPED,
    Model,
    binned,
    load,
    shapes,
    warning,
)

needs_tensorflow = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")


def random_model(seed: int = 0) -> Model:
    rng = np.random.default_rng(seed)
    return Model({name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes().items()})


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 254, 254), dtype=np.uint8)


def test_the_input_is_the_mean_of_two_by_two_pixels() -> None:
    images = pictures(2)
    wanted = images.reshape(2, 127, 2, 127, 2).mean(axis=(2, 4)) / 255
    assert binned(images)[..., 0] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 127, 127), np.uint8), np.zeros((254, 254), np.uint8), np.zeros((1, 254, 254), np.float32)]
)
def test_pictures_of_another_size_or_kind_are_refused(images: np.ndarray) -> None:
    with pytest.raises(Refused, match="254"):
        binned(images)


@needs_tensorflow
class TestWithTensorFlow:
    @pytest.mark.long
    def test_the_folded_network_answers_as_the_trained_one(self) -> None:
        tf = network.tensorflow()
        tf.keras.utils.set_random_seed(1)
        net = network.build()
        x = binned(pictures(8))
        for _ in range(5):  # so that the normalisations have something to fold
            net(x, training=True)
        for layer in net.layers:
            if layer.name.startswith("norm"):
                scale, offset, *moments = layer.get_weights()
                layer.set_weights([scale * 1.5, offset + 0.2, *moments])
        wanted = np.asarray(net(x, training=False))[:, 0]
        assert np.ptp(wanted) > 1e-3
        assert Model(network.folded(net)).logits(pictures(8)) == pytest.approx(wanted, abs=2e-4)

    def test_a_logit_does_not_depend_on_the_batch(self) -> None:
        images = pictures(network.BATCH + 3)
        model = random_model()
        together = model.logits(images)
        assert together.dtype == np.float32
        assert together.shape == (network.BATCH + 3,)
        alone = np.concatenate([model.logits(images[i : i + 1]) for i in (0, network.BATCH, network.BATCH + 2)])
        assert alone == pytest.approx(together[[0, network.BATCH, network.BATCH + 2]], abs=1e-4)

    def test_no_pictures_no_logits(self) -> None:
        assert random_model().logits(pictures(0)).shape == (0,)

    def test_a_saved_model_comes_back_in_half_precision(self, tmp_path: Path) -> None:
        model = Model(random_model().weights, {"threshold": -1.25, "seed": 3})
        model.save(tmp_path / "new")
        again = load(tmp_path / "new")
        assert again.record == model.record
        assert again.threshold == -1.25
        images = pictures(4)
        assert again.logits(images) == pytest.approx(model.logits(images), rel=0.02, abs=0.02)

    @pytest.mark.long
    def test_it_speaks_only_when_asked_and_leaves_the_environment_alone(self) -> None:
        code = (
            "import os; from protocols.zones.sorting.network import tensorflow; tensorflow();"
            "print(os.environ.get('TF_CPP_MIN_LOG_LEVEL'))"
        )
        environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        assert done.stdout.split() == ["None"]
        assert done.stderr == ""


def test_without_tensorflow_the_remedy_is_named() -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from engine.errors import Refused\n"
        "from protocols.zones.sorting.network import tensorflow\n"
        "try: tensorflow()\n"
        "except Refused as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install -e '.[learn]'" in done.stdout
    assert "\n" not in done.stdout.strip()


def spoil_nothing(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def spoil_json(folder: Path) -> None:
    (folder / RECORD_FILE).write_text("no json")


def spoil_kind(folder: Path) -> None:
    (folder / RECORD_FILE).write_text('["a list"]')


def spoil_version(folder: Path) -> None:
    (folder / RECORD_FILE).write_text(json.dumps({"architecture": ARCHITECTURE + 1}))


def spoil_threshold(folder: Path) -> None:
    (folder / RECORD_FILE).write_text(json.dumps({"architecture": ARCHITECTURE, "threshold": float("nan")}))


def spoil_weights(folder: Path) -> None:
    whole = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(whole[: len(whole) // 2])


def spoil_shape(folder: Path) -> None:
    np.savez(folder / WEIGHTS_FILE, conv0=np.zeros((3, 3, 1, 16)))


def spoil_pickle(folder: Path) -> None:
    np.savez(folder / WEIGHTS_FILE, allow_pickle=True, conv0=np.array([{"an": "object"}], dtype=object))


def spoil_numbers(folder: Path) -> None:
    np.savez(folder / WEIGHTS_FILE, allow_pickle=False, **{k: np.full(s, np.nan) for k, s in shapes().items()})


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (spoil_nothing, "no model of credline"),
        (spoil_json, "no model of credline"),
        (spoil_kind, "no model of credline"),
        (spoil_version, f"architecture {ARCHITECTURE + 1}"),
        (spoil_threshold, "no number"),
        (spoil_weights, "cannot be read"),
        (spoil_shape, "other arrays"),
        (spoil_pickle, "cannot be read"),
        (spoil_numbers, "not finite"),
    ],
)
def test_a_file_that_is_no_model_is_refused_with_cause_and_remedy(tmp_path: Path, spoil: object, cause: str) -> None:
    random_model().save(tmp_path)
    assert callable(spoil)
    spoil(tmp_path)
    with pytest.raises(Refused, match=cause) as refused:
        load(tmp_path)
    assert "zones train" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_shipped_model_is_small_has_no_pickle_and_says_where_it_comes_from() -> None:
    model = load()
    assert {"seed", "steps", "cells", "threshold", "held_out_figures", "wall_s"} <= model.record.keys()
    with zipfile.ZipFile(SHIPPED / WEIGHTS_FILE) as file:
        assert sum(entry.compress_size for entry in file.infolist()) < 1_000_000
    with np.load(SHIPPED / WEIGHTS_FILE, allow_pickle=False) as arrays:
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}


@pytest.mark.parametrize(("auc", "silent"), [(0.9997, True), (0.6, False), (None, False)])
def test_a_network_that_failed_in_training_says_so(auc: float | None, silent: bool) -> None:
    assert (warning(Model({}, {"held_out_figures": {"auc": auc}})) == "") == silent


def test_the_shipped_network_has_nothing_to_warn_of() -> None:
    assert warning(load()) == ""
