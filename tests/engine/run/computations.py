"""Functions that the tests of computations have computed, in this process or in workers."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any

import numpy as np

from engine.run import computeworker
from engine.run.computeworker import Earlier

Pictures = Callable[[int], Any]


def total(arguments: Mapping[str, Any], picture: Pictures) -> Any:
    return {"total": int(sum(picture(index).sum() for index in arguments["of"]))}


def evened(arguments: Mapping[str, Any], picture: Pictures) -> Any:
    return {"mean": float((picture(arguments["frame"]) / picture(arguments["flatfield"])).mean())}


def third(arguments: Mapping[str, Any], picture: Pictures) -> Any:
    return {"third": arguments["x"] / 3, "parts": [np.float64(0.1) * 3], "n": np.int64(arguments["x"])}


def echo(arguments: Mapping[str, Any], picture: Pictures) -> Any:
    return arguments["n"]


def large(arguments: Mapping[str, Any], picture: Pictures) -> Any:
    return "x" * arguments["letters"]


def bulky(arguments: Mapping[str, Any], picture: Pictures) -> Any:
    return {"rows": 2}, b"bytes of two rows"


def built(arguments: Mapping[str, Any], picture: Pictures, earlier: Sequence[Earlier]) -> Any:
    return {"bytes": [len(each.read()) for each in earlier]}


def failing(arguments: Mapping[str, Any], picture: Pictures) -> Any:
    raise ValueError("no crystal in it")


def endless(arguments: Mapping[str, Any], picture: Pictures) -> Any:
    return float("inf")


def surroundings(arguments: Mapping[str, Any], picture: Pictures) -> Any:
    nice = os.nice(0) if sys.platform != "win32" else None
    return {"pid": os.getpid(), "nice": nice, "threads": os.environ["OMP_NUM_THREADS"]}


def stuck(arguments: Mapping[str, Any], picture: Pictures) -> Any:
    Event().wait()


def spools_open() -> int:
    """In a worker: how many spools it holds open."""
    return computeworker._spooled.cache_info().currsize
