"""Signals from the terminal and the system, given to a run as commands."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from engine.run.commands import Commands


@contextmanager
def signals_to(commands: Commands) -> Iterator[None]:
    """Ctrl-C or SIGTERM stops the run, a second one aborts it, a third ends the program as it stands.

    So does Ctrl-Break on Windows. A terminal that is closed (SIGHUP) stops the run, and no more than that however often
    it is said.
    """
    loop = asyncio.get_running_loop()
    asked = 0

    def ask(number: int, _: object) -> None:
        nonlocal asked
        name = signal.Signals(number).name
        if name == "SIGHUP" and asked:
            return  # the terminal and its shell both tell
        asked += 1
        if asked == 1:
            _tell(b"\ncredline: stopping, beam off first; once more to leave out what is still to be written\n")
            loop.call_soon_threadsafe(commands.stop, f"{name} from the operator")
        elif asked == 2:
            loop.call_soon_threadsafe(commands.abort, f"second {name} from the operator")
        else:  # the operator wants out at any price
            _tell(b"credline: halted without cleaning up. CHECK THE BEAM AND THE STAGE.\n")
            os._exit(1)

    before = {number: signal.signal(number, ask) for number in _stopping_signals()}
    try:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # a Ctrl-C from before, which somebody kept for himself
            raise asyncio.CancelledError
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopping_signals() -> list[signal.Signals]:
    """The signals of this system that end a run; a closed terminal does not when nohup says so."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        return [*numbers, signal.SIGBREAK]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


def _tell(line: bytes) -> None:
    """To the terminal from a signal handler; it may be the terminal's end that is signalled."""
    with suppress(OSError):
        os.write(2, line)
