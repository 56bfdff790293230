"""TensorFlow as networks here use it: imported late, quiet, refused in one line where it is missing."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.errors import Refused, shown


@functools.cache
def tensorflow(instead: str) -> Any:
    """The package tensorflow, imported without its chatter. Refused where it is missing or broken.

    instead: what a person can do who cannot install it, in words.
    """
    try:
        with _quiet():
            import tensorflow as tf

            tf.constant(0)  # what it says about the processor it says at its first computation
    except ImportError as error:
        raise Refused(
            f"the network needs TensorFlow, which cannot be imported ({shown(error)}): "
            f"pip install -e '.[learn]' in the folder of credline; or {instead}. "
            "Nothing was classified or trained."
        ) from error
    return tf


@contextmanager
def _quiet() -> Iterator[None]:
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        yield
    finally:
        if level is None:
            os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)


def repeatable(seed: int, instead: str) -> Any:
    """TensorFlow, with the same numbers from the same seed on one machine, for the whole process."""
    tf = tensorflow(instead)
    tf.keras.utils.set_random_seed(seed % 2**32)
    tf.config.experimental.enable_op_determinism()
    return tf


def limit_threads(threads: int) -> None:
    """Let TensorFlow use so many threads; does nothing where it has computed before, for then it is too late."""
    try:
        with _quiet():
            import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except (ImportError, RuntimeError):
        return
