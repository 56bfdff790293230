"""Settings of all tests."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar
from unittest.mock import patch

import pytest
import structlog
from hypothesis import settings

P = ParamSpec("P")
Result = TypeVar("Result")

# The same examples every time, and no time limit an example could miss on a busy machine: a test that fails has
# found something. `pytest --hypothesis-profile=search` looks for new examples.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("repeatable")

# What the machine of a lab has set is not what tests are about.
os.environ.pop("CREDLINE_DEVICES", None)

LONGEST = (
    *("test_dials_processing.py", "test_dials_intensities.py", "test_first_data_set.py", "test_dials_conventions.py"),
    *("test_search.py", "test_browser_steering.py", "test_training.py", "test_three_laboratories.py"),
)
"""Files of tests that take minutes come first: while several processes share the files, none has one of them left over
at the end."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by that; what is equal stays in its order."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


class Here(Executor):
    """Does at once, in this process, what a pool would do in another."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Takes what a pool takes."""

    def submit(self, work: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Future[Result]:
        done: Future[Result] = Future()
        try:
            done.set_result(work(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


@pytest.fixture(scope="session", autouse=True)
def strips_drawn_here() -> Iterator[None]:
    """A run of the command line draws its timing strip in a process of its own, which takes a second to begin. Programs
    that tests start still do.
    """
    with patch("engine.views.strip.ProcessPoolExecutor", Here):
        yield


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """A command that is carried out in this process sends the log to a standard error that is closed afterwards."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
