"""Ctrl-C while the program starts: remembered where somebody swallows it, and kept from processes that are started."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from engine.interrupts import heed_interrupts, interrupts_held, remember_interrupts
from engine.worker import WORKERS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on Unix")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a program that was started in the background ignores it
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_one_that_was_swallowed_is_heeded_later() -> None:
    remember_interrupts()
    with pytest.raises(KeyboardInterrupt):
        press()
    with pytest.raises(KeyboardInterrupt):
        heed_interrupts()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_one_the_systems_own_way_is_back() -> None:
    remember_interrupts()
    heed_interrupts()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_somebody_else_is_left_alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    heed_interrupts()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_one_that_is_held_comes_afterwards() -> None:
    done = []

    def start() -> None:
        with interrupts_held():
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # other threads would hear it at once
            done.append("started")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert done == ["started"]


def test_a_worker_never_hears_one_even_before_it_ignores_them() -> None:
    with ProcessPoolExecutor(1, mp_context=WORKERS) as pool:
        assert signal.SIGINT in pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
